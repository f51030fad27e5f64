package sessiontest

import (
	"encoding/json"
	"io"
	"sync"

	"golang.org/x/sys/unix"

	"codebeaker/runtime/agent"
)

// files are a Container's, in memory: content by path, without directories.
type files struct {
	remove func() // returns when one may be removed

	mu      sync.Mutex
	content map[string][]byte
}

// serve is a helper that writes, reads and removes files, and that can do
// nothing else.
func (f *files) serve(stdin io.Reader, stdout io.Writer) error {
	packets := agent.NewPackets(stdin, stdout)
	writing := map[uint32]agent.FilePath{} // paths, by request
	for {
		id, head, data, err := packets.Receive()
		if err != nil {
			return err
		}
		var req agent.FileRequest
		if err := json.Unmarshal(head, &req); err != nil {
			return err
		}
		if path, ok := writing[id]; ok {
			req.Path, req.Append = path, true
		}
		writing[id] = req.Path
		if req.More {
			f.do(&req, data)
			continue
		}
		delete(writing, id)
		if req.Op == agent.RemoveFile { // as the agent, beside others
			go func() {
				f.remove()
				reply, _ := f.do(&req, nil)
				_ = packets.Send(id, reply, nil) // or its client has ended
			}()
			continue
		}
		reply, content := f.do(&req, data)
		for {
			n := min(len(content), agent.MaxChunk)
			reply.More = n < len(content)
			if err := packets.Send(id, reply, content[:n]); err != nil {
				return err
			}
			if !reply.More {
				break
			}
			content = content[n:]
		}
	}
}

func (f *files) do(req *agent.FileRequest, data []byte) (agent.FileReply, []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	content, ok := f.content[string(req.Path)]
	switch {
	case req.Op == agent.WriteFile && req.Append:
		f.content[string(req.Path)] = append(content, data...)
	case req.Op == agent.WriteFile:
		f.content[string(req.Path)] = append([]byte(nil), data...)
	case !ok:
		return agent.FileReply{Errno: unix.ENOENT}, nil
	case req.Op == agent.ReadFile:
		return agent.FileReply{Size: int64(len(content))}, content
	case req.Op == agent.RemoveFile:
		delete(f.content, string(req.Path))
	default:
		return agent.FileReply{Errno: unix.ENOSYS}, nil
	}
	return agent.FileReply{}, nil
}

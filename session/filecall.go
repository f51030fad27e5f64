package session

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"sync"
	"time"

	"codebeaker/runtime/agent"
)

// lostError is a helper that ended before it answered a request.
type lostError struct {
	// again says that another helper may be asked: this one surely did not begin,
	// or to carry out the request twice is the same as once.
	again bool
}

func (e *lostError) Error() string { return "the session's file helper ended during the command" }

// repeatable says whether to carry out a request twice is the same as once.
func repeatable(req *agent.FileRequest) bool {
	switch req.Op {
	case agent.ReadFile, agent.ListDirectory:
		return true
	case agent.WriteFile:
		return !req.Append
	case agent.MakeDirectory:
		return req.Recursive
	default:
		return false
	}
}

// fileClient makes calls to the helper in a session. What comes back is from
// inside the session, and is checked: no reply may bring more than was asked.
type fileClient struct {
	packets *agent.Packets
	ended   chan struct{} // closed with pending being nil
	working sync.WaitGroup

	mu      sync.Mutex
	lastID  uint32
	pending map[uint32]*fileCall // nil when the connection has ended
}

// fileCall is a call that was not answered in full.
type fileCall struct {
	reply      agent.FileReply // so far
	content    []byte          // so far
	most       int64           // bytes of content that may still come
	left       int             // entries that may still come
	bytes      int             // and bytes of their paths
	prefix     int             // bytes that stand before each
	repeatable bool
	done       chan error
}

// newFileClient returns a client that receives until r ends. Its owner owes
// wait.
func newFileClient(r io.Reader, w io.Writer) *fileClient {
	c := &fileClient{packets: agent.NewPackets(r, w), ended: make(chan struct{}), pending: map[uint32]*fileCall{}}
	c.working.Go(c.receive)
	return c
}

// wait waits for what works for the client, which ends with its connection.
func (c *fileClient) wait() { c.working.Wait() }

// receive takes replies until the connection ends, or is no use any more, and
// fails the calls that wait.
func (c *fileClient) receive() {
	for {
		id, head, data, err := c.packets.Receive()
		if err == nil {
			err = c.take(id, head, data)
		}
		if err != nil {
			break
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, call := range c.pending {
		call.done <- &lostError{again: call.repeatable}
	}
	c.pending = nil
	close(c.ended)
}

// call makes a call and returns its answer, all replies in one. It returns when
// that is there or the connection ended; the helper is told to give up in time
// before ctx ends. Errors are *fileCallError or *lostError.
func (c *fileClient) call(ctx context.Context, req agent.FileRequest) (*agent.FileReply, error) {
	call, err := c.exchange(ctx, req, nil, 0)
	if err != nil {
		return nil, err
	}
	return &call.reply, nil
}

// write makes a call with content.
func (c *fileClient) write(ctx context.Context, req agent.FileRequest, content []byte) error {
	_, err := c.exchange(ctx, req, content, 0)
	return err
}

// read makes a call that is answered with content, of which there may be as much
// as req allows.
func (c *fileClient) read(ctx context.Context, req agent.FileRequest) ([]byte, error) {
	most := int64(req.MaxBytes)
	if req.Length >= 0 {
		most = min(most, req.Length)
	}
	call, err := c.exchange(ctx, req, nil, most)
	if err != nil {
		return nil, err
	}
	return call.content, nil
}

func (c *fileClient) exchange(ctx context.Context, req agent.FileRequest, content []byte, most int64) (*fileCall, error) {
	req.Timeout = timeoutOf(ctx)
	call := &fileCall{
		left: req.MaxEntries, bytes: req.MaxBytes, prefix: len(req.Path) + 1, most: most,
		repeatable: repeatable(&req), done: make(chan error, 1),
	}
	c.mu.Lock()
	if c.pending == nil {
		c.mu.Unlock()
		return nil, &lostError{again: true}
	}
	c.lastID++
	id := c.lastID
	c.pending[id] = call
	c.mu.Unlock()
	err, answered := c.send(id, req, content, call)
	if !answered {
		err = <-call.done
	}
	if err != nil {
		return nil, err
	}
	if call.reply.Errno != 0 {
		return nil, &fileCallError{call.reply}
	}
	return call, nil
}

// send sends a request with its content in as many packets as that takes, and
// stops where the answer comes before the end. It returns the answer then, or
// where it cannot be hoped for.
func (c *fileClient) send(id uint32, req agent.FileRequest, content []byte, call *fileCall) (err error, answered bool) {
	for first := true; ; first = false {
		n := min(len(content), agent.MaxChunk)
		req.More = n < len(content)
		select {
		case err = <-call.done:
			n, req.More, answered = 0, false, true // the helper waits for an end
		default:
		}
		if sendErr := c.packets.Send(id, req, content[:n]); sendErr != nil {
			c.mu.Lock()
			delete(c.pending, id)
			c.mu.Unlock()
			// The helper does nothing with a part of a packet.
			return fmt.Errorf("%w: %w", &lostError{again: first || call.repeatable}, sendErr), true
		}
		if !req.More {
			return err, answered
		}
		content = content[n:]
		req = agent.FileRequest{Op: req.Op}
	}
}

// timeoutOf returns a time that leaves the helper some to clean up, before it
// is killed.
func timeoutOf(ctx context.Context) time.Duration {
	deadline, ok := ctx.Deadline()
	if !ok {
		return math.MaxInt64
	}
	left := time.Until(deadline)
	return max(left-left/8, 1)
}

// take takes a reply. An error is a helper that does not keep to the protocol,
// with which nothing more is to be done.
func (c *fileClient) take(id uint32, head, data []byte) error {
	c.mu.Lock()
	call := c.pending[id]
	c.mu.Unlock()
	if call == nil {
		return errors.New("file helper answers what was not asked")
	}
	more, err := call.add(head, data)
	if err != nil || more {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pending[id] != nil { // and not given up meanwhile
		delete(c.pending, id)
		call.done <- nil
	}
	return nil
}

// add adds a reply to the answer, and says whether more replies follow.
func (c *fileCall) add(head, data []byte) (more bool, err error) {
	var r agent.FileReply
	if err := json.Unmarshal(head, &r); err != nil {
		return false, errors.New("file helper answers with what is no reply")
	}
	if r.More && len(r.Entries) == 0 && len(data) == 0 {
		return false, errors.New("file helper announces more and brings nothing")
	}
	if r.Below != "" && (len(r.Below) > maxPathBytes || !isBelow(string(r.Below))) {
		return false, errors.New("file helper fails at what is no path below the one asked for")
	}
	if c.left -= len(r.Entries); c.left < 0 {
		return false, errors.New("file helper lists more entries than it may")
	}
	for _, e := range r.Entries {
		if c.bytes -= c.prefix + len(e.Path); c.bytes < 0 {
			return false, errors.New("file helper lists more bytes of paths than it may")
		}
		if !isBelow(string(e.Path)) {
			return false, errors.New("file helper lists what is no path below the directory")
		}
	}
	if int64(len(data)) > c.most {
		return false, errors.New("file helper reads more than it may")
	}
	if len(data) > 0 {
		if c.content == nil {
			// In one piece, where the helper says how much it will be.
			c.content = make([]byte, 0, min(max(r.Size, int64(len(data))), c.most))
		}
		c.content = append(c.content, data...)
		c.most -= int64(len(data))
	}
	r.Entries = append(c.reply.Entries, r.Entries...)
	c.reply = r
	return r.More, nil
}

// isBelow says whether a relative path leads down and nowhere else.
func isBelow(name string) bool {
	if strings.Contains(name, "\x00") {
		return false
	}
	for element := range strings.SplitSeq(name, "/") {
		if element == "" || element == "." || element == ".." {
			return false
		}
	}
	return true
}

package compare

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"strings"
	"sync"

	"codebeaker/rpc/client"
)

// chunkBytes is what a message carries of a file: the server takes 16 MiB.
const chunkBytes = 8 << 20

// server is a server of ours.
type server struct {
	process *process
	url     string
	cgroup  string
	state   string
	pool    bool

	mu sync.Mutex
	// free are connections that nobody uses: requests of one that name the same
	// session would wait for each other.
	free []*client.Client
}

// serverOptions say which server to start.
type serverOptions struct {
	program string // codebeaker
	dir     string
	state   string
	cgroup  string
	archive string // of the image
	flags   []string
	pool    bool // that the server has a pool
}

// startServer starts a server with an image.
func startServer(ctx context.Context, o serverOptions) (_ *server, retErr error) {
	host := []string{"--root", filepath.Join(o.dir, "r"), "--state", o.state}
	if err := makeDirs(o.dir, o.state); err != nil {
		return nil, err
	}
	if _, err := runProgram(ctx, o.program, append([]string{"images", "import", "python", o.archive}, host...)...); err != nil {
		return nil, err
	}
	args := append([]string{
		"serve", "--listen", "127.0.0.1:0", "--log-format", "json", "--cgroup-parent", o.cgroup, "--drain-timeout", "1s",
	}, host...)
	p, err := startProcess("codebeaker serve", o.program, append(args, o.flags...)...)
	if err != nil {
		return nil, err
	}
	s := &server{process: p, cgroup: o.cgroup, state: o.state, pool: o.pool}
	defer func() {
		if retErr != nil {
			retErr = errors.Join(retErr, s.Close(context.WithoutCancel(ctx)))
		}
	}()
	return s, p.await(ctx, func(context.Context) error {
		for line := range strings.Lines(p.logged()) {
			var entry struct{ Msg, URL string }
			if json.Unmarshal([]byte(line), &entry) == nil && entry.Msg == "serving" {
				s.url = entry.URL
				return nil
			}
		}
		return errors.New("it does not serve yet")
	})
}

func (s *server) Daemons() []int { return []int{s.process.cmd.Process.Pid} }

func (s *server) Close(ctx context.Context) error {
	s.mu.Lock()
	for _, c := range s.free {
		_ = c.Close() // the server ends
	}
	s.free = nil
	s.mu.Unlock()
	return s.process.stop(ctx)
}

// call makes a request on a connection that nobody else uses meanwhile.
func (s *server) call(ctx context.Context, method string, params, result any) error {
	s.mu.Lock()
	var c *client.Client
	if n := len(s.free); n > 0 {
		c, s.free = s.free[n-1], s.free[:n-1]
	}
	s.mu.Unlock()
	if c == nil {
		var err error
		if c, err = client.Dial(ctx, s.url); err != nil {
			return err
		}
	}
	err := c.Call(ctx, method, params, result)
	var refused *client.Error
	if err != nil && !errors.As(err, &refused) {
		return errors.Join(err, c.Close())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.free = append(s.free, c)
	return err
}

func (s *server) Create(ctx context.Context) (Sandbox, error) {
	var info struct {
		SessionID   string `json:"sessionId"`
		ContainerID string `json:"containerId"`
		Timings     struct {
			Pooled bool `json:"pooled"`
		} `json:"timings"`
	}
	params := map[string]any{"language": "python", "memoryLimitMB": memoryBytes >> 20}
	if s.pool {
		params["timings"] = true // which say where the session came from
	}
	if err := s.call(ctx, "session.create", params, &info); err != nil {
		return nil, err
	}
	return &serverSandbox{server: s, id: info.SessionID, container: info.ContainerID, pooled: info.Timings.Pooled}, nil
}

type serverSandbox struct {
	server        *server
	id, container string
	pooled        bool
}

// Pooled says whether the session was ready before it was asked for.
func (b *serverSandbox) Pooled() bool { return b.pooled }

// outcome is an answer to session.execute.
type outcome struct {
	Success bool    `json:"success"`
	Error   *string `json:"error"`
	Result  struct {
		ExitCode                  int
		Stdout, Content, Encoding string
	} `json:"result"`
}

func (b *serverSandbox) execute(ctx context.Context, command map[string]any) (*outcome, error) {
	var o outcome
	err := b.server.call(ctx, "session.execute", map[string]any{"sessionId": b.id, "command": command}, &o)
	if err == nil && !o.Success {
		err = fmt.Errorf("%v: exit code %d", command["type"], o.Result.ExitCode)
		if o.Error != nil {
			err = fmt.Errorf("%w: %s", err, *o.Error)
		}
	}
	return &o, err
}

func (b *serverSandbox) Run(ctx context.Context, args ...string) (string, error) {
	o, err := b.execute(ctx, map[string]any{"type": "execute_shell", "commandName": args[0], "args": args[1:]})
	return o.Result.Stdout, err
}

func (b *serverSandbox) Python(ctx context.Context, code string) (string, error) {
	o, err := b.execute(ctx, map[string]any{"type": "execute_code", "code": code})
	return o.Result.Stdout, err
}

// Write sends what does not fit a message in several.
func (b *serverSandbox) Write(ctx context.Context, name string, content []byte) error {
	mode := "Create"
	for {
		n := min(len(content), chunkBytes)
		_, err := b.execute(ctx, map[string]any{"type": "write_file", "path": name, "content": string(content[:n]), "mode": mode})
		content = content[n:]
		if err != nil || len(content) == 0 {
			return err
		}
		mode = "Append"
	}
}

func (b *serverSandbox) Read(ctx context.Context, name string) ([]byte, error) {
	var content []byte
	for {
		o, err := b.execute(ctx, map[string]any{"type": "read_file", "path": name, "offset": len(content), "length": chunkBytes})
		if err != nil {
			return nil, err
		}
		chunk := []byte(o.Result.Content)
		if o.Result.Encoding == "base64" {
			if chunk, err = base64.StdEncoding.DecodeString(o.Result.Content); err != nil {
				return nil, err
			}
		}
		content = append(content, chunk...)
		if len(chunk) < chunkBytes {
			return content, nil
		}
	}
}

func (b *serverSandbox) Delete(ctx context.Context) error {
	return b.server.call(ctx, "session.close", map[string]any{"sessionId": b.id}, nil)
}

func (b *serverSandbox) Traces() Traces {
	return Traces{
		Cgroup: path.Join(b.server.cgroup, b.container),
		Paths: []string{
			filepath.Join(b.server.state, "io.containerd.runtime.v2.task", "codebeaker", b.container),
			filepath.Join(b.server.state, "fifo", b.container),
		},
	}
}

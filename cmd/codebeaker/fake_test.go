package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"codebeaker/rpc/client/clienttest"
)

// fakeServer is a server whose programs are Go functions, and whose session's
// files are those of a directory.
type fakeServer struct {
	*clienttest.Server
	t *testing.T
	// program is what each execution runs. It returns the exit code.
	program func(e *fakeExecution) int
	// files is the root of the session.
	files string
	// intercept, where it is not nil, may answer a request itself, and then
	// returns true.
	intercept func(c *clienttest.Conn, r clienttest.Request) bool

	mu       sync.Mutex
	calls    []string         // methods, and of commands their types
	execs    []*fakeExecution // that were started
	closed   int              // sessions
	programs sync.WaitGroup
}

// fakeExecution is a program that runs.
type fakeExecution struct {
	id      string
	command fakeCommand
	input   *io.PipeReader
	stdin   *io.PipeWriter
	// asked gets "signal NAME", "cancel" and "resize ROWS COLS".
	asked chan string

	mu      sync.Mutex
	changed chan struct{} // closed at the next change
	printed [2][]byte
	ended   bool
	code    int
	reason  string
}

// fakeCommand is any command, as it came.
type fakeCommand struct {
	Type             string            `json:"type"`
	CommandName      string            `json:"commandName"`
	Code             string            `json:"code"`
	Args             []string          `json:"args"`
	WorkingDirectory string            `json:"workingDirectory"`
	Env              map[string]string `json:"env"`
	Stdin            *string           `json:"stdin"`
	Timeout          float64           `json:"timeout"`
	Background       bool              `json:"background"`
	TTY              bool              `json:"tty"`
	Rows, Cols       int

	Path, Content, Mode, Encoding, Permissions string
	Offset, Length                             int64
	Pattern                                    string
	Source, Destination                        string
}

func newFakeServer(t *testing.T, program func(e *fakeExecution) int) *fakeServer {
	t.Helper()
	s := &fakeServer{t: t, program: program, files: t.TempDir()}
	t.Cleanup(func() { // of programs that a test that failed left
		s.mu.Lock()
		for _, e := range s.execs {
			if e.input == nil {
				continue
			}
			e.input.CloseWithError(io.ErrClosedPipe)
			select {
			case e.asked <- "signal SIGTERM":
			default:
			}
		}
		s.mu.Unlock()
		s.programs.Wait()
	})
	s.Server = clienttest.NewServer(t, s.handle)
	return s
}

// print prints to stdout (0) or stderr (1).
func (e *fakeExecution) print(stream int, text string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.printed[stream] = append(e.printed[stream], text...)
	e.change()
}

func (e *fakeExecution) change() {
	close(e.changed)
	e.changed = make(chan struct{})
}

func (e *fakeExecution) end(code int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.ended, e.code = true, code
	if e.reason == "" {
		e.reason = "exited"
	}
	e.input.CloseWithError(io.ErrClosedPipe)
	e.change()
}

func (s *fakeServer) record(what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, what)
}

// called returns how often a method, or a type of a command, was called.
func (s *fakeServer) called(what string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, c := range s.calls {
		if c == what {
			n++
		}
	}
	return n
}

func (s *fakeServer) start(command fakeCommand) *fakeExecution {
	e := &fakeExecution{command: command, asked: make(chan string, 100), changed: make(chan struct{})}
	e.input, e.stdin = io.Pipe()
	if command.Stdin != nil {
		s.programs.Go(func() {
			_, _ = io.WriteString(e.stdin, *command.Stdin)
			e.stdin.Close()
		})
	}
	s.mu.Lock()
	s.execs = append(s.execs, e)
	e.id = fmt.Sprint("e", len(s.execs))
	s.mu.Unlock()
	s.programs.Go(func() { e.end(s.program(e)) })
	return e
}

// last returns the execution that was started last.
func (s *fakeServer) last() *fakeExecution {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.execs[len(s.execs)-1]
}

func (s *fakeServer) execution(id string) *fakeExecution {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.execs {
		if e.id == id {
			return e
		}
	}
	return nil
}

// follow sends what is printed from offsets on, and the end.
func (e *fakeExecution) follow(c *clienttest.Conn, at [2]int64) bool {
	base := map[string]any{"executionId": e.id, "sessionId": "s1"}
	for {
		e.mu.Lock()
		changed, ended, printed := e.changed, e.ended, e.printed
		e.mu.Unlock()
		for i, name := range []string{"stdout", "stderr"} {
			for at[i] < int64(len(printed[i])) {
				chunk := printed[i][at[i]:min(at[i]+1000, int64(len(printed[i])))]
				ok := c.Notify("execution.output", map[string]any{
					"executionId": e.id, "sessionId": "s1", "stream": name, "offset": at[i],
					"text": base64.StdEncoding.EncodeToString(chunk), "encoding": "base64",
				})
				if !ok {
					return false
				}
				at[i] += int64(len(chunk))
			}
		}
		if ended {
			base["exitCode"], base["endReason"], base["durationMs"] = e.code, e.reason, 5
			return c.Notify("execution.completed", base)
		}
		select {
		case <-changed:
		case <-c.Done:
			return false
		}
	}
}

func (s *fakeServer) handle(c *clienttest.Conn, r clienttest.Request) {
	type params struct {
		SessionID    string
		ExecutionID  string
		Command      fakeCommand
		Stream       bool
		StdoutOffset int64
		StderrOffset int64
		Data         string
		EOF          bool
		Signal       string
		Rows, Cols   int
	}
	p := clienttest.Decode[params](s.t, r)
	if r.Method != "session.execute" {
		s.record(r.Method)
	} else {
		s.record(p.Command.Type)
	}
	if s.intercept != nil && s.intercept(c, r) {
		return
	}
	if strings.HasPrefix(r.Method, "execution.") && r.Method != "execution.list" && s.execution(p.ExecutionID) == nil {
		c.Refuse(r, codeNoExecution, "execution not found")
		return
	}
	e := s.execution(p.ExecutionID)
	reply := map[string]any{"executionId": p.ExecutionID, "status": "running"}
	switch r.Method {
	case "initialize":
		c.Reply(r, map[string]any{})
	case "session.create":
		c.Reply(r, map[string]any{"sessionId": "s1"})
	case "session.close":
		s.mu.Lock()
		s.closed++
		s.mu.Unlock()
		c.Reply(r, map[string]any{"sessionId": "s1", "closed": true})
	case "session.execute":
		switch {
		case p.SessionID != "s1":
			c.Refuse(r, codeNoSession, "session not found: it was closed or never created")
		case strings.HasPrefix(p.Command.Type, "execute_"):
			s.execute(c, r, p.Command, p.Stream)
		default:
			s.fileCommand(c, r, p.Command)
		}
	case "execution.attach":
		e.mu.Lock()
		at := [2]int64{min(p.StdoutOffset, int64(len(e.printed[0]))), min(p.StderrOffset, int64(len(e.printed[1])))}
		e.mu.Unlock()
		reply["stdoutOffset"], reply["stderrOffset"], reply["sessionId"] = at[0], at[1], "s1"
		c.Reply(r, reply)
		c.Go(func() { e.follow(c, at) })
	case "execution.input":
		data, err := base64.StdEncoding.DecodeString(p.Data)
		if err == nil {
			_, err = e.stdin.Write(data)
		}
		if err != nil {
			c.Refuse(r, -32602, "standard input is closed")
			return
		}
		if p.EOF {
			e.stdin.Close()
		}
		c.Reply(r, reply)
	case "execution.signal", "execution.cancel", "execution.resize":
		what := strings.TrimPrefix(r.Method, "execution.")
		switch what {
		case "signal":
			what += " " + p.Signal
		case "resize":
			what += fmt.Sprintf(" %d %d", p.Rows, p.Cols)
		}
		e.asked <- what
		c.Reply(r, reply)
	case "execution.list":
		list := []any{}
		s.mu.Lock()
		for _, e := range s.execs {
			list = append(list, map[string]any{"executionId": e.id, "sessionId": "s1", "status": "running", "tty": e.command.TTY, "command": e.command.CommandName})
		}
		s.mu.Unlock()
		c.Reply(r, map[string]any{"count": len(list), "executions": list})
	case "session.list":
		c.Reply(r, map[string]any{"sessions": []any{map[string]any{"sessionId": "s1", "language": "python", "state": "Idle"}}})
	case "language.list":
		c.Reply(r, map[string]any{})
	default:
		c.Refuse(r, -32601, "no method "+r.Method)
	}
}

func (s *fakeServer) execute(c *clienttest.Conn, r clienttest.Request, command fakeCommand, stream bool) {
	e := s.start(command)
	if command.Background {
		c.Reply(r, map[string]any{"success": true, "result": map[string]any{"executionId": e.id, "status": "running"}})
	}
	if stream {
		c.Notify("execution.started", map[string]any{"executionId": e.id, "sessionId": "s1", "language": "python"})
	}
	c.Go(func() {
		if stream && !e.follow(c, [2]int64{}) {
			return
		}
		if command.Background {
			return
		}
		for done := false; !done; {
			e.mu.Lock()
			changed := e.changed
			done = e.ended
			e.mu.Unlock()
			if !done {
				select {
				case <-changed:
				case <-c.Done:
					return
				}
			}
		}
		var message any
		if e.code != 0 {
			message = "It failed, says the server."
		}
		c.Reply(r, map[string]any{"success": e.code == 0, "error": message, "result": map[string]any{
			"executionId": e.id, "exitCode": e.code, "endReason": e.reason,
			"stdout": string(e.printed[0]), "stderr": string(e.printed[1]),
		}})
	})
}

// fileCommand carries out a command on the files.
func (s *fakeServer) fileCommand(c *clienttest.Conn, r clienttest.Request, command fakeCommand) {
	host := func(name string) string {
		if !path.IsAbs(name) {
			name = "/workspace/" + name
		}
		return filepath.Join(s.files, path.Clean(name))
	}
	result := map[string]any{}
	var err error
	switch name := host(command.Path); command.Type {
	case "write_file":
		flags := os.O_WRONLY | os.O_CREATE | os.O_TRUNC
		if command.Mode == "Append" {
			flags = os.O_WRONLY | os.O_CREATE | os.O_APPEND
		}
		// A session's user is not root, as this test may be.
		if info, err := os.Stat(name); err == nil && info.Mode()&0o200 == 0 {
			refusePath(c, r, os.ErrPermission)
			return
		}
		var content []byte
		content, err = base64.StdEncoding.DecodeString(command.Content)
		if err == nil {
			err = os.MkdirAll(filepath.Dir(name), 0o755)
		}
		var file *os.File
		if err == nil {
			file, err = os.OpenFile(name, flags, 0o644)
		}
		if err == nil {
			_, err = file.Write(content)
			file.Close()
		}
		if err == nil && command.Permissions != "" {
			var bits uint32
			_, err = fmt.Sscanf(command.Permissions, "%o", &bits)
			if err == nil {
				err = os.Chmod(name, fs.FileMode(bits))
			}
		}
	case "read_file":
		var content []byte
		content, err = os.ReadFile(name)
		content = content[min(command.Offset, int64(len(content))):]
		content = content[:min(command.Length, int64(len(content)))]
		result["content"], result["encoding"] = base64.StdEncoding.EncodeToString(content), "base64"
	case "create_directory":
		err = os.MkdirAll(name, 0o755)
	case "move_file":
		err = os.Rename(host(command.Source), host(command.Destination))
	case "delete_file":
		err = os.Remove(name)
	case "list_directory":
		var list []fs.DirEntry
		list, err = os.ReadDir(name)
		entries := []any{}
		for _, d := range list {
			info, err := d.Info()
			if ok, _ := path.Match(command.Pattern, d.Name()); err != nil || command.Pattern != "" && !ok {
				continue
			}
			kind := "file"
			switch {
			case d.IsDir():
				kind = "directory"
			case d.Type()&fs.ModeSymlink != 0:
				kind = "symlink"
			case !d.Type().IsRegular():
				kind = "other"
			}
			entries = append(entries, map[string]any{
				"name": d.Name(), "type": kind, "size": info.Size(), "mode": fmt.Sprintf("%04o", info.Mode().Perm()),
			})
		}
		result["entries"] = entries
	default:
		s.t.Errorf("command %q", command.Type)
	}
	if err != nil {
		refusePath(c, r, err)
		return
	}
	c.Reply(r, map[string]any{"success": true, "result": result})
}

func refusePath(c *clienttest.Conn, r clienttest.Request, err error) {
	reasons := []string{"not a directory", "is a directory", "not permitted", "not found", "file exists"}
	texts := []string{"not a directory", "is a directory", "permission denied", "no such file", "file exists"}
	reason := "failed"
	if i := slices.IndexFunc(texts, func(text string) bool { return strings.Contains(err.Error(), text) }); i >= 0 {
		reason = reasons[i]
	}
	data, _ := json.Marshal(map[string]string{"reason": reason})
	c.RefuseWith(r, codePath, "path: "+reason, data)
}

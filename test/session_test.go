package test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"codebeaker/rpc/client"
)

type object = map[string]any

// sandbox is a session of a test's own.
type sandbox struct {
	t    *testing.T
	c    *client.Client
	id   string
	info sessionInfo
}

type sessionInfo struct {
	SessionID   string
	ContainerID string
	Language    string
	CreatedAt   time.Time
	State       string
	Config      struct {
		IdleTimeoutMinutes, MaxLifetimeMinutes, CPULimit float64
		MemoryLimitMB, PidsLimit                         int
	}
}

// outcome is the answer to session.execute.
type outcome struct {
	Success    bool
	Result     shellResult
	Error      *string
	DurationMs *int64
}

type shellResult struct {
	// Of files.
	Path, Content, Encoding string
	Bytes                   int64
	// Of programs.
	ExecutionID    string
	ExitCode       int
	Stdout, Stderr string
	StdoutOffset   int64
	StdoutEncoding string
	EndReason      string
	Signal         *string
	Truncated      struct{ Stdout, Stderr bool }
	Usage          struct {
		CPUMs, PeakMemoryBytes, OOMKills int64
		MaxRSSBytes                      *int64
	}
}

// wantNoSessions waits until the server has no session.
func (s *server) wantNoSessions(t *testing.T) {
	t.Helper()
	c := s.dial(t)
	eventually(t, func() error {
		var list struct{ Count int }
		err := c.Call(t.Context(), "session.list", object{}, &list)
		if err == nil && list.Count != 0 {
			err = fmt.Errorf("%d sessions are left", list.Count)
		}
		return err
	})
}

// session creates a session, which the test's end closes.
func (s *server) session(t *testing.T, params object) *sandbox {
	t.Helper()
	b := &sandbox{t: t, c: s.dial(t)}
	all := object{"language": "python"}
	maps.Copy(all, params)
	if err := b.c.Call(t.Context(), "session.create", all, &b.info); err != nil {
		t.Fatalf("create session: %v", err)
	}
	b.id = b.info.SessionID
	t.Cleanup(func() {
		// Where the test has not closed it, and the server still runs.
		_ = b.c.Call(context.WithoutCancel(t.Context()), "session.close", object{"sessionId": b.id}, nil)
	})
	return b
}

// try executes a command.
func (b *sandbox) try(command object) (outcome, error) {
	var o outcome
	err := b.c.Call(b.t.Context(), "session.execute", object{"sessionId": b.id, "command": command}, &o)
	return o, err
}

func (b *sandbox) do(command object) outcome {
	b.t.Helper()
	o, err := b.try(command)
	if err != nil {
		b.t.Fatalf("execute %v: %v", command, err)
	}
	return o
}

// sh runs a script of shell.
func (b *sandbox) sh(script string) shellResult {
	b.t.Helper()
	return b.do(object{"type": "execute_shell", "commandName": "sh", "args": []string{"-c", script}}).Result
}

func (b *sandbox) close() {
	b.t.Helper()
	var closed struct {
		SessionID string
		Closed    bool
	}
	if err := b.c.Call(b.t.Context(), "session.close", object{"sessionId": b.id}, &closed); err != nil {
		b.t.Fatalf("close session: %v", err)
	}
	if closed.SessionID != b.id || !closed.Closed {
		b.t.Fatalf("session.close answered %+v", closed)
	}
}

// refused asserts that a call is refused with a code, and with a text.
func refused(t *testing.T, err error, code int, text string) *client.Error {
	t.Helper()
	no := (*client.Error)(nil)
	if !errors.As(err, &no) || no.Code != code || !strings.Contains(no.Message+string(no.Data), text) {
		t.Errorf("answer %v; want code %d with %q", err, code, text)
		return &client.Error{Data: json.RawMessage("{}")}
	}
	return no
}

func TestPythonSessionFromCreateToClose(t *testing.T) {
	s := python(t)
	b := s.session(t, object{"idleTimeoutMinutes": 30, "maxLifetimeMinutes": 120, "memoryLimitMB": 512})
	if b.info.Language != "python" || b.info.State != "Active" || b.info.ContainerID == "" || time.Since(b.info.CreatedAt).Abs() > patience {
		t.Errorf("session.create answered %+v", b.info)
	}
	if c := b.info.Config; c.IdleTimeoutMinutes != 30 || c.MaxLifetimeMinutes != 120 || c.MemoryLimitMB != 512 || c.CPULimit != 1 || c.PidsLimit != 256 {
		t.Errorf("config %+v", c)
	}
	const code = "x = 10\nprint(x * 2)"
	o := b.do(object{"type": "write_file", "path": "/workspace/script.py", "content": code})
	if !o.Success || o.Result.Path != "/workspace/script.py" || o.Result.Bytes != int64(len(code)) || o.Error != nil || o.DurationMs == nil {
		t.Errorf("write_file answered %+v", o)
	}
	if o := b.do(object{"type": "read_file", "path": "script.py"}); o.Result.Content != code || o.Result.Bytes != int64(len(code)) {
		t.Errorf("read_file answered %+v", o)
	}
	o = b.do(object{"type": "execute_shell", "commandName": "python3", "args": []string{"/workspace/script.py"}})
	if r := o.Result; !o.Success || r.Stdout != "20\n" || r.Stderr != "" || r.ExitCode != 0 || r.EndReason != "exited" || r.Signal != nil || r.ExecutionID == "" {
		t.Errorf("execute_shell answered %+v", o)
	}
	if u := o.Result.Usage; u.CPUMs <= 0 || u.PeakMemoryBytes < 1<<20 {
		t.Errorf("usage %+v; Python takes more", u)
	}
	var list struct {
		Count    int
		Sessions []struct {
			SessionID, ContainerID, State string
			ExecutionCount                int
		}
	}
	if err := b.c.Call(t.Context(), "session.list", object{}, &list); err != nil {
		t.Fatal(err)
	}
	found := false
	for _, l := range list.Sessions {
		if l.SessionID == b.id {
			found = l.ContainerID == b.info.ContainerID && l.State == "Idle" && l.ExecutionCount == 3
		}
	}
	if !found || list.Count != len(list.Sessions) {
		t.Errorf("session.list answered %+v", list)
	}
	b.close()
	_, err := b.try(object{"type": "read_file", "path": "script.py"})
	refused(t, err, -32001, "not found")
}

func TestProgramsGetWhatTheyWereGiven(t *testing.T) {
	b := busybox(t).session(t, object{"env": object{"FROM_SESSION": "s"}})
	for _, tc := range []struct {
		name    string
		command object
		stdout  string
		stderr  string
		code    int
	}{
		{"arguments need no quoting", object{"type": "execute_shell", "commandName": "echo", "args": []string{"a b", "$HOME", "*", "'"}}, "a b $HOME * '\n", "", 0},
		{"the other spelling", object{"type": "shell", "command": "echo", "args": []string{"hi"}}, "hi\n", "", 0},
		{"a line of shell", object{"type": "execute_shell", "commandName": "echo $((6*7)) | cat"}, "42\n", "", 0},
		{"stdin to its end", object{"type": "execute_shell", "commandName": "wc", "args": []string{"-c"}, "stdin": strings.Repeat("x", 300_000)}, "300000\n", "", 0},
		{"no stdin is an empty one", object{"type": "execute_shell", "commandName": "cat"}, "", "", 0},
		{"stdin that is not read", object{"type": "execute_shell", "commandName": "true", "stdin": strings.Repeat("x", 1_000_000)}, "", "", 0},
		{"working directory", object{"type": "execute_shell", "commandName": "pwd", "workingDirectory": "/etc"}, "/etc\n", "", 0},
		{"workspace is the default", object{"type": "execute_shell", "commandName": "pwd"}, "/workspace\n", "", 0},
		{"environment", object{"type": "execute_shell", "commandName": "sh", "args": []string{"-c", "echo $FROM_SESSION $FROM_COMMAND"}, "env": object{"FROM_COMMAND": "c"}}, "s c\n", "", 0},
		{"exit code and stderr", object{"type": "execute_shell", "commandName": "sh", "args": []string{"-c", "echo no >&2; exit 3"}}, "", "no\n", 3},
		{"a program that is missing", object{"type": "execute_shell", "commandName": "python4"}, "", "codebeaker: python4: not found\n", 127},
		{"a program that is none", object{"type": "execute_shell", "commandName": "/etc/passwd"}, "", "codebeaker: /etc/passwd: permission denied\n", 126},
		{"a directory that is missing", object{"type": "execute_shell", "commandName": "pwd", "workingDirectory": "nowhere"}, "", "codebeaker: working directory /workspace/nowhere: no such file or directory\n", 126},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := b.do(tc.command)
			if r := o.Result; r.Stdout != tc.stdout || r.Stderr != tc.stderr || r.ExitCode != tc.code || r.EndReason != "exited" {
				t.Errorf("answer %+v; want %q, %q, %d", o, tc.stdout, tc.stderr, tc.code)
			}
			if o.Success != (tc.code == 0) || (o.Error == nil) != o.Success {
				t.Errorf("success %v with error %v, exit code %d", o.Success, o.Error, tc.code)
			}
		})
	}
}

func TestOutputPastTheLimitIsCutAndSaysSo(t *testing.T) {
	b := busybox(t).session(t, nil)
	r := b.sh("head -c 3000000 /dev/zero; echo end >&2")
	if len(r.Stdout) != 1<<20 || !r.Truncated.Stdout || r.Truncated.Stderr || r.Stderr != "end\n" || r.ExitCode != 0 {
		t.Errorf("stdout has %d bytes, cut %+v, stderr %q, exit code %d", len(r.Stdout), r.Truncated, r.Stderr, r.ExitCode)
	}
}

func TestDeadlineKillsEverythingTheProgramStarted(t *testing.T) {
	s := busybox(t)
	b := s.session(t, nil)
	o := b.do(object{
		"type": "execute_shell", "commandName": "sh",
		// One child of its own session, one that ignores signals.
		"args":    []string{"-c", "echo started; (trap '' TERM HUP INT; sleep 1000 & sleep 1001) & sleep 1002"},
		"timeout": scaled(500 * time.Millisecond),
	})
	if r := o.Result; o.Success || r.EndReason != "timeout" || r.Stdout != "started\n" || r.Signal == nil || *r.Signal != "SIGKILL" || o.Error == nil {
		t.Errorf("answer %+v", o)
	}
	eventually(t, func() error {
		if ps := b.sh("ps").Stdout; strings.Contains(ps, "sleep 100") {
			return errors.New("still there:\n" + ps)
		}
		return nil
	})
}

func TestBackgroundProgramDoesNotHoldTheReply(t *testing.T) {
	b := busybox(t).session(t, nil)
	started := time.Now()
	r := b.sh("(while true; do echo tick; sleep 0.01; done) & (sleep 1000 &) ; echo done; exit 7")
	if !strings.Contains(r.Stdout, "done\n") || r.ExitCode != 7 || r.EndReason != "exited" {
		t.Errorf("answer %+v", r)
	}
	if d := time.Since(started); d > patience {
		t.Errorf("the answer took %s", d)
	}
	// It lives on, and so does what it writes to.
	if ps := b.sh("sleep 0.2; ps").Stdout; !strings.Contains(ps, "sleep 1000") || !strings.Contains(ps, "while true") {
		t.Errorf("background programs are gone:\n%s", ps)
	}
	b.close()
}

func TestSignaledProgramNamesItsSignal(t *testing.T) {
	b := busybox(t).session(t, nil)
	o := b.do(object{"type": "execute_shell", "commandName": "sh", "args": []string{"-c", "kill -TERM $$"}})
	if r := o.Result; o.Success || r.ExitCode != 143 || r.EndReason != "signaled" || r.Signal == nil || *r.Signal != "SIGTERM" {
		t.Errorf("answer %+v", o)
	}
}

func TestSessionsExpire(t *testing.T) {
	s := busybox(t)
	for name, params := range map[string]object{
		"idle":     {"idleTimeoutMinutes": 0.02},
		"lifetime": {"maxLifetimeMinutes": 0.02},
	} {
		t.Run(name, func(t *testing.T) {
			b := s.session(t, params)
			eventually(t, func() error {
				var list struct{ Sessions []struct{ SessionID string } }
				if err := b.c.Call(t.Context(), "session.list", object{}, &list); err != nil {
					return err
				}
				for _, l := range list.Sessions {
					if l.SessionID == b.id {
						return errors.New("it is still listed")
					}
				}
				return nil
			})
			_, err := b.try(object{"type": "read_file", "path": "x"})
			refused(t, err, -32001, "not found")
		})
	}
}

func TestCloseEndsWhatRuns(t *testing.T) {
	s := busybox(t)
	b := s.session(t, nil)
	answer := make(chan outcome, 1)
	failed := make(chan error, 1)
	go func() {
		o, err := b.try(object{"type": "execute_shell", "commandName": "sh", "args": []string{"-c", "touch here; sleep 1000"}})
		failed <- err
		answer <- o
	}()
	other := &sandbox{t: t, c: s.dial(t), id: b.id}
	eventually(t, func() error {
		_, err := other.try(object{"type": "read_file", "path": "here"})
		return err
	})
	other.close()
	if err := <-failed; err != nil {
		t.Fatal(err)
	}
	if o := <-answer; o.Success || o.Result.EndReason != "session_closed" {
		t.Errorf("answer %+v", o)
	}
}

func TestVanishedClientsCommandGoesOn(t *testing.T) {
	s := busybox(t)
	b := s.session(t, nil)
	lost := &sandbox{t: t, c: s.dial(t), id: b.id}
	go func() {
		_, _ = lost.try(object{"type": "execute_shell", "commandName": "sh", "args": []string{"-c", "touch started; sleep 1; touch finished"}})
	}()
	exists := func(name string) func() error {
		return func() error {
			_, err := b.try(object{"type": "read_file", "path": name})
			return err
		}
	}
	eventually(t, exists("started"))
	lost.c.Close()
	eventually(t, exists("finished"))
	b.close()
}

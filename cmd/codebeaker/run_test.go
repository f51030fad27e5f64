package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"codebeaker/rpc/client/clienttest"
)

// script writes a file for run.
func script(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "p.py")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestRunIsTheProgram(t *testing.T) {
	s := newFakeServer(t, func(e *fakeExecution) int {
		stdin, _ := io.ReadAll(e.input)
		e.print(0, e.command.Code+strings.Join(e.command.Args, "|")+string(stdin))
		e.print(1, "err")
		return 9
	})
	for name, tc := range map[string]struct {
		stdin, stdout string
		args          []string
		background    bool
	}{
		"a file":         {"not for it", "code-a|--b", []string{"run", "--timeout", "2s", "python", script(t, "code"), "-a", "--b"}, false},
		"standard input": {"code", "code", []string{"run", "python", "-"}, false},
		"at the end":     {"code", "code", []string{"run", "--stream=false", "python", "-"}, false},
		"with input":     {"in", "codein", []string{"run", "-i", "python", script(t, "code")}, true},
	} {
		t.Run(name, func(t *testing.T) {
			closed := s.called("session.close")
			stdout, stderr, code := runCommand(t, s, tc.stdin, tc.args...)
			if stdout != tc.stdout || stderr != "err" || code != 9 {
				t.Errorf("it printed %q, %q and exited with %d", stdout, stderr, code)
			}
			if n := s.called("session.close") - closed; n != 1 {
				t.Errorf("%d sessions were closed", n)
			}
			command := s.last().command
			if command.Background != tc.background || name == "a file" && command.Timeout != 2 {
				t.Errorf("the server was sent %+v", command)
			}
		})
	}
}

func TestRunClosesItsSession(t *testing.T) {
	runs := make(chan *fakeExecution, 1)
	s := newFakeServer(t, func(e *fakeExecution) int {
		runs <- e
		e.print(0, "ready\n")
		if what := <-e.asked; what != "signal SIGINT" {
			t.Errorf("it was asked %q", what)
		}
		e.reason = "signaled"
		return 130
	})
	t.Run("after an interrupt", func(t *testing.T) {
		p := start(t, s, nil, "run", "python", script(t, "x"))
		p.out.waitFor(t, "ready")
		p.signal(syscall.SIGINT)
		p.wantExit(130)
		if p.errOut.String() != "" || s.called("session.close") != 1 {
			t.Errorf("it printed %q; %d sessions were closed", p.errOut, s.called("session.close"))
		}
	})
	<-runs
	t.Run("after a refusal", func(t *testing.T) {
		s.intercept = func(c *clienttest.Conn, r clienttest.Request) bool {
			if r.Method == "session.execute" {
				c.Refuse(r, -32602, "command.code takes something else")
				return true
			}
			return false
		}
		_, stderr, code := runCommand(t, s, "", "run", "python", script(t, "x"))
		if stderr != "codebeaker: command.code takes something else\n" || code != 1 || s.called("session.close") != 2 {
			t.Errorf("it printed %q and exited with %d; %d sessions were closed", stderr, code, s.called("session.close"))
		}
	})
}

func TestAttachShowsAllAndExitsAsTheProgram(t *testing.T) {
	go1 := make(chan struct{})
	s := newFakeServer(t, func(e *fakeExecution) int {
		e.print(0, "before ")
		<-go1
		e.print(0, "after")
		return 8
	})
	id, _, _ := runCommand(t, s, "", "exec", "-d", "s1", "--", "x")
	id = strings.TrimSpace(id)
	p := start(t, s, nil, "attach", id)
	p.out.waitFor(t, "before ")
	close(go1)
	p.wantExit(8)
	if p.out.String() != "before after" || p.errOut.String() != "" {
		t.Errorf("it printed %q, %q", p.out, p.errOut)
	}
	if stdout, _, code := runCommand(t, s, "", "attach", "--no-replay", id); stdout != "" || code != 8 {
		t.Errorf("from now on it printed %q and exited with %d", stdout, code)
	}
}

func TestAttachLeavesTheProgramAlone(t *testing.T) {
	s := newFakeServer(t, func(e *fakeExecution) int {
		e.print(0, "ready")
		_, _ = io.Copy(printer{e}, e.input)
		return 0
	})
	input, keep := io.Pipe() // the program's, so that it goes on
	defer keep.Close()
	defer input.Close()
	first := start(t, s, input, "exec", "-i", "s1", "--", "cat")
	first.out.waitFor(t, "ready")
	p := start(t, s, nil, "attach", "e1")
	p.out.waitFor(t, "ready")
	p.signal(syscall.SIGINT)
	p.wantExit(130)
	if got := p.errOut.String(); got != "codebeaker: detached; it goes on: codebeaker attach e1\n" {
		t.Errorf("it printed %q", got)
	}
	if s.called("execution.signal")+s.called("execution.cancel") > 0 {
		t.Error("the program was not left alone")
	}
	if _, err := keep.Write([]byte(" and on")); err != nil {
		t.Fatal(err)
	}
	first.out.waitFor(t, "ready and on")

	other := start(t, s, bytes.NewReader(nil), "attach", "-i", "e1") // whose input ends
	other.wantExit(0)
	keep.Close()
	first.wantExit(0)
}

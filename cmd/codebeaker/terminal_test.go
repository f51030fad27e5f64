package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"

	"codebeaker/rpc/client/clienttest"
)

// editor is a program with a terminal: it says what it is asked and what is
// typed, until q is typed.
func editor(e *fakeExecution) int {
	e.print(0, fmt.Sprintf("tty %v %d %d TERM %s\r\n", e.command.TTY, e.command.Rows, e.command.Cols, e.command.Env["TERM"]))
	keys, gone := make(chan byte), make(chan struct{})
	defer close(gone)
	go func() {
		buf := make([]byte, 1)
		for {
			if _, err := e.input.Read(buf); err != nil {
				return
			}
			select {
			case keys <- buf[0]:
			case <-gone:
				return
			}
		}
	}()
	for {
		select {
		case key := <-keys:
			e.print(0, fmt.Sprintf("key %q\r\n", key))
			if key == 'q' {
				return 6
			}
		case what := <-e.asked:
			e.print(0, what+"\r\n")
			if what == "signal SIGHUP" || what == "signal SIGTERM" {
				e.reason = "signaled"
				return 143
			}
		}
	}
}

func TestTerminalGivesKeysAndItsSizeToTheProgram(t *testing.T) {
	s := newFakeServer(t, editor)
	p := startOnTerminal(t, s, nil, "exec", "-t", "s1", "vi")
	p.out.waitFor(t, "tty true 30 100 TERM vt100")
	p.resize(40, 120)
	p.out.waitFor(t, "resize 40 120")
	if !p.isRaw() {
		t.Error("the terminal is not in raw mode")
	}
	p.typeKeys("\x03\x1a")
	p.out.waitFor(t, `key '\x1a'`)
	if out := p.out.String(); !strings.Contains(out, `key '\x03'`) || strings.Contains(out, "signal") {
		t.Errorf("Ctrl-C was not given to the program as a key: %q", out)
	}
	p.typeKeys("q")
	p.wantExit(6)
	p.wantRestored()
}

func TestTerminalIsRestored(t *testing.T) {
	t.Run("after a signal", func(t *testing.T) {
		for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGHUP} {
			s := newFakeServer(t, editor)
			p := startOnTerminal(t, s, nil, "exec", "-it", "s1", "vi")
			p.out.waitFor(t, "tty true")
			p.signal(sig)
			<-p.exited
			if code := p.cmd.ProcessState.ExitCode(); code != 143 && code != 129 {
				t.Errorf("after %s it exited with %d", sig, code)
			}
			p.wantRestored()
		}
	})
	t.Run("after an error", func(t *testing.T) {
		s := newFakeServer(t, nil)
		p := startOnTerminal(t, s, nil, "exec", "-it", "no-such-session", "vi")
		p.wantExit(1)
		p.wantRestored()
		p.out.waitFor(t, "codebeaker ps lists")
	})
	t.Run("after the loss of the server", func(t *testing.T) {
		s := newFakeServer(t, editor)
		cuts := 0
		s.intercept = func(c *clienttest.Conn, r clienttest.Request) bool {
			if r.Method != "execution.attach" {
				return false
			}
			cuts++
			c.Refuse(r, codeNoExecution, "execution not found")
			return true
		}
		p := startOnTerminal(t, s, nil, "exec", "-it", "s1", "vi")
		p.out.waitFor(t, "tty true")
		s.Cut()
		p.wantExit(1)
		p.wantRestored()
		p.out.waitFor(t, "codebeaker ps -a lists")
		s.last().stdin.Write([]byte("q"))
	})
	t.Run("after a panic", func(t *testing.T) {
		s := newFakeServer(t, func(*fakeExecution) int { return 0 })
		for _, where := range []string{"output", "signals"} {
			p := startOnTerminal(t, s, []string{panicIn + "=" + where}, "exec", "-it", "s1", "vi")
			p.out.waitFor(t, "panic: a test's")
			p.wantExit(2)
			p.wantRestored()
		}
	})
}

func TestTerminalDetachesByKeys(t *testing.T) {
	s := newFakeServer(t, editor)
	p := startOnTerminal(t, s, nil, "exec", "-it", "s1", "vi")
	p.out.waitFor(t, "tty true")
	p.typeKeys("\x10x\x10\x10\x11")
	p.wantExit(0)
	p.wantRestored()
	p.out.waitFor(t, "it goes on: codebeaker attach e1")
	if s.called("execution.signal")+s.called("execution.cancel") > 0 {
		t.Error("the program was not left alone")
	}

	again := startOnTerminal(t, s, nil, "attach", "-i", "e1")
	again.out.waitFor(t, "tty true 30 100")
	for _, key := range []string{`'\x10'`, "'x'", `'\x10'`} {
		again.out.waitFor(t, "key "+key)
	}
	again.out.waitFor(t, "resize 30 100")
	again.typeKeys("q")
	again.wantExit(6)
	again.wantRestored()
}

func TestDetachKeysAreFoundHoweverTheyAreRead(t *testing.T) {
	for typed, want := range map[string]struct {
		read     string
		detached bool
	}{
		"abc":                 {"abc", false},
		"a\x10\x11b":          {"a", true},
		"\x10\x11":            {"", true},
		"\x10a\x11":           {"\x10a\x11", false},
		"\x10\x10\x10\x11b":   {"\x10\x10", true},
		"ab\x10c\x11\x10\x11": {"ab\x10c\x11", true},
	} {
		for name, r := range map[string]io.Reader{
			"at once": strings.NewReader(typed), "one by one": iotest.OneByteReader(strings.NewReader(typed)),
			"with the error": iotest.DataErrReader(strings.NewReader(typed)),
		} {
			var read bytes.Buffer
			_, err := io.CopyBuffer(struct{ io.Writer }{&read}, struct{ io.Reader }{&detachReader{r: r}}, make([]byte, 4))
			if read.String() != want.read || errors.Is(err, errDetached) != want.detached {
				t.Errorf("%q, read %s: %q, %v", typed, name, read.String(), err)
			}
		}
	}
}

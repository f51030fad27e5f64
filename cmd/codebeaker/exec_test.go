package main

import (
	"bufio"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"codebeaker/rpc/client/clienttest"
)

// running waits until a program runs.
func running(t *testing.T, runs <-chan *fakeExecution) *fakeExecution {
	t.Helper()
	select {
	case e := <-runs:
		return e
	case <-time.After(patience):
		t.Fatal("no program was started")
		return nil
	}
}

func TestExecIsTheCommand(t *testing.T) {
	s := newFakeServer(t, func(e *fakeExecution) int {
		if stdin, err := io.ReadAll(e.input); err != nil || len(stdin) > 0 {
			e.print(1, fmt.Sprintf("stdin %q, %v\n", stdin, err))
		}
		e.print(0, "out \xff\x00\n")
		e.print(1, "err\n")
		return 3
	})
	t.Setenv("OF_HERE", "x y")
	for name, args := range map[string][]string{
		"options first":              {"exec", "-w", "/tmp", "-e", "A=1=2", "-e", "OF_HERE", "-e", "NOT_HERE", "--timeout", "1m30s", "s1", "ls", "-l", "--", "-w"},
		"options behind the session": {"exec", "s1", "-w", "/tmp", "-e", "A=1=2", "-e", "OF_HERE", "--timeout=90s", "--", "ls", "-l", "--", "-w"},
	} {
		t.Run(name, func(t *testing.T) {
			stdout, stderr, code := runCommand(t, s, "not for it", args...)
			if stdout != "out \xff\x00\n" || stderr != "err\n" || code != 3 {
				t.Errorf("it printed %q, %q and exited with %d", stdout, stderr, code)
			}
			empty := ""
			got := s.last().command
			want := fakeCommand{
				Type: "execute_shell", CommandName: "ls", Args: []string{"-l", "--", "-w"}, WorkingDirectory: "/tmp",
				Env: map[string]string{"A": "1=2", "OF_HERE": "x y"}, Timeout: 90, Stdin: &empty, Background: true,
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("the server was sent %+v, want %+v", got, want)
			}
		})
	}
}

func TestExecSaysWhyAProgramEnded(t *testing.T) {
	s := newFakeServer(t, func(e *fakeExecution) int {
		e.reason = e.command.CommandName
		return 137
	})
	for reason, want := range map[string]string{
		"timeout": "codebeaker: The program was killed after its time limit.\n", "oom": "memory limit", "lost": "not seen",
		"signaled": "ended by SIGKILL", "session_closed": "session closed", "exited": "",
	} {
		_, stderr, code := runCommand(t, s, "", "exec", "s1", "--", reason)
		if code != 137 || !strings.Contains(stderr, want) || want == "" && stderr != "" {
			t.Errorf("%s: it printed %q and exited with %d", reason, stderr, code)
		}
	}
}

func TestExecForwardsInputAndItsEnd(t *testing.T) {
	s := newFakeServer(t, func(e *fakeExecution) int {
		n, err := io.Copy(printer{e}, e.input)
		if err != nil || n == 0 {
			return 1
		}
		return 0
	})
	secret := make([]byte, 200<<10)
	_, _ = rand.Read(secret)
	text := hex.EncodeToString(secret)
	stdout, stderr, code := runCommand(t, s, text, "exec", "-i", "s1", "--", "cat")
	if stdout != text || stderr != "" || code != 0 {
		t.Errorf("of %d bytes it printed %d, %q and exited with %d", len(text), len(stdout), stderr, code)
	}
}

// printer is a program's stdout.
type printer struct{ e *fakeExecution }

func (p printer) Write(b []byte) (int, error) {
	p.e.print(0, string(b))
	return len(b), nil
}

func TestExecEndsWithAProgramThatReadsNoInput(t *testing.T) {
	s := newFakeServer(t, func(*fakeExecution) int { return 4 })
	stdin, input, err := os.Pipe() // that nobody ever closes or writes to
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	defer input.Close()
	start(t, s, stdin, "exec", "-i", "s1", "--", "true").wantExit(4)
}

func TestExecInterruptsThenEndsThenLeaves(t *testing.T) {
	runs, quit := make(chan *fakeExecution, 1), make(chan struct{})
	s := newFakeServer(t, func(e *fakeExecution) int {
		runs <- e
		e.print(0, "ready\n")
		for range 2 {
			e.print(0, "asked "+<-e.asked+"\n")
		}
		if e.command.CommandName == "stubborn" {
			<-quit
		}
		e.reason = "cancelled"
		return 137
	})
	t.Run("a program that is ended", func(t *testing.T) {
		p := start(t, s, nil, "exec", "s1", "--", "sleep")
		p.out.waitFor(t, "ready\n")
		p.signal(syscall.SIGINT)
		p.out.waitFor(t, "asked signal SIGINT\n")
		p.signal(syscall.SIGINT)
		p.out.waitFor(t, "asked cancel\n")
		p.wantExit(137)
		if strings.Contains(p.errOut.String(), "cancelled") {
			t.Errorf("it told who cancelled the program of it: %q", p.errOut)
		}
	})
	<-runs
	t.Run("one that does not end", func(t *testing.T) {
		p := start(t, s, nil, "exec", "s1", "--", "stubborn")
		e := running(t, runs)
		defer close(quit)
		p.out.waitFor(t, "ready\n")
		p.signal(syscall.SIGTERM)
		p.out.waitFor(t, "asked signal SIGTERM\n")
		p.signal(syscall.SIGTERM)
		p.out.waitFor(t, "asked cancel\n")
		p.signal(syscall.SIGTERM)
		p.wantExit(143)
		if !strings.Contains(p.errOut.String(), "codebeaker attach "+e.id) {
			t.Errorf("it does not say how to come back: %q", p.errOut)
		}
	})
}

func TestExecEndsAProgramWhoseOutputNobodyReads(t *testing.T) {
	s := newFakeServer(t, func(e *fakeExecution) int {
		for {
			e.print(0, strings.Repeat("y\n", 1000))
			select {
			case what := <-e.asked:
				if what != "cancel" {
					t.Errorf("it was asked %q", what)
				}
				return 137
			case <-time.After(time.Millisecond):
			}
		}
	})
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := command(t, s, "exec", "s1", "--", "yes")
	cmd.Stdout = w
	p := &process{t: t, cmd: cmd, out: newTranscript(), errOut: newTranscript()}
	p.begin()
	w.Close()
	if line, err := bufio.NewReader(r).ReadString('\n'); err != nil || line != "y\n" {
		t.Errorf("it printed %q, %v", line, err)
	}
	r.Close()
	p.wantExit(141)
}

func TestExecDetaches(t *testing.T) {
	runs := make(chan *fakeExecution, 1)
	s := newFakeServer(t, func(e *fakeExecution) int {
		runs <- e
		_, _ = io.Copy(io.Discard, e.input)
		return 0
	})
	stdout, stderr, code := runCommand(t, s, "", "exec", "-d", "s1", "sleep", "9")
	if e := running(t, runs); stdout != e.id+"\n" || stderr != "" || code != 0 || !e.command.Background || e.command.Stdin == nil {
		t.Errorf("it printed %q, %q and exited with %d", stdout, stderr, code)
	}
}

func TestExecShowsAllThoughConnectionsBreak(t *testing.T) {
	secret := make([]byte, 300<<10)
	_, _ = rand.Read(secret)
	text := hex.EncodeToString(secret)
	s := newFakeServer(t, func(e *fakeExecution) int {
		e.print(0, text)
		e.print(1, "err")
		return 5
	})
	proxy := clienttest.NewProxy(t, s.URL, func() int64 { return 30000 })
	stdout, stderr, code := runCommand(t, s, "", "exec", "--server", proxy.URL, "s1", "--", "x")
	if stdout != text || stderr != "err" || code != 5 || proxy.Cuts() < 10 {
		t.Errorf("of %d bytes it printed %d, %q, and exited with %d, after %d cuts", len(text), len(stdout), stderr, code, proxy.Cuts())
	}
}

func TestClientCommandsSayWhatToDo(t *testing.T) {
	s := newFakeServer(t, nil)
	for want, args := range map[string][]string{
		"start a server with codebeaker serve":       {"exec", "--server", "127.0.0.1:1", "s1", "--", "ls"},
		"or add --embedded":                          {"run", "--server", "127.0.0.1:1", "python", "-"},
		"takes ws, wss, http or https, not ftp":      {"ps", "--server", "ftp://x"},
		"codebeaker ps lists those there are":        {"exec", "s2", "--", "ls"},
		"codebeaker ps -a lists those there are":     {"attach", "e9"},
		"exec takes the command to run":              {"exec", "s1"},
		"no terminal":                                {"exec", "-it", "s1", "--", "ls"},
		"leave out -i and -t":                        {"exec", "-d", "-i", "s1", "--", "ls"},
		"takes NAME=VALUE":                           {"exec", "-e", "=x", "s1", "--", "ls"},
		"choose one of --quiet and --json":           {"ps", "-q", "--json"},
		"--interactive takes a FILE for the program": {"run", "-i", "python", "-"},
	} {
		if stdout, stderr, code := runCommand(t, s, "", args...); code != 1 || stdout != "" || !strings.HasPrefix(stderr, "codebeaker: ") || !strings.Contains(stderr, want) {
			t.Errorf("%q: it printed %q, %q and exited with %d, want %q", args, stdout, stderr, code, want)
		}
	}
}

package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"codebeaker/rpc/client"
	"codebeaker/rpc/client/clienttest"
)

// asCommand is the variable by which this test's program is codebeaker itself:
// signals, terminals and exit codes need a process.
const asCommand = "CODEBEAKER_TEST_AS_COMMAND"

// patience is how long a test waits for what should happen soon.
const patience = 30 * time.Second

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" {
		os.Exit(runAsCommand())
	}
	os.Exit(m.Run())
}

// panicIn is the variable that says where codebeaker is to panic.
const panicIn = "CODEBEAKER_TEST_PANIC"

func runAsCommand() int {
	if where := os.Getenv(panicIn); where != "" {
		return runWithPanic(where)
	}
	return run()
}

// runWithPanic is an exec on a terminal that panics: on the goroutine that
// shows output, or on the one that takes signals.
func runWithPanic(where string) int {
	f := &foreground{tty: true, stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr}
	f.start = func(context.Context, *client.Follower) error { panic("a test's") }
	if where == "signals" {
		f.start = func(ctx context.Context, _ *client.Follower) error {
			_ = unix.Kill(unix.Getpid(), unix.SIGTERM)
			_ = unix.Kill(unix.Getpid(), unix.SIGINT)
			<-ctx.Done()
			return ctx.Err()
		}
		f.stderr = panicWriter{}
	}
	_ = f.show(context.Background())
	return 0
}

type panicWriter struct{}

func (panicWriter) Write([]byte) (int, error) { panic("a test's") }

// process is a codebeaker command that runs.
type process struct {
	t      *testing.T
	cmd    *exec.Cmd
	out    *transcript
	errOut *transcript
	exited chan struct{}
}

// transcript is what a process has printed so far.
type transcript struct {
	mu      sync.Mutex
	text    bytes.Buffer
	changed chan struct{} // gets a value, or has one
}

func newTranscript() *transcript { return &transcript{changed: make(chan struct{}, 1)} }

func (o *transcript) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	select {
	case o.changed <- struct{}{}:
	default:
	}
	return o.text.Write(p)
}

func (o *transcript) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// waitFor waits until the output holds a text.
func (o *transcript) waitFor(t *testing.T, text string) {
	t.Helper()
	deadline := time.After(patience)
	for !strings.Contains(o.String(), text) {
		select {
		case <-o.changed:
		case <-deadline:
			t.Fatalf("waited for %q, and got %q", text, o.String())
		}
	}
}

func command(t *testing.T, s *fakeServer, args ...string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), exe, args...)
	cmd.Env = append(os.Environ(), asCommand+"=1", "TERM=vt100")
	if s != nil {
		cmd.Env = append(cmd.Env, "CODEBEAKER_SERVER="+s.URL)
	}
	return cmd
}

// start starts codebeaker with a server. What it prints is in out and errOut.
func start(t *testing.T, s *fakeServer, stdin io.Reader, args ...string) *process {
	t.Helper()
	p := &process{t: t, cmd: command(t, s, args...), out: newTranscript(), errOut: newTranscript()}
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = stdin, p.out, p.errOut
	p.begin()
	return p
}

func (p *process) begin() {
	p.t.Helper()
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.exited = make(chan struct{})
	go func() {
		defer close(p.exited)
		_ = p.cmd.Wait() // its state is asked for
	}()
	p.t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // it has ended, as a rule
		<-p.exited
	})
}

func (p *process) signal(sig syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		p.t.Fatal(err)
	}
}

// wantExit waits for the end of the process.
func (p *process) wantExit(code int) {
	p.t.Helper()
	select {
	case <-p.exited:
		if got := p.cmd.ProcessState.ExitCode(); got != code {
			p.t.Errorf("it exited with %d (%s), want %d; it printed %q, %q", got, p.cmd.ProcessState, code, p.out, p.errOut)
		}
	case <-time.After(patience):
		p.t.Fatalf("it did not end; it printed %q, %q", p.out, p.errOut)
	}
}

// runCommand runs codebeaker to its end.
func runCommand(t *testing.T, s *fakeServer, stdin string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	cmd := command(t, s, args...)
	var out, errOut bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &errOut
	if err := cmd.Run(); err != nil && !errors.As(err, new(*exec.ExitError)) {
		t.Fatal(err)
	}
	return out.String(), errOut.String(), cmd.ProcessState.ExitCode()
}

// onTerminal is a process whose terminal a test holds.
type onTerminal struct {
	*process
	keys  *os.File // what is written is typed
	slave *os.File
	// before is the terminal's mode at first.
	before unix.Termios
}

// startOnTerminal starts codebeaker on a terminal of its own of 30 rows and 100
// columns. What it prints there is in out.
func startOnTerminal(t *testing.T, s *fakeServer, env []string, args ...string) *onTerminal {
	t.Helper()
	master, slave := clienttest.OpenTerminal(t)
	p := &onTerminal{process: &process{t: t, cmd: command(t, s, args...), out: newTranscript(), errOut: newTranscript()}, keys: master, slave: slave}
	p.resize(30, 100)
	p.before = p.mode()
	p.cmd.Env = append(p.cmd.Env, env...)
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr = slave, slave, slave
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	go func() { _, _ = io.Copy(p.out, master) }() // until the test closes it
	p.begin()
	return p
}

func (p *onTerminal) resize(rows, columns uint16) {
	p.t.Helper()
	if err := unix.IoctlSetWinsize(int(p.keys.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: columns}); err != nil {
		p.t.Fatal(err)
	}
}

func (p *onTerminal) mode() unix.Termios {
	p.t.Helper()
	mode, err := unix.IoctlGetTermios(int(p.slave.Fd()), unix.TCGETS)
	if err != nil {
		p.t.Fatal(err)
	}
	return *mode
}

func (p *onTerminal) isRaw() bool {
	mode := p.mode()
	return mode.Lflag&(unix.ICANON|unix.ECHO|unix.ISIG) == 0
}

func (p *onTerminal) wantRestored() {
	p.t.Helper()
	if mode := p.mode(); mode != p.before {
		p.t.Errorf("the terminal was left in mode %+v, and had %+v", mode, p.before)
	}
}

func (p *onTerminal) typeKeys(keys string) {
	p.t.Helper()
	if _, err := io.WriteString(p.keys, keys); err != nil {
		p.t.Fatal(err)
	}
}

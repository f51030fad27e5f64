package test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"codebeaker/rpc/client"
)

// server is a codebeaker serve of a test's own.
type server struct {
	dir   string // everything of it
	root  string
	state string
	// parent is the cgroup of its sessions.
	parent string
	url    string // of the endpoint
	base   string // of HTTP

	cmd     *exec.Cmd
	serving chan string // the URL, once
	exited  chan struct{}
	mu      sync.Mutex
	log     bytes.Buffer
}

// newServer returns a server with directories of its own that was not started.
func newServer() (*server, error) {
	// Short, as sockets below it have to fit their address.
	dir, err := os.MkdirTemp("/tmp", "cbt-")
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(dir, 0o755); err != nil { // sessions' users pass through
		return nil, err
	}
	return &server{
		dir: dir, root: filepath.Join(dir, "root"), state: filepath.Join(dir, "state"), parent: "/" + filepath.Base(dir),
	}, nil
}

// hostArgs are the options of every command on the server's directories.
func (s *server) hostArgs() []string { return []string{"--root", s.root, "--state", s.state} }

// start starts the server and returns when it takes connections.
func (s *server) start(args ...string) error {
	if err := s.begin(args...); err != nil {
		return err
	}
	select {
	case s.url = <-s.serving:
		s.base = httpURL(s.url)
		return nil
	case <-s.exited:
		return fmt.Errorf("server ended with %d:\n%s", s.cmd.ProcessState.ExitCode(), s.logged())
	case <-time.After(patience):
		return errors.Join(fmt.Errorf("server did not serve within %s:\n%s", patience, s.logged()), s.kill())
	}
}

// begin starts the server's process.
func (s *server) begin(args ...string) error {
	all := append([]string{"serve", "--listen", "127.0.0.1:0", "--pool", "0", "--log-format", "json", "--cgroup-parent", s.parent}, s.hostArgs()...)
	s.cmd = exec.Command(binary("codebeaker"), append(all, args...)...)
	s.cmd.Env = append(os.Environ(), "TMPDIR="+s.dir)
	// A test that panics takes its server with it.
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	stderr, err := s.cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := s.cmd.Start(); err != nil {
		return err
	}
	serving, exited := make(chan string, 1), make(chan struct{})
	s.serving, s.exited = serving, exited
	go func() {
		defer close(exited)
		lines := bufio.NewScanner(stderr)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			s.mu.Lock()
			s.log.Write(append(lines.Bytes(), '\n'))
			s.mu.Unlock()
			var entry struct{ Msg, URL string }
			if json.Unmarshal(lines.Bytes(), &entry) == nil && entry.Msg == "serving" {
				serving <- entry.URL
			}
		}
		_ = s.cmd.Wait() // its state is asked for
	}()
	return nil
}

func (s *server) logged() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.String()
}

// signal sends a signal to the server and returns its exit code.
func (s *server) signal(sig os.Signal) (int, error) {
	if err := s.cmd.Process.Signal(sig); err != nil {
		return 0, err
	}
	select {
	case <-s.exited:
		return s.cmd.ProcessState.ExitCode(), nil
	case <-time.After(2 * patience):
		return 0, fmt.Errorf("server did not end after %s:\n%s", sig, s.logged())
	}
}

func (s *server) kill() error {
	_, err := s.signal(syscall.SIGKILL)
	return err
}

// close ends the server and removes its directories.
func (s *server) close() error {
	var err error
	if s.cmd != nil && s.cmd.ProcessState == nil {
		var code int
		if code, err = s.signal(syscall.SIGTERM); err == nil && code != 0 {
			err = fmt.Errorf("server ended with %d:\n%s", code, s.logged())
		}
	}
	return errors.Join(err, os.RemoveAll(s.dir))
}

// command runs codebeaker with arguments and returns what it printed and its
// exit code.
func command(ctx context.Context, stdin string, args ...string) (stdout, stderr string, code int, err error) {
	cmd := exec.CommandContext(ctx, binary("codebeaker"), args...)
	var out, errOut bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &errOut
	err = cmd.Run()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		err = nil
	}
	return out.String(), errOut.String(), cmd.ProcessState.ExitCode(), err
}

// images runs a codebeaker images command on the server's root.
func (s *server) images(ctx context.Context, args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Minute)
	defer cancel()
	_, stderr, code, err := command(ctx, "", append(append([]string{"images"}, s.hostArgs()...), args...)...)
	if err == nil && code != 0 {
		err = fmt.Errorf("images %q ended with %d:\n%s", args, code, stderr)
	}
	return err
}

// unstarted returns a server of the test's own that was not started, and has no
// image.
func unstarted(tb testing.TB) *server {
	tb.Helper()
	s, err := newServer()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.close(); err != nil {
			tb.Error(err)
		}
	})
	logOnFailure(tb, s)
	return s
}

// withBusybox returns a server of the test's own that was not started, and whose
// python is busybox.
func withBusybox(tb testing.TB) *server {
	tb.Helper()
	s := unstarted(tb)
	if err := s.images(tb.Context(), "import", "python", busyboxArchive(tb)); err != nil {
		tb.Fatal(err)
	}
	return s
}

// private starts a server of the test's own, with an image of busybox.
func private(tb testing.TB, args ...string) *server {
	tb.Helper()
	s := withBusybox(tb)
	if err := s.start(args...); err != nil {
		tb.Fatal(err)
	}
	return s
}

// logOnFailure shows what the server logged from now on, where the test fails.
func logOnFailure(tb testing.TB, s *server) {
	tb.Helper()
	from := len(s.logged())
	tb.Cleanup(func() {
		if tb.Failed() {
			tb.Logf("server log:\n%s", s.logged()[from:])
		}
	})
}

// dial connects to the server until the test ends.
func (s *server) dial(tb testing.TB) *client.Client {
	tb.Helper()
	c, err := client.Dial(tb.Context(), s.url)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { c.Close() })
	return c
}

// eventually waits until check returns no error.
func eventually(tb testing.TB, check func() error) {
	tb.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			tb.Fatalf("after %s still: %v", patience, err)
		}
	}
}

package session

import (
	"context"
	"errors"
	"io"
	"sync"
	"syscall"
	"testing"
	"time"

	"codebeaker/runtime"
	"codebeaker/runtime/agent"
)

// filesSession returns a session without a container whose file helper runs in
// this process, and a directory for its files.
func filesSession(t *testing.T, change func(*Options)) (*session, string) {
	t.Helper()
	return helperSession(t, change, agent.ServeFiles), t.TempDir()
}

// helperSession returns a session whose file helper is serve.
func helperSession(t *testing.T, change func(*Options), serve serveFiles) *session {
	t.Helper()
	opts := Options{}
	if change != nil {
		change(&opts)
	}
	opts = opts.withDefaults()
	s := &session{opts: &opts, closing: make(chan struct{}), body: body{container: &filesContainer{serve: serve}}}
	t.Cleanup(func() {
		if err := s.files.stop(context.WithoutCancel(t.Context())); err != nil {
			t.Errorf("stop file helper: %v", err)
		}
	})
	return s
}

type serveFiles func(context.Context, io.Reader, io.Writer) error

// filesContainer starts file helpers and nothing else.
type filesContainer struct {
	Container
	serve   serveFiles
	mu      sync.Mutex
	started []*filesProcess
}

func (c *filesContainer) ServeFiles(ctx context.Context) (Process, error) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	p := &filesProcess{cancel: cancel}
	p.stdin, p.toHelper = io.Pipe()
	p.fromHelper, p.stdout = io.Pipe()
	p.work.Go(func() {
		err := c.serve(ctx, p.stdin, p.stdout)
		p.stdout.CloseWithError(err)
		p.stdin.CloseWithError(io.ErrClosedPipe)
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	c.started = append(c.started, p)
	return p, nil
}

func (c *filesContainer) helpers() []*filesProcess {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.started
}

type filesProcess struct {
	Process
	cancel     context.CancelFunc
	stdin      *io.PipeReader
	toHelper   *io.PipeWriter
	fromHelper *io.PipeReader
	stdout     *io.PipeWriter
	work       sync.WaitGroup
}

func (p *filesProcess) Streams() runtime.Streams {
	return runtime.Streams{Stdin: patient{p.toHelper}, Stdout: p.fromHelper}
}

// patient is an input that no deadline ends.
type patient struct{ io.WriteCloser }

func (patient) SetWriteDeadline(time.Time) error { return nil }

func (p *filesProcess) Signal(context.Context, syscall.Signal) error { return nil }

func (p *filesProcess) Kill() error {
	p.cancel()
	return errors.Join(p.stdin.CloseWithError(io.ErrClosedPipe), p.stdout.CloseWithError(io.ErrUnexpectedEOF))
}

func (p *filesProcess) Close(context.Context) error {
	err := p.Kill()
	p.work.Wait()
	return err
}

// files carries out a command that is to succeed.
func files[T any](t *testing.T, s *session, cmd Command) *T {
	t.Helper()
	result, err := s.executeFile(t.Context(), cmd)
	if err != nil {
		t.Fatalf("%T %+v: %v", cmd, cmd, err)
	}
	r, ok := result.(*T)
	if !ok {
		t.Fatalf("%T answers %T", cmd, result)
	}
	return r
}

// refusedPath asserts that a command fails at a path for a reason.
func refusedPath(t *testing.T, s *session, cmd Command, at, reason string) {
	t.Helper()
	_, err := s.executeFile(t.Context(), cmd)
	pathErr := (*PathError)(nil)
	if !errors.As(err, &pathErr) || pathErr.Path != at || pathErr.Reason != reason {
		t.Errorf("%T %+v:\n got %v\nwant %s: %s", cmd, cmd, err, at, reason)
	}
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.NewTimer(10 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline.C:
			t.Fatalf("waited in vain until %s", what)
		case <-tick.C:
		}
	}
}

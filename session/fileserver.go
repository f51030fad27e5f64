package session

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pkg/sftp"

	"codebeaker/runtime"
	"codebeaker/runtime/agent"
)

// fileServer is the helper inside a session that carries out its file
// commands, and the client for it. It is started when first needed, and again
// after it was killed: a program of the session may do that, as may a command
// that took too long.
type fileServer struct {
	// nextFile numbers the files of Code.
	nextFile atomic.Int64

	mu      sync.Mutex
	client  *fileClient
	process Process
	stopped bool

	// appends is held while a file is appended to.
	appends sync.Mutex
}

// fileClient speaks to the helper: SFTP for the content of files, and calls for
// what SFTP has not.
type fileClient struct {
	*sftp.Client
	calls *fileCalls
}

// errHelperEnded is a helper that went away during a command.
var errHelperEnded = errors.New("the session's file helper was killed during the command")

// use calls f with a client for the session's files, and with a context that
// ends after timeout. Where that ends before f returns, the helper is killed,
// which makes f fail.
func (fs *fileServer) use(ctx context.Context, s *session, timeout time.Duration, f func(context.Context, *fileClient) error) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	client, process, err := fs.get(ctx, s)
	if err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() { done <- f(ctx, client) }()
	select {
	case err = <-done:
	case <-ctx.Done():
		// The caller's time is over. Killing the helper ends f.
		err = errors.Join(ctx.Err(), process.Kill(), <-done)
	case <-s.closing:
		err = errors.Join(ErrClosed, process.Kill(), <-done)
	}
	if errors.Is(err, sftp.ErrSSHFxConnectionLost) || errors.Is(err, io.ErrClosedPipe) || errors.Is(err, io.ErrUnexpectedEOF) || ctx.Err() != nil {
		stopCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeTimeout)
		defer cancel()
		if stopErr := fs.drop(stopCtx, client); stopErr != nil {
			s.opts.Log.WarnContext(ctx, "stop file helper", "container", s.containerID, "error", stopErr)
		}
		if ctx.Err() == nil {
			err = fmt.Errorf("%w: %w", errHelperEnded, err)
		}
	}
	return err
}

// get returns the helper, starting it where there is none.
func (fs *fileServer) get(ctx context.Context, s *session) (*fileClient, Process, error) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if fs.stopped {
		return nil, nil, ErrClosed
	}
	if fs.client != nil {
		return fs.client, fs.process, nil
	}
	process, err := s.container.ServeFiles(ctx, s.nextExecID())
	if err != nil {
		return nil, nil, fmt.Errorf("start file helper: %w", err)
	}
	streams := process.Streams()
	opened := make(chan error, 1)
	var client *fileClient
	go func() {
		var err error
		client, err = newFileClient(streams)
		opened <- err
	}()
	select {
	case err = <-opened:
	case <-ctx.Done():
		err = errors.Join(ctx.Err(), process.Kill(), <-opened)
	case <-s.closing:
		err = errors.Join(ErrClosed, process.Kill(), <-opened)
	}
	if err != nil {
		stopCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeTimeout)
		defer cancel()
		return nil, nil, errors.Join(fmt.Errorf("start file helper: %w", err), process.Kill(), process.Close(stopCtx))
	}
	fs.client, fs.process = client, process
	return client, process, nil
}

func newFileClient(streams runtime.Streams) (*fileClient, error) {
	calls := newFileCalls(streams.Stdout, streams.Stdin)
	client, err := sftp.NewClientPipe(calls.packets, calls, sftp.MaxPacketUnchecked(agent.MaxPacket))
	if err != nil {
		return nil, err
	}
	return &fileClient{client, calls}, nil
}

// drop ends the helper that client speaks to, if it is still the one in use.
func (fs *fileServer) drop(ctx context.Context, client *fileClient) error {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if fs.client != client {
		return nil
	}
	return fs.end(ctx)
}

// stop ends the helper for good.
func (fs *fileServer) stop(ctx context.Context) error {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.stopped = true
	return fs.end(ctx)
}

// end needs mu.
func (fs *fileServer) end(ctx context.Context) error {
	if fs.client == nil {
		return nil
	}
	client, process := fs.client, fs.process
	fs.client, fs.process = nil, nil
	err := errors.Join(process.Kill(), process.Close(ctx))
	// After its streams are closed, so that it waits for nothing.
	_ = client.Close()
	return err
}

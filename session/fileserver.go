package session

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
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
	killed := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() { killed <- process.Kill() })
	err = f(ctx, client)
	if !stop() {
		err = errors.Join(ctx.Err(), <-killed, err)
	}
	if errors.Is(err, errConnectionLost) && isClosed(s.closing) {
		err = errors.Join(ErrClosed, err)
	}
	if errors.Is(err, errConnectionLost) || ctx.Err() != nil {
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
	process, err := s.container.ServeFiles(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("start file helper: %w", err)
	}
	streams := process.Streams()
	client := newFileClient(streams.Stdout, streams.Stdin)
	client.working.Go(func() {
		select {
		case <-s.closing:
			_ = process.Kill() // the container's end is that of the helper, too
		case <-client.ended:
		}
	})
	fs.client, fs.process = client, process
	return client, process, nil
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
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
	client.wait() // for nothing, as the streams are closed
	return err
}

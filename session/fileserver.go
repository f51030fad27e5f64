package session

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	// maxHelpers bounds the helpers that one command uses up.
	maxHelpers = 3
	// wakeInterval is how long an answer may take before the helper is told to go
	// on, should it be stopped, and then again.
	wakeInterval = time.Second
)

// fileServer is the helper inside a session that carries out its file
// commands, and the client for it. It is started when first needed, and again
// after it was killed: a program of the session may do that, as may the kernel
// for want of memory, or a command that took too long.
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

// use calls f with a client for the session's files, and with a context that
// ends after timeout. Where that ends before f returns, the helper is killed,
// which makes f fail. f makes one call, and is called again with another helper
// where the first ended and that call can be made again.
func (fs *fileServer) use(ctx context.Context, s *session, timeout time.Duration, f func(context.Context, *fileClient) error) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	for n := 1; ; n++ {
		err := fs.useOne(ctx, s, f)
		lost := (*lostError)(nil)
		if !errors.As(err, &lost) || ctx.Err() != nil {
			return err
		}
		if isClosed(s.closing) {
			return errors.Join(ErrClosed, err)
		}
		if !lost.again || n == maxHelpers {
			return err
		}
	}
}

// useOne is use with one helper.
func (fs *fileServer) useOne(ctx context.Context, s *session, f func(context.Context, *fileClient) error) error {
	client, process, err := fs.get(ctx, s)
	if err != nil {
		return err
	}
	killed := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() { killed <- process.Kill() })
	endWaking := keepAwake(ctx, process)
	err = f(ctx, client)
	endWaking()
	if !stop() {
		err = errors.Join(ctx.Err(), <-killed, err)
	}
	if errors.As(err, new(*lostError)) || ctx.Err() != nil {
		fs.drop(ctx, s, client)
	}
	return err
}

// keepAwake has a helper that is late go on, which a program of the session may
// have stopped: it is the same user's. To one that is only slow that is nothing.
// It does so until end is called, which waits for it.
func keepAwake(ctx context.Context, process Process) (end func()) {
	ctx, cancel := context.WithCancel(ctx)
	var waking sync.WaitGroup
	waking.Add(1)
	late := time.AfterFunc(wakeInterval, func() {
		defer waking.Done()
		tick := time.NewTicker(wakeInterval)
		defer tick.Stop()
		for ctx.Err() == nil {
			_ = process.Signal(ctx, syscall.SIGCONT) // it has ended where that fails
			select {
			case <-tick.C:
			case <-ctx.Done():
			}
		}
	})
	return func() {
		cancel()
		if late.Stop() {
			waking.Done()
		}
		waking.Wait()
	}
}

// get returns the helper, starting it where there is none.
func (fs *fileServer) get(ctx context.Context, s *session) (*fileClient, Process, error) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if fs.stopped {
		return nil, nil, ErrClosed
	}
	if fs.client != nil && !isClosed(fs.client.ended) {
		return fs.client, fs.process, nil
	}
	fs.discard(ctx, s)
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
func (fs *fileServer) drop(ctx context.Context, s *session, client *fileClient) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if fs.client == client {
		fs.discard(ctx, s)
	}
}

// discard ends a helper that is no use any more. It needs mu.
func (fs *fileServer) discard(ctx context.Context, s *session) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeTimeout)
	defer cancel()
	if err := fs.end(ctx); err != nil {
		s.opts.Log.WarnContext(ctx, "stop file helper", "container", s.containerID, "error", err)
	}
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

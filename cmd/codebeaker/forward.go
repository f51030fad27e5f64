package main

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"codebeaker/rpc/client"
)

// forwardInput sends standard input to the execution. An error on the channel is
// why to leave; input may end without one. stop ends it, and waits for that.
func (a *attended) forwardInput(ctx context.Context, ended <-chan struct{}) (failed <-chan error, stop func(), err error) {
	if a.stdin == nil {
		return nil, func() {}, nil
	}
	input, stopReading, freeReader := a.stdin, func() {}, func() {}
	if file, ok := a.stdin.(*os.File); ok {
		s, err := newStoppable(file)
		if err != nil {
			return nil, nil, err
		}
		input, stopReading, freeReader = s, s.stop, s.close
	}
	if a.terminal != nil {
		input = &detachReader{r: input}
	}
	ctx, cancel := context.WithCancel(ctx)
	errs, done := make(chan error, 1), make(chan struct{})
	go func() {
		defer a.terminal.guard()
		defer close(done)
		if err := a.pump(ctx, input, ended); err != nil {
			errs <- err
		}
	}()
	return errs, func() {
		cancel()
		stopReading()
		<-done
		freeReader()
	}, nil
}

// pump sends what it reads, up to its end.
func (a *attended) pump(ctx context.Context, input io.Reader, ended <-chan struct{}) error {
	select {
	case <-a.started:
	case <-ctx.Done():
		return nil
	}
	buf := make([]byte, inputBytes)
	for {
		n, readErr := input.Read(buf)
		if stopped := errors.Is(readErr, errStopped); stopped || ctx.Err() != nil {
			return nil
		}
		eof := errors.Is(readErr, io.EOF) && !errors.Is(readErr, errDetached)
		if n > 0 || eof {
			over, err := a.send(ctx, buf[:n], eof, ended)
			if over || err != nil {
				return err
			}
		}
		switch {
		case eof:
			return nil
		case errors.Is(readErr, errDetached):
			return errDetached
		case readErr != nil:
			return fmt.Errorf("read standard input: %w", readErr)
		}
	}
}

// send sends input. It is over where the program takes no more.
func (a *attended) send(ctx context.Context, data []byte, eof bool, ended <-chan struct{}) (over bool, err error) {
	// Once: what is sent a second time, a program may read twice.
	err = a.control.CallOnce(ctx, "execution.input", map[string]any{
		"executionId": a.id, "data": base64.StdEncoding.EncodeToString(data), "encoding": "base64", "eof": eof,
	}, nil)
	no := (*client.Error)(nil)
	switch {
	case ctx.Err() != nil:
		return true, nil
	case err == nil:
		return false, nil
	case errors.As(err, &no):
		// As a rule because it has ended, or it closed its standard input, which
		// no program is told of either.
		select {
		case <-ended:
		case <-ctx.Done():
		case <-time.After(leaveTimeout):
			a.note("standard input is not taken: %v", explain(err))
		}
		return true, nil
	case errors.Is(err, client.ErrDisconnected) && a.terminal != nil:
		a.note("the connection broke; the last keys may be lost")
		return false, nil
	case errors.Is(err, client.ErrDisconnected):
		return true, fmt.Errorf("send standard input: %w; what was on its way may be lost", err)
	default:
		return true, fmt.Errorf("send standard input: %w", err)
	}
}

// forwardSize tells the execution the size of this terminal, and again each time
// that changed is called. stop ends it, and waits for that.
func (a *attended) forwardSize(ctx context.Context) (changed, stop func()) {
	if !a.tty {
		return func() {}, func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	changes, done := make(chan struct{}, 1), make(chan struct{})
	changed = func() {
		select {
		case changes <- struct{}{}:
		default: // it is going to look
		}
	}
	changed()
	go func() {
		defer a.terminal.guard()
		defer close(done)
		for {
			select {
			case <-ctx.Done():
				return
			case <-changes:
			}
			if rows, columns, ok := sizeOf(a.stdin, a.stdout, a.stderr); ok {
				a.ask(ctx, "execution.resize", map[string]any{"rows": rows, "cols": columns})
			}
		}
	}()
	return changed, func() {
		cancel()
		<-done
	}
}

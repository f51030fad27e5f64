package runtime

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"github.com/containerd/errdefs"

	"codebeaker/runtime/shim/direct"
)

// directRoad starts a process by the container's shim over a connection of our own
// (package direct).
type directRoad struct {
	container *Container
	program   *program
	id        string
	streams   *direct.Streams
	started   *direct.Program
}

func (d *directRoad) start(ctx context.Context) (_ Streams, err error) {
	terminal := d.program.terminal != nil
	if d.streams, err = direct.NewStreams(terminal, terminal || !d.program.noInput); err != nil {
		return Streams{}, err
	}
	if d.started, err = d.container.direct.Start(ctx, d.program.request(d.container, d.id), d.streams); err != nil {
		return Streams{}, err
	}
	s := Streams{Stdin: ended{}, Stdout: d.streams.Stdout, Stderr: d.streams.Stderr}
	if d.streams.Stdin != nil {
		s.Stdin = d.streams.Stdin
	}
	return s, nil
}

func (d *directRoad) wait(ctx context.Context) (ExitStatus, error) {
	select {
	case <-ctx.Done():
		return ExitStatus{}, ctx.Err()
	case exit, ok := <-d.started.Exit():
		if !ok {
			return ExitStatus{}, fmt.Errorf("its shim has ended: %w", errdefs.ErrUnavailable)
		}
		s := waitStatus(syscall.WaitStatus(exit.Status))
		s.Forked, s.MaxRSSBytes = d.started.Forked(), uint64(exit.MaxRSS)<<10
		return s, nil
	}
}

func (d *directRoad) forget(context.Context, bool) error {
	var errs []error
	if d.started != nil {
		errs = append(errs, d.started.Forget())
	}
	if d.streams != nil {
		errs = append(errs, d.streams.Close())
	}
	return errors.Join(errs...)
}

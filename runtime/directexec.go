package runtime

import (
	"context"
	"errors"
	"fmt"

	"github.com/containerd/errdefs"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"codebeaker/runtime/shim"
	"codebeaker/runtime/shim/direct"
)

// directExec is a process that is started by the container's shim without
// containerd in between (package direct).
type directExec struct {
	container *Container
	opts      startOptions
	streams   *direct.Streams
	program   *direct.Program
}

func (d *directExec) start(ctx context.Context, process *specs.Process) (pid int, _ Streams, err error) {
	r, err := shim.NewRequest(process, agentPath, d.opts.terminal)
	if err != nil {
		return 0, Streams{}, err
	}
	r.Container, r.ID = d.container.id, d.opts.id
	if d.streams, err = direct.NewStreams(d.opts.terminal, !d.opts.noInput); err != nil {
		return 0, Streams{}, err
	}
	if d.program, err = d.container.direct.Start(ctx, r, d.streams); err != nil {
		return 0, Streams{}, err
	}
	s := Streams{Stdin: ended{}, Stdout: d.streams.Stdout, Stderr: d.streams.Stderr}
	if d.streams.Stdin != nil {
		s.Stdin = d.streams.Stdin
	}
	return d.program.Pid(), s, nil
}

func (d *directExec) wait(ctx context.Context) (direct.Exit, error) {
	select {
	case <-ctx.Done():
		return direct.Exit{}, ctx.Err()
	case exit, ok := <-d.program.Exit():
		if !ok {
			return direct.Exit{}, fmt.Errorf("its shim has ended: %w", errdefs.ErrUnavailable)
		}
		return exit, nil
	}
}

func (d *directExec) forget(context.Context, bool) error {
	var errs []error
	if d.program != nil {
		errs = append(errs, d.program.Forget())
	}
	if d.streams != nil {
		errs = append(errs, d.streams.Close())
	}
	return errors.Join(errs...)
}

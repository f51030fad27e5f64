package runtime

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"github.com/containerd/containerd/api/services/tasks/v1"
	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"codebeaker/runtime/shim/direct"
)

// taskExec is a process that is started through containerd's Task service.
type taskExec struct {
	container *Container
	opts      startOptions
	process   containerd.Process
	io        processIO
	exit      <-chan containerd.ExitStatus
}

func (t *taskExec) start(ctx context.Context, process *specs.Process) (pid int, _ Streams, err error) {
	c := t.container
	if !c.runtime.opts.Shim.Agent {
		process.Env = withHome(process.Env) // for runc
	}
	t.process, err = c.task.Exec(ctx, t.opts.id, process, func(string) (cio.IO, error) {
		fifos, err := c.mkfifos(t.opts.id, t.opts.terminal)
		if err != nil {
			return nil, err
		}
		t.io, err = c.runtime.openFIFOs(ctx, fifos)
		return t.io, err
	})
	if err != nil {
		return 0, Streams{}, err
	}
	if err := t.process.Start(ctx); err != nil {
		return 0, Streams{}, fmt.Errorf("start: %w", err)
	}
	// Now, and not beside the start, which it would hold up. A shim tells the end
	// of a process until that is deleted.
	if t.exit, err = awaitExit(context.WithoutCancel(ctx), t.process, c.runtime.closed); err != nil {
		return 0, Streams{}, fmt.Errorf("wait: %w", err)
	}
	streams, err := t.io.streams()
	return int(t.process.Pid()), streams, err
}

func (t *taskExec) wait(ctx context.Context) (direct.Exit, error) {
	select {
	case <-ctx.Done():
		return direct.Exit{}, ctx.Err()
	case status := <-t.exit:
		if err := status.Error(); err != nil {
			return direct.Exit{}, fmt.Errorf("%w: %w", err, errdefs.ErrUnavailable)
		}
		return direct.Exit{Status: status.ExitCode()}, nil
	}
}

func (t *taskExec) forget(ctx context.Context, ended bool) error {
	var errs []error
	if t.process != nil {
		if err := t.delete(ctx, ended); err != nil && !errdefs.IsNotFound(err) && !errors.Is(err, syscall.ESRCH) {
			errs = append(errs, fmt.Errorf("delete exec: %w", err))
		}
	}
	if t.io != nil {
		t.io.Cancel()
		errs = append(errs, t.io.Close())
	}
	return errors.Join(errs...)
}

// delete removes the exec from its shim. The client's own Delete would ask the
// shim three things more of one that has ended.
func (t *taskExec) delete(ctx context.Context, ended bool) error {
	if !ended {
		_, err := t.process.Delete(ctx, containerd.WithProcessKill)
		return err
	}
	_, err := t.container.runtime.opts.Client.TaskService().DeleteProcess(ctx, &tasks.DeleteProcessRequest{
		ContainerID: t.container.id, ExecID: t.opts.id,
	})
	return errgrpc.ToNative(err)
}

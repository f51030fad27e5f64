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
)

// taskExec is a process that is started through containerd's Task service.
type taskExec struct {
	container *Container
	program   *program
	id        string
	// starts says that the shim starts the program itself.
	starts  bool
	process containerd.Process
	io      processIO
	exit    <-chan containerd.ExitStatus
}

// begin starts the process.
func (t *taskExec) begin(ctx context.Context) (_ Streams, err error) {
	c := t.container
	process := t.program.process(c, t.starts)
	if !t.starts {
		process.Env = withHome(process.Env) // for runc
	}
	t.process, err = c.task.Exec(ctx, t.id, process, func(string) (cio.IO, error) {
		fifos, err := c.mkfifos(t.id, t.program.terminal != nil)
		if err != nil {
			return nil, err
		}
		t.io, err = openFIFOs(ctx, fifos, t.starts)
		return t.io, err
	})
	if err != nil {
		return Streams{}, err
	}
	if err := t.process.Start(ctx); err != nil {
		return Streams{}, fmt.Errorf("start: %w", err)
	}
	// Not beside the start, which would take longer. A shim tells the end of a process
	// until that is deleted.
	if t.exit, err = awaitExit(context.WithoutCancel(ctx), t.process, c.runtime.closed); err != nil {
		return Streams{}, fmt.Errorf("wait: %w", err)
	}
	return t.io.streams()
}

// code waits for the exit code as the shim tells it.
func (t *taskExec) code(ctx context.Context) (uint32, error) {
	select {
	case <-ctx.Done():
		return 0, ctx.Err()
	case status := <-t.exit:
		if err := status.Error(); err != nil {
			return 0, fmt.Errorf("%w: %w", err, errdefs.ErrUnavailable)
		}
		return status.ExitCode(), nil
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
		ContainerID: t.container.id, ExecID: t.id,
	})
	return errgrpc.ToNative(err)
}

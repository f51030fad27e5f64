package runtime

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"

	"codebeaker/runtime/cgroup"
)

// ExecOptions say what program to start.
type ExecOptions struct {
	// Args are the program, looked up in the PATH of Env, and its arguments.
	Args []string
	// Line says that a program that is not found and has no arguments may be a
	// line of shell, which bash of the image then runs, or /bin/sh.
	Line bool
	// Fork has the container's zygote fork the program, where there is one and
	// that comes to the same.
	Fork bool
	// Dir is the working directory; relative ones start at Workspace, which it
	// is where empty.
	Dir string
	// Env is the whole environment, as KEY=value.
	Env []string
	// Terminal is the size of the terminal that the program gets in place of
	// three streams; nil for none.
	Terminal *Size
	// NoInput says that nothing will be written to the program's input, and that
	// it may have ended before the program starts. Whoever gets the stream closes
	// it all the same.
	NoInput bool
}

// Size is that of a terminal, in characters.
type Size struct{ Rows, Columns uint16 }

// Streams are a program's standard streams. A program that fills one waits
// until it is read. Closing Stdin ends it after what was written; the one of a
// terminal ends by its end-of-file character instead. With a terminal all that
// is printed is on Stdout, and Stderr is empty.
type Streams struct {
	Stdin  Input
	Stdout io.Reader
	Stderr io.Reader
}

// Input is where a program's standard input is written. A write waits until the
// program has read, or the deadline is over.
type Input interface {
	io.WriteCloser
	SetWriteDeadline(t time.Time) error
}

// Process is a program in a container. Its owner owes Close.
type Process struct {
	id        string
	streams   Streams
	container *Container
	road      road
	group     cgroup.Group
	// ended says that the shim has told the end of the program.
	ended     atomic.Bool
	closeOnce sync.Once
	closeErr  error
}

// Exec starts a program as the session's user. It returns when the program is
// about to run in its own cgroup; that it cannot be found or executed is the
// program's exit code (126 or 127) and a line on its stderr.
func (c *Container) Exec(ctx context.Context, opts ExecOptions) (*Process, error) {
	return c.start(ctx, &program{
		role: roleExec, args: opts.Args, env: opts.Env, dir: resolve(opts.Dir),
		line: opts.Line, fork: opts.Fork, terminal: opts.Terminal, noInput: opts.NoInput,
	})
}

// ServeFiles starts the agent as a helper for the container's files, as
// the session's user, on the process's stdin and stdout.
func (c *Container) ServeFiles(ctx context.Context) (*Process, error) {
	return c.start(ctx, &program{role: roleFiles, env: []string{"GOMAXPROCS=2"}})
}

// start starts a process in a cgroup of its own.
func (c *Container) start(ctx context.Context, program *program) (_ *Process, retErr error) {
	ctx = c.runtime.in(ctx)
	slot, err := c.slots.take(program.slotKind())
	defer func() {
		if retErr != nil {
			retErr = fmt.Errorf("exec %s in container %s: %w", slot.id, c.id, retErr)
		}
	}()
	if err != nil {
		if exists, eerr := c.group.Exists(); eerr == nil && !exists {
			return nil, fmt.Errorf("container has ended: %w", errdefs.ErrUnavailable)
		}
		return nil, err
	}
	p := &Process{id: slot.id, container: c, group: slot.group, road: c.road(program, slot)}
	defer func() {
		if retErr != nil {
			retErr = errors.Join(retErr, p.abandon(ctx))
		}
	}()
	if p.streams, err = p.road.start(ctx); err != nil {
		return nil, err
	}
	if _, over := p.streams.Stdin.(ended); !over {
		p.streams.Stdin = &stdin{Input: p.streams.Stdin, end: func() error { return p.endStdin(context.WithoutCancel(ctx)) }}
	}
	if program.terminal != nil {
		p.streams.Stderr = strings.NewReader("")
	}
	return p, nil
}

// stdin is a program's standard input. The shim holds the FIFO open as well,
// until it is told to end it.
type stdin struct {
	Input
	end func() error
}

func (s *stdin) Close() error { return errors.Join(s.Input.Close(), s.end()) }

func (p *Process) endStdin(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, cleanupTimeout)
	defer cancel()
	_, err := p.container.runtime.opts.Client.TaskService().CloseIO(ctx, &tasks.CloseIORequest{
		ContainerID: p.container.id, ExecID: p.id, Stdin: true,
	})
	if err = errgrpc.ToNative(err); err != nil && !errdefs.IsNotFound(err) {
		return fmt.Errorf("end standard input: %w", err)
	}
	return nil // not found: the program has ended
}

// Streams returns the program's standard streams.
func (p *Process) Streams() Streams { return p.streams }

// ExitStatus is how a process ended.
type ExitStatus struct {
	// Code is the program's exit code, or 128 plus Signal.
	Code int
	// Signal is the signal that ended the program; 0 where none did. A kernel
	// before Linux 6.15 does not tell a signal from an exit code above 128,
	// which is then taken for one, as in a shell.
	Signal syscall.Signal
	// Forked says that the container's zygote forked the program; false if the shim
	// does not tell.
	Forked bool
	// MaxRSSBytes is the most memory that the program, or a process that it waited
	// for, had resident at one time; 0 where the shim does not tell.
	MaxRSSBytes uint64
}

// Wait returns when the program has ended; others that it started may still
// run. An errdefs.ErrUnavailable says that its end cannot be known any more,
// because its shim is gone. Wait is for one caller, once.
func (p *Process) Wait(ctx context.Context) (ExitStatus, error) {
	status, err := p.road.wait(ctx)
	if err != nil {
		return ExitStatus{}, fmt.Errorf("wait for process: %w", err)
	}
	p.ended.Store(true)
	return status, nil
}

// Signal sends a signal to the program alone. One that has ended is an
// errdefs.ErrNotFound.
func (p *Process) Signal(ctx context.Context, signal syscall.Signal) error {
	_, err := p.container.runtime.opts.Client.TaskService().Kill(p.container.runtime.in(ctx), &tasks.KillRequest{
		ContainerID: p.container.id, ExecID: p.id, Signal: uint32(signal),
	})
	err = errgrpc.ToNative(err)
	if errors.Is(err, syscall.ESRCH) {
		err = errdefs.ErrNotFound
	}
	if err != nil {
		return fmt.Errorf("send signal to process: %w", err)
	}
	return nil
}

// Resize gives the program's terminal another size. A program that has ended is
// an errdefs.ErrNotFound.
func (p *Process) Resize(ctx context.Context, size Size) error {
	_, err := p.container.runtime.opts.Client.TaskService().ResizePty(p.container.runtime.in(ctx), &tasks.ResizePtyRequest{
		ContainerID: p.container.id, ExecID: p.id, Width: uint32(size.Columns), Height: uint32(size.Rows),
	})
	err = errgrpc.ToNative(err)
	if err != nil && strings.Contains(err.Error(), "stopped container") {
		err = errdefs.ErrNotFound // runc's shim gives it no class (containerd, process/exec_state.go)
	}
	if err != nil {
		return fmt.Errorf("resize terminal of process: %w", err)
	}
	return nil
}

// Kill ends the program and all that it started, and does not wait for it.
func (p *Process) Kill() error { return p.group.Kill() }

// Populated says whether the program or anything that it started still runs.
func (p *Process) Populated() (bool, error) { return p.group.Populated() }

// Usage reads what the program and all that it started used so far.
func (p *Process) Usage() (cgroup.Usage, error) { return p.group.Usage() }

// Close forgets the process: it closes its streams and removes its FIFOs, its
// entry at the shim and, where it left no processes behind, its cgroup. A
// program that still runs is killed first.
func (p *Process) Close(ctx context.Context) error {
	p.closeOnce.Do(func() { p.closeErr = p.close(ctx) })
	return p.closeErr
}

func (p *Process) close(ctx context.Context) error {
	errs := []error{
		p.road.forget(p.container.runtime.in(ctx), p.ended.Load()),
		p.container.forget(p.group),
	}
	p.container.slots.prepare()
	return errors.Join(errs...)
}

// abandon closes a process that could not be started.
func (p *Process) abandon(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
	defer cancel()
	return errors.Join(p.Kill(), p.Close(ctx))
}

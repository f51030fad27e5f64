package runtime

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"codebeaker/runtime/agent"
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
	starter   starter
	group     cgroup.Group
	pidfd     *os.File // nil where the kernel has none
	// raw says that the shim reports the exit status as wait(2) gives it.
	raw bool
	// ended says that the shim has told the end of the program.
	ended     atomic.Bool
	closeOnce sync.Once
	closeErr  error
}

// Exec starts a program as the session's user. It returns when the program is
// about to run in its own cgroup; that it cannot be found or executed is the
// program's exit code (126 or 127) and a line on its stderr.
func (c *Container) Exec(ctx context.Context, opts ExecOptions) (*Process, error) {
	args := []string{agent.RoleExec, "-dir", resolve(opts.Dir)}
	direct := c.runtime.opts.Shim.Agent
	if direct {
		args = append(args, "-waitstatus")
		if opts.Fork {
			args = append(args, "-fork")
		}
	}
	if opts.Line {
		args = append(args, "-line")
	}
	if opts.Terminal != nil {
		args = append(args, "-tty")
	}
	args = append(append(args, "--"), opts.Args...)
	o := startOptions{kind: execSlot, terminal: opts.Terminal != nil, noInput: opts.NoInput && opts.Terminal == nil}
	p, err := c.start(ctx, execProcess(c.pid1, args, opts.Env, opts.Terminal), o)
	if err != nil {
		return nil, err
	}
	p.raw = direct
	if direct {
		return p, nil // there is no agent in between that waits
	}
	if err := p.release(opts.Terminal != nil); err != nil {
		return nil, errors.Join(fmt.Errorf("exec %s: release program: %w", p.id, err), p.abandon(ctx))
	}
	return p, nil
}

// release lets the agent, which waits for a byte, become the program, now that
// it is where it belongs. A terminal would print that byte, and so the agent
// first says that it has made the terminal quiet.
func (p *Process) release(terminal bool) error {
	if terminal {
		said := make([]byte, len(agent.TerminalReady))
		if _, err := io.ReadFull(p.streams.Stdout, said); err != nil {
			return fmt.Errorf("wait for its terminal: %w", err)
		}
		if string(said) != agent.TerminalReady {
			return fmt.Errorf("wait for its terminal: got %q: %w", said, errdefs.ErrInternal)
		}
	}
	_, err := p.streams.Stdin.Write([]byte{'\n'})
	return err
}

// ServeFiles starts the agent as a helper for the container's files, as
// the session's user, on the process's stdin and stdout.
func (c *Container) ServeFiles(ctx context.Context) (*Process, error) {
	return c.start(ctx, execProcess(c.pid1, []string{"files"}, []string{"GOMAXPROCS=2"}, nil), startOptions{kind: execSlot})
}

// start starts a process, which is the agent in a role, and puts it into a cgroup
// of its own.
func (c *Container) start(ctx context.Context, process *specs.Process, o startOptions) (_ *Process, retErr error) {
	ctx = c.runtime.in(ctx)
	slot, err := c.slots.take(o.kind)
	o.id = slot.id
	defer func() {
		if retErr != nil {
			retErr = fmt.Errorf("exec %s in container %s: %w", o.id, c.id, retErr)
		}
	}()
	if err != nil {
		if exists, eerr := c.group.Exists(); eerr == nil && !exists {
			return nil, fmt.Errorf("container has ended: %w", errdefs.ErrUnavailable)
		}
		return nil, err
	}
	p := &Process{id: o.id, container: c, group: slot.group, starter: c.starter(o)}
	defer func() {
		if retErr != nil {
			retErr = errors.Join(retErr, p.abandon(ctx))
		}
	}()
	pid, streams, err := p.starter.start(ctx, process)
	if err != nil {
		return nil, err
	}
	p.streams = streams
	if _, over := streams.Stdin.(ended); !over {
		p.streams.Stdin = &stdin{Input: streams.Stdin, end: func() error { return p.endStdin(context.WithoutCancel(ctx)) }}
	}
	if o.terminal {
		p.streams.Stderr = strings.NewReader("")
	}
	if c.runtime.opts.Shim.Agent {
		return p, nil // which did what follows before the program ran
	}
	if err := p.enter(pid); err != nil {
		return nil, err
	}
	return p, nil
}

// oomScoreAdj makes programs die before the agent.
const oomScoreAdj = "500"

// enter makes the process one that dies first where memory is short, and moves
// it into its cgroup, once it is sure that the number is
// that of a process of this container: other runtimes may give numbers of
// another pid namespace.
func (p *Process) enter(pid int) error {
	held, err := p.container.group.Holds(pid)
	if err != nil {
		return err
	}
	if !held {
		return fmt.Errorf("process %d is not in cgroup %s: %w", pid, p.container.group.Path(), errdefs.ErrInternal)
	}
	// runc takes no score for an exec from its specification.
	score := filepath.Join("/proc", strconv.Itoa(pid), "oom_score_adj")
	if err := os.WriteFile(score, []byte(oomScoreAdj), 0); err != nil {
		return fmt.Errorf("raise the score for the OOM killer: %w", err)
	}
	p.pidfd = openPidfd(pid)
	return p.group.Add(pid)
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
	// Forked says that the container's zygote forked the program.
	Forked bool
	// MaxRSSBytes is the most memory that the program, or a process that it waited
	// for, had resident at one time; 0 where the shim does not tell.
	MaxRSSBytes uint64
}

// Wait returns when the program has ended; others that it started may still
// run. An errdefs.ErrUnavailable says that its end cannot be known any more,
// because its shim is gone. Wait is for one caller, once.
func (p *Process) Wait(ctx context.Context) (ExitStatus, error) {
	exit, err := p.starter.wait(ctx)
	if err != nil {
		return ExitStatus{}, fmt.Errorf("wait for process: %w", err)
	}
	p.ended.Store(true)
	if p.raw {
		s := waitStatus(syscall.WaitStatus(exit.Status &^ agent.ForkedStatus))
		s.Forked = exit.Status&agent.ForkedStatus != 0
		s.MaxRSSBytes = uint64(exit.MaxRSS) << 10
		return s, nil
	}
	return exitStatus(int(exit.Status), p.pidfd), nil
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
	errs := []error{p.starter.forget(p.container.runtime.in(ctx), p.ended.Load())}
	if p.pidfd != nil {
		p.pidfd.Close()
	}
	errs = append(errs, p.container.forget(p.group))
	p.container.slots.prepare()
	return errors.Join(errs...)
}

// abandon closes a process that could not be started.
func (p *Process) abandon(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
	defer cancel()
	return errors.Join(p.Kill(), p.Close(ctx))
}

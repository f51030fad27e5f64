package runtime

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"

	"github.com/containerd/errdefs"

	"codebeaker/runtime/agent"
	"codebeaker/runtime/cgroup"
	"codebeaker/runtime/shim"
)

// foreignRoad starts a process through containerd by a shim that knows nothing of
// us. The process is the agent, which becomes the program when it is told to.
type foreignRoad struct {
	taskExec
	group cgroup.Group
	pidfd *os.File // nil if the kernel has none
}

func (f *foreignRoad) start(ctx context.Context) (Streams, error) {
	s, err := f.begin(ctx)
	if err != nil {
		return Streams{}, err
	}
	if err := f.enter(); err != nil {
		return Streams{}, err
	}
	if f.program.role != roleExec {
		return s, nil // it runs already
	}
	if err := f.release(s); err != nil {
		return Streams{}, fmt.Errorf("release program: %w", err)
	}
	return s, nil
}

// enter makes the process one that dies first where memory is short, and moves
// it into its cgroup, once it is sure that the number is
// that of a process of this container: other runtimes may give numbers of
// another pid namespace.
func (f *foreignRoad) enter() error {
	pid := int(f.process.Pid())
	held, err := f.container.group.Holds(pid)
	if err != nil {
		return err
	}
	if !held {
		return fmt.Errorf("process %d is not in cgroup %s: %w", pid, f.container.group.Path(), errdefs.ErrInternal)
	}
	// runc takes no score for an exec from its specification.
	score := filepath.Join("/proc", strconv.Itoa(pid), "oom_score_adj")
	if err := os.WriteFile(score, []byte(strconv.Itoa(shim.ProgramOOMScore)), 0); err != nil {
		return fmt.Errorf("raise the score for the OOM killer: %w", err)
	}
	f.pidfd = openPidfd(pid)
	return f.group.Add(pid)
}

// release lets the agent, which waits for a byte, become the program, now that
// it is where it belongs. A terminal would print that byte, and so the agent
// first says that it has made the terminal quiet.
func (f *foreignRoad) release(s Streams) error {
	if f.program.terminal != nil {
		said := make([]byte, len(agent.TerminalReady))
		if _, err := io.ReadFull(s.Stdout, said); err != nil {
			return fmt.Errorf("wait for its terminal: %w", err)
		}
		if string(said) != agent.TerminalReady {
			return fmt.Errorf("wait for its terminal: got %q: %w", said, errdefs.ErrInternal)
		}
	}
	_, err := s.Stdin.Write([]byte{'\n'})
	return err
}

func (f *foreignRoad) wait(ctx context.Context) (ExitStatus, error) {
	code, err := f.code(ctx)
	if err != nil {
		return ExitStatus{}, err
	}
	return exitStatus(int(code), f.pidfd), nil
}

func (f *foreignRoad) forget(ctx context.Context, ended bool) error {
	err := f.taskExec.forget(ctx, ended)
	if f.pidfd != nil {
		err = errors.Join(err, f.pidfd.Close())
	}
	return err
}

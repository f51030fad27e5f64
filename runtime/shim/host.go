package shim

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"codebeaker/runtime/frame"
)

// process is a handle on a process of the host that cannot come to mean another.
type process struct {
	pid   int
	pidfd *os.File
}

// openProcess opens a process by its number, which nobody has reaped yet.
func openProcess(pid int) (*process, error) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil, fmt.Errorf("open process %d: %w", pid, err)
	}
	if err := unix.SetNonblock(fd, true); err != nil { // for wait
		return nil, errors.Join(err, unix.Close(fd))
	}
	return &process{pid: pid, pidfd: os.NewFile(uintptr(fd), "pidfd")}, nil
}

// processOf takes a file that came from an agent, which says that it is a
// pidfd. The kernel tells of which process it is, in this process's numbers.
func processOf(pidfd *os.File) (*process, error) {
	var text []byte
	err := control(pidfd, func(fd int) (err error) {
		text, err = os.ReadFile("/proc/self/fdinfo/" + strconv.Itoa(fd))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("look at the agent's pidfd: %w", err)
	}
	_, after, ok := bytes.Cut(text, []byte("\nPid:\t"))
	if !ok {
		return nil, fmt.Errorf("the agent's pidfd is none: %w", frame.ErrProtocol)
	}
	line, _, _ := bytes.Cut(after, []byte("\n"))
	pid, err := strconv.Atoi(string(line))
	if err != nil || pid == 0 {
		return nil, fmt.Errorf("the agent's pidfd is of process %q: %w", line, frame.ErrProtocol)
	}
	if pid < 0 {
		return nil, fmt.Errorf("the process has ended: %w", errdefs.ErrUnavailable)
	}
	return &process{pid: pid, pidfd: pidfd}, nil
}

// errFinished is what containerd's clients look for.
var errFinished = fmt.Errorf("process already finished: %w", errdefs.ErrNotFound)

// signal sends a signal. One that has ended is errFinished.
func (p *process) signal(sig uint32) error {
	err := control(p.pidfd, func(fd int) error { return unix.PidfdSendSignal(fd, unix.Signal(sig), nil, 0) })
	if errors.Is(err, unix.ESRCH) {
		return errFinished
	}
	if errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("signal %d: %w", sig, errdefs.ErrInvalidArgument)
	}
	return err
}

// wait returns when the process has ended, or the handle was closed.
func (p *process) wait() error {
	conn, err := p.pidfd.SyscallConn()
	if err != nil {
		return err
	}
	return conn.Read(func(fd uintptr) bool { return readable(int(fd)) })
}

// over says whether the process has ended. It is false for a handle that was closed.
func (p *process) over() bool {
	over := false
	err := control(p.pidfd, func(fd int) error {
		over = readable(fd)
		return nil
	})
	return err == nil && over
}

// readable says whether there is something to read, as there is on a pidfd of a
// process that has ended.
func readable(fd int) bool {
	poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	n, err := unix.Poll(poll, 0)
	return n > 0 || err != nil && !errors.Is(err, unix.EINTR)
}

// admit calls f with the process's directory in /proc, by a name that means no
// other, whatever becomes of the process meanwhile. It is errFinished where it
// has ended.
func (p *process) admit(f func(proc string) error) error {
	dir, err := os.Open(fmt.Sprintf("/proc/%d", p.pid))
	if errors.Is(err, fs.ErrNotExist) {
		return errFinished
	}
	if err != nil {
		return err
	}
	defer dir.Close()
	// The number is still its own, and so the directory is.
	if err := p.signal(0); err != nil {
		return err
	}
	return f(fmt.Sprintf("/proc/self/fd/%d", dir.Fd()))
}

// setOOMScore says how soon the kernel ends a process where memory is short.
func setOOMScore(proc string, score int) error {
	if err := os.WriteFile(proc+"/oom_score_adj", []byte(strconv.Itoa(score)), 0); err != nil {
		return fmt.Errorf("set the score for the OOM killer: %w", err)
	}
	return nil
}

func (p *process) close() {
	if p != nil {
		p.pidfd.Close()
	}
}

// runnable says whether a thread of the process runs or waits for a processor. Of a
// process that has ended, or was never known, none does.
func (p *process) runnable() bool {
	if p == nil {
		return false
	}
	dir := "/proc/" + strconv.Itoa(p.pid) + "/task"
	threads, err := os.ReadDir(dir)
	if err != nil {
		return false
	}
	for _, t := range threads {
		text, err := os.ReadFile(dir + "/" + t.Name() + "/stat")
		if err != nil {
			continue // it has ended
		}
		// The name before the state is in parentheses, and may have some itself.
		if after := text[bytes.LastIndexByte(text, ')')+1:]; len(after) > 1 && after[1] == 'R' {
			return true
		}
	}
	return false
}

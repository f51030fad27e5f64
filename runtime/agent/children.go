package agent

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// children are the processes that pid 1 has, of which it started some and was
// left the others.
type children struct {
	// ended is told of the end of each program that was reaped, and of the most
	// memory that it had resident, in KiB.
	ended func(p *program, status unix.WaitStatus, maxRSS int64)
	// born has a value when one was started since it was last looked at.
	born chan struct{}

	mu sync.Mutex
	// programs are those that it started, by pid. Whoever starts one holds mu
	// until it is here and that was said, so that its end is not taken for an
	// orphan's, and not said before.
	programs map[int]*program
}

// reapUntilTerminated collects children that have ended until SIGTERM comes.
func (c *children) reapUntilTerminated() {
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, unix.SIGCHLD, unix.SIGTERM)
	for s := range signals {
		if s == unix.SIGTERM {
			return
		}
		c.reap()
	}
}

// reapForever collects children that have ended, without being told by a signal,
// which takes three threads of Go's where this takes one. A process that is left
// to a pid 1 without children, by one that came from outside, waits until a
// program is started.
func (c *children) reapForever() {
	for {
		// It stays to be reaped, with mu held.
		err := unix.Waitid(unix.P_ALL, 0, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if errors.Is(err, unix.ECHILD) {
			<-c.born
			continue
		}
		c.reap()
	}
}

// ignoreChildren has the kernel not send SIGCHLD, which is its default. That of
// the Go runtime is to handle it, and os/signal can only have it send none and
// forget the status.
func ignoreChildren() error {
	var byDefault [4]uint64                                                                                                     // struct sigaction: no handler, no flags, no mask
	_, _, errno := unix.Syscall6(unix.SYS_RT_SIGACTION, uintptr(unix.SIGCHLD), uintptr(unsafe.Pointer(&byDefault)), 0, 8, 0, 0) //nolint:gosec // sigaction reads it
	if errno != 0 {
		return fmt.Errorf("have no SIGCHLD: %w", errno)
	}
	return nil
}

// add enters a program that was started. The caller holds mu.
func (c *children) add(pid int, p *program) {
	c.programs[pid] = p
	select {
	case c.born <- struct{}{}:
	default:
	}
}

// stop kills a program that runs and waits until it has ended. It is reaped later.
// The caller holds mu.
func (c *children) stop(p *program) {
	for pid, running := range c.programs {
		if running != p {
			continue
		}
		_ = unix.Kill(pid, unix.SIGKILL) // it is there until it is reaped
		for errors.Is(unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil), unix.EINTR) {
		}
	}
}

// reap collects every child that has ended.
func (c *children) reap() {
	for {
		var status unix.WaitStatus
		var used unix.Rusage
		c.mu.Lock()
		pid, err := unix.Wait4(-1, &status, unix.WNOHANG, &used)
		p := c.programs[pid]
		delete(c.programs, pid)
		c.mu.Unlock()
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if pid <= 0 || err != nil {
			return
		}
		if p != nil {
			c.ended(p, status, used.Maxrss)
		}
	}
}

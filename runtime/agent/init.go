package agent

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	goruntime "runtime"
	"runtime/debug"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
)

// Init is pid 1 of a session, and returns the exit code of the process.
//
// Without arguments it reaps orphans until SIGTERM. With one, the number of the
// descriptor that is its socket to the shim, it starts programs too (package
// wire), until the socket ends. The number of another is that of its seccomp
// filter, where runc gave it none.
func Init(args []string, stderr io.Writer) int {
	goruntime.GOMAXPROCS(2) // it waits, mostly; each more would cost memory
	debug.SetGCPercent(20)  // one per session: small before fast
	if len(args) == 0 {
		children := &children{}
		return children.reapUntilTerminated(make(chan struct{}))
	}
	if err := serve(args); err != nil {
		fmt.Fprintf(stderr, "codebeaker: init: %v\n", err)
		return 1
	}
	return 0
}

func serve(args []string) error {
	var fds []int
	for _, arg := range args {
		fd, err := strconv.Atoi(arg)
		if err != nil || len(args) > 2 {
			return errors.New("usage: init [FD [FILTER-FD]]")
		}
		fds = append(fds, fd)
	}
	if len(fds) > 1 {
		if err := confine(fds[1]); err != nil {
			return err
		}
	}
	fd := fds[0]
	// Before anything is started.
	unix.CloseOnExec(fd)
	if err := shed(); err != nil {
		return err
	}
	s := newStarter(fd)
	ended := make(chan struct{})
	var serveErr error
	go func() {
		defer close(ended)
		serveErr = s.serve()
	}()
	s.children.reapUntilTerminated(ended)
	select {
	case <-ended:
		return serveErr
	default:
		return nil // SIGTERM
	}
}

// children are the processes that pid 1 has, of which it started some and was
// left the others.
type children struct {
	mu sync.Mutex
	// programs are those that it started, by pid. Whoever starts one holds mu
	// until it is here, so that its end is not taken for an orphan's.
	programs map[int]*program
}

// reapUntilTerminated collects children that have ended until SIGTERM comes or
// ended is closed.
func (c *children) reapUntilTerminated(ended <-chan struct{}) int {
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, unix.SIGCHLD, unix.SIGTERM)
	for {
		select {
		case <-ended:
			return 0
		case s := <-signals:
			if s == unix.SIGTERM {
				return 0
			}
			c.reap()
		}
	}
}

// kill ends a program that runs. The caller holds mu.
func (c *children) kill(p *program) {
	for pid, running := range c.programs {
		if running == p {
			_ = unix.Kill(pid, unix.SIGKILL) // it is there until it is reaped
		}
	}
}

// reap collects every child that has ended. One SIGCHLD may stand for many.
func (c *children) reap() {
	for {
		var status unix.WaitStatus
		c.mu.Lock()
		pid, err := unix.Wait4(-1, &status, unix.WNOHANG, nil)
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
			p.exited <- status
		}
	}
}

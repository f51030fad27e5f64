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

	"golang.org/x/sys/unix"

	"codebeaker/runtime/sched"
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
		children.reapUntilTerminated()
		return 0
	}
	if err := serve(args, stderr); err != nil {
		fmt.Fprintf(stderr, "codebeaker: init: %v\n", err)
		return 1
	}
	return 0
}

func serve(args []string, stderr io.Writer) error {
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
	// As it is before the shim gives the runtime's own thread another (package
	// monitor), which other threads may have from that.
	slack, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0)
	if err != nil {
		return fmt.Errorf("read the timer slack: %w", err)
	}
	s.slack = uintptr(slack)
	if s.sched, err = sched.ShortenSlices(); err != nil {
		fmt.Fprintf(stderr, "codebeaker: init: %v\n", err) // it costs time, no more
	}
	// SIGCHLD says nothing that the wait for children does not: whoever it came to
	// would be woken for nothing.
	if err := ignoreChildren(); err != nil {
		return err
	}
	terminated := make(chan os.Signal, 1)
	signal.Notify(terminated, unix.SIGTERM)
	go s.children.reapForever()
	ended := make(chan error, 1)
	go func() { ended <- s.serve() }()
	select {
	case err := <-ended:
		return err
	case <-terminated:
		return nil
	}
}

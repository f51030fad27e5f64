package agent

import (
	"errors"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"
)

// Init is pid 1 of a session: it reaps orphans until SIGTERM and returns the
// exit code of the process.
func Init() int {
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, unix.SIGCHLD, unix.SIGTERM)
	for s := range signals {
		if s == unix.SIGTERM {
			return 0
		}
		reap()
	}
	return 0
}

// reap collects every child that has ended. One SIGCHLD may stand for many.
func reap() {
	for {
		pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if pid <= 0 || err != nil {
			return
		}
	}
}

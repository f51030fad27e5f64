package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// errStopped is what a stoppable reader returns after stop.
var errStopped = errors.New("reading was stopped")

// stoppable reads a file descriptor, such as a terminal's, until it is stopped:
// a plain read waits until somebody types. The file stays as it is, as its flags
// are shared with other processes.
type stoppable struct {
	file       *os.File
	wait, wake *os.File // a pipe whose end is the sign to stop
}

// newStoppable returns a reader of file, which the caller keeps. After stop and
// the end of all reads, close frees it.
func newStoppable(file *os.File) (*stoppable, error) {
	wait, wake, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("make pipe: %w", err)
	}
	return &stoppable{file: file, wait: wait, wake: wake}, nil
}

// Read reads what there is, and waits for something.
func (s *stoppable) Read(p []byte) (int, error) {
	fds := []unix.PollFd{
		{Fd: int32(s.file.Fd()), Events: unix.POLLIN},
		{Fd: int32(s.wait.Fd()), Events: unix.POLLIN},
	}
	for {
		_, err := unix.Poll(fds, -1)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return 0, fmt.Errorf("wait for input: %w", err)
		}
		break
	}
	if fds[1].Revents != 0 {
		return 0, errStopped
	}
	n, err := s.file.Read(p)
	// A terminal that was hung up.
	if errors.Is(err, unix.EIO) {
		err = io.EOF
	}
	return n, err
}

// stop ends a Read that waits and all that follow. It may be called once.
func (s *stoppable) stop() { s.wake.Close() }

func (s *stoppable) close() { s.wait.Close() }

package direct

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Streams are a program's standard streams, as pipes, of which the server has
// these ends. They do not block their thread.
type Streams struct {
	// Stdin is nil where the program's input has ended before it starts.
	Stdin *os.File
	// Stdout is all that is printed where there is a terminal, and Stderr nil.
	Stdout, Stderr *os.File

	// program are the other ends, until they are sent.
	program []int
}

// NewStreams makes the pipes of a program, with a terminal or without, with an
// input or with one that has ended.
func NewStreams(terminal, input bool) (_ *Streams, retErr error) {
	s := &Streams{}
	defer func() {
		if retErr != nil {
			retErr = errors.Join(fmt.Errorf("make the program's streams: %w", retErr), s.Close())
		}
	}()
	flags := unix.O_CLOEXEC
	if terminal {
		flags |= unix.O_NONBLOCK
	}
	names := []string{"stdin", "stdout", "stderr"}
	if terminal {
		names = names[:2]
	}
	ends := []**os.File{&s.Stdin, &s.Stdout, &s.Stderr}
	for i, name := range names {
		var fds [2]int
		if err := unix.Pipe2(fds[:], flags); err != nil {
			return nil, err
		}
		theirs, ours := fds[1], fds[0]
		if i == 0 {
			theirs, ours = ours, theirs
		}
		s.program = append(s.program, theirs)
		if i == 0 && !input {
			_ = unix.Close(ours)
			continue
		}
		err := unix.SetNonblock(ours, true)
		*ends[i] = os.NewFile(uintptr(ours), name)
		if err != nil {
			return nil, err
		}
	}
	return s, nil
}

// descriptors are those that go with Start.
func (s *Streams) descriptors() ([]int, error) {
	all := s.program
	for _, f := range []*os.File{s.Stdout, s.Stderr, s.Stdin} {
		if f == nil {
			continue
		}
		raw, err := f.SyscallConn()
		if err == nil {
			err = raw.Control(func(fd uintptr) { all = append(all, int(fd)) })
		}
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

// given closes the program's ends, which the shim has.
func (s *Streams) given() {
	for _, fd := range s.program {
		_ = unix.Close(fd)
	}
	s.program = nil
}

// Close closes all ends that are open.
func (s *Streams) Close() error {
	s.given()
	var errs []error
	for _, f := range []*os.File{s.Stdin, s.Stdout, s.Stderr} {
		if f == nil {
			continue
		}
		if err := f.Close(); !errors.Is(err, os.ErrClosed) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

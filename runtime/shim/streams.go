package shim

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"codebeaker/runtime/frame"
)

// paths are the FIFOs that a client made for a process. Empty is /dev/null.
type paths struct {
	stdin, stdout, stderr string
	terminal              bool
}

// streams are a process's open FIFOs. The shim holds the other end of each, so
// that a client that dies is not the end of the program: nothing it writes
// becomes SIGPIPE, and its input does not end.
type streams struct {
	// program are the ends for the process itself, closed once it has them. With
	// a terminal they are the terminal's own copiers'.
	program []*os.File

	mu     sync.Mutex
	stdin  *os.File   // the end that keeps input from ending
	output []*os.File // the ends that keep output from breaking
}

const fifoFlags = unix.O_CLOEXEC | unix.O_NOFOLLOW

// openStreams opens a process's FIFOs, for a user of the host that is to own
// them, so that the process may open /dev/stdout again. It waits for nobody.
func openStreams(p paths, uid, gid int) (_ *streams, retErr error) {
	s := &streams{}
	defer func() {
		if retErr != nil {
			s.close()
			retErr = fmt.Errorf("open the process's streams: %w", retErr)
		}
	}()
	t := trees{}
	defer t.close()
	names := []string{p.stdin, p.stdout, p.stderr}
	if p.terminal {
		names = names[:2]
	}
	for i, name := range names {
		own, held, err := t.openStream(name, i == 0, p.terminal)
		if err != nil {
			return nil, err
		}
		s.program = append(s.program, own)
		if held == nil {
			continue
		}
		if i == 0 {
			s.stdin = held
		} else {
			s.output = append(s.output, held)
		}
	}
	return s, s.chown(uid, gid)
}

// streamsOf returns streams whose ends came from a client of package direct, and
// owns these.
func streamsOf(files []*os.File, terminal bool) (*streams, error) {
	outputs := 2
	if terminal {
		outputs = 1
	}
	held := 1 + outputs // where those begin that the shim holds
	if n := len(files) - held; n != outputs && n != outputs+1 {
		return nil, fmt.Errorf("%d streams: %w", len(files), frame.ErrProtocol)
	}
	s := &streams{program: files[:held:held], output: files[held : held+outputs : held+outputs]}
	if len(files) > held+outputs {
		s.stdin = files[held+outputs]
	}
	return s, nil
}

// chown gives the streams to a user of the host, so that the program may open
// /dev/stdout again. What is no pipe is everybody's.
func (s *streams) chown(uid, gid int) error {
	for _, f := range s.program {
		info, err := f.Stat()
		if err != nil {
			return err
		}
		if info.Mode().Type() != os.ModeNamedPipe {
			continue
		}
		if err := f.Chown(uid, gid); err != nil {
			return err
		}
	}
	return nil
}

// openStream returns the process's end of a FIFO and the other. The ends of a
// terminal's copiers do not block.
func (t trees) openStream(name string, input, terminal bool) (own, held *os.File, retErr error) {
	mine, theirs := unix.O_RDONLY, unix.O_WRONLY
	if input {
		mine, theirs = theirs, mine
	}
	if name == "" {
		own, err := os.OpenFile(os.DevNull, theirs, 0)
		return own, nil, err
	}
	if input {
		// Nobody can open a FIFO for writing alone that nobody reads.
		first, err := t.open(name, unix.O_RDONLY|unix.O_NONBLOCK)
		if err != nil {
			return nil, nil, err
		}
		defer first.Close()
	}
	held, err := t.open(name, mine|unix.O_NONBLOCK)
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		if retErr != nil {
			held.Close()
		}
	}()
	if info, err := held.Stat(); err != nil || info.Mode().Type() != os.ModeNamedPipe {
		return nil, nil, errors.Join(err, fmt.Errorf("%s is no FIFO, and the agent's containers take no other: %w", name, errdefs.ErrNotImplemented))
	}
	if terminal {
		theirs |= unix.O_NONBLOCK
	}
	own, err = t.open(name, theirs)
	return own, held, err
}

// trees are the directories that FIFOs are in, each as if there were nothing
// above it: a program finds the paths of its streams in /proc, and those of the
// host are none of its business.
type trees map[string]int

// open opens a FIFO. What it returns blocks unless the flags say otherwise.
func (t trees) open(name string, flags int) (*os.File, error) {
	dir, base := filepath.Split(name)
	tree, ok := t[dir]
	if !ok {
		var err error
		if tree, err = unix.OpenTree(unix.AT_FDCWD, dir, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC); err != nil {
			return nil, &os.PathError{Op: "open_tree", Path: dir, Err: err}
		}
		t[dir] = tree
	}
	fd, err := unix.Openat(tree, base, flags|fifoFlags, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: name, Err: err}
	}
	return os.NewFile(uintptr(fd), name), nil
}

func (t trees) close() {
	for _, tree := range t {
		_ = unix.Close(tree)
	}
}

// given closes the process's own ends, which it has.
func (s *streams) given() {
	for _, f := range s.program {
		f.Close()
	}
}

// endInput lets the input end after what was written to it.
func (s *streams) endInput() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stdin != nil {
		s.stdin.Close()
		s.stdin = nil
	}
}

// release returns the ends that keep output from breaking, which are the caller's
// then.
func (s *streams) release() []*os.File {
	s.mu.Lock()
	defer s.mu.Unlock()
	output := s.output
	s.output = nil
	return output
}

func (s *streams) close() {
	s.endInput()
	s.given()
	for _, f := range s.release() {
		f.Close()
	}
}

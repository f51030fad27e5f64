package runtime

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/containerd/containerd/v2/pkg/cio"
	"golang.org/x/sys/unix"
)

// processIO are the daemon's ends of a process's FIFOs.
type processIO interface {
	cio.IO
	// streams returns the ends, once the process was started.
	streams() (Streams, error)
}

// openFIFOs opens the daemon's ends before a process is started. starts says that
// its shim starts the program itself.
func openFIFOs(ctx context.Context, set *cio.FIFOSet, starts bool) (processIO, error) {
	if starts {
		return openNow(set)
	}
	// Not the caller's context: it would close the streams with it.
	d, err := cio.NewDirectIO(context.WithoutCancel(ctx), set)
	return copied{d}, err
}

// copied are FIFOs whose other ends are a shim's that copies. They are opened in
// the background, until the shim opens them as well.
type copied struct{ *cio.DirectIO }

func (c copied) streams() (Streams, error) {
	return Streams{Stdin: &copiedInput{fifo: c.Stdin}, Stdout: c.Stdout, Stderr: c.Stderr}, nil
}

// copiedInput is the input's FIFO with deadlines, which containerd's type has not:
// it writes to a descriptor of its own.
type copiedInput struct {
	fifo io.WriteCloser

	mu   sync.Mutex
	file *os.File // nil before the first write
}

// Write waits for the shim to open the other end, too. The first write, which
// starts the program, is the only one that may have to.
func (c *copiedInput) Write(p []byte) (int, error) {
	f, err := c.open()
	if err != nil {
		return 0, err
	}
	return f.Write(p)
}

func (c *copiedInput) open() (*os.File, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.file != nil {
		return c.file, nil
	}
	fifo, ok := c.fifo.(syscall.Conn)
	if !ok {
		return nil, fmt.Errorf("write to a FIFO: %T has no descriptor", c.fifo)
	}
	raw, err := fifo.SyscallConn()
	if err != nil {
		return nil, err
	}
	own := -1
	controlErr := raw.Control(func(fd uintptr) { own, err = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0) })
	if err := errors.Join(controlErr, err); err != nil {
		return nil, err
	}
	c.file = os.NewFile(uintptr(own), "stdin")
	return c.file, nil
}

// SetWriteDeadline implements Input.
func (c *copiedInput) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.file == nil {
		return nil
	}
	return c.file.SetWriteDeadline(t)
}

// Close implements Input.
func (c *copiedInput) Close() error {
	err := c.fifo.Close() // ends a first write that still waits
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.file == nil {
		return err
	}
	return errors.Join(err, c.file.Close())
}

// opened are FIFOs whose other ends are the program's own. That may be over
// before a goroutine in the background had its turn, so these are open when the
// program starts.
type opened struct {
	set            *cio.FIFOSet
	stdin          *os.File
	stdout, stderr *os.File
}

func openNow(set *cio.FIFOSet) (_ *opened, retErr error) {
	d := &opened{set: set}
	defer func() {
		if retErr != nil {
			retErr = errors.Join(retErr, d.Close())
		}
	}()
	for path, f := range map[string]**os.File{set.Stdout: &d.stdout, set.Stderr: &d.stderr} {
		if path == "" {
			continue
		}
		// Whoever does not wait can open it before anyone writes.
		file, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
		if err != nil {
			return nil, fmt.Errorf("open stream of the program: %w", err)
		}
		*f = file
	}
	return d, nil
}

func (d *opened) streams() (Streams, error) {
	s := Streams{Stdout: d.stdout, Stderr: d.stderr}
	// The shim keeps the program from reading an end before this.
	stdin, err := os.OpenFile(d.set.Stdin, os.O_WRONLY|unix.O_NONBLOCK, 0)
	if errors.Is(err, unix.ENXIO) {
		s.Stdin = ended{} // nobody is left to read it
		return s, nil
	}
	if err != nil {
		return Streams{}, fmt.Errorf("open stream of the program: %w", err)
	}
	d.stdin, s.Stdin = stdin, stdin
	return s, nil
}

// Config implements cio.IO.
func (d *opened) Config() cio.Config { return d.set.Config }

// Cancel implements cio.IO. There is nothing in the background.
func (d *opened) Cancel() {}

// Wait implements cio.IO.
func (d *opened) Wait() {}

// Close closes the ends and removes the FIFOs.
func (d *opened) Close() error {
	for _, f := range []*os.File{d.stdin, d.stdout, d.stderr} {
		if f != nil {
			f.Close() // stdin's may be closed already
		}
	}
	return d.set.Close()
}

// ended is the input of a program that is over.
type ended struct{}

func (ended) Write([]byte) (int, error)        { return 0, unix.EPIPE }
func (ended) SetWriteDeadline(time.Time) error { return nil }
func (ended) Close() error                     { return nil }

var _ Input = ended{}

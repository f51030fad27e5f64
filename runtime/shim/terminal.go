package shim

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"codebeaker/runtime/frame"
)

// terminal copies between a program's terminal and its FIFOs.
type terminal struct {
	mu     sync.Mutex
	master *os.File // nil once it is closed
	wg     sync.WaitGroup
}

// newTerminal takes the other side of a program's terminal, which came from an
// agent, and the two ends of the FIFOs. Whatever happens it closes them.
func newTerminal(master, stdin, stdout *os.File) (*terminal, error) {
	if err := checkTerminal(master); err != nil {
		for _, f := range []*os.File{master, stdin, stdout} {
			f.Close()
		}
		return nil, err
	}
	t := &terminal{master: master}
	t.wg.Go(func() {
		defer stdout.Close()
		// It ends with the error that the other side is gone.
		_, _ = io.Copy(stdout, master)
		t.close()
		stdin.Close()
	})
	go func() { // what ends the other ends it
		_, _ = io.Copy(master, stdin)
		stdin.Close()
	}()
	return t, nil
}

// checkTerminal says whether a file is that of a pseudoterminal, by what the
// kernel knows of it.
func checkTerminal(f *os.File) error {
	var st unix.Stat_t
	if err := control(f, func(fd int) error { return unix.Fstat(fd, &st) }); err != nil {
		return fmt.Errorf("look at the agent's terminal: %w", err)
	}
	const ptmxMajor, ptmxMinor = 5, 2
	if st.Mode&unix.S_IFMT != unix.S_IFCHR || unix.Major(st.Rdev) != ptmxMajor || unix.Minor(st.Rdev) != ptmxMinor {
		return fmt.Errorf("the agent's terminal is none: %w", frame.ErrProtocol)
	}
	return nil
}

// resize needs no terminal that still is.
func (t *terminal) resize(columns, rows uint32) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.master == nil {
		return nil
	}
	err := control(t.master, func(fd int) error {
		return unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: uint16(rows), Col: uint16(columns)})
	})
	if err != nil {
		return fmt.Errorf("resize terminal: %w", err)
	}
	return nil
}

// finishTimeout bounds how long what a terminal printed may wait for a reader.
const finishTimeout = 2 * time.Second

// finish lets all that was printed be read, and closes the terminal. Where
// nobody reads, copying goes on until somebody does.
func (t *terminal) finish() {
	done := make(chan struct{})
	go func() {
		defer close(done)
		t.wg.Wait()
	}()
	timeout := time.NewTimer(finishTimeout)
	defer timeout.Stop()
	select {
	case <-done:
	case <-timeout.C:
	}
	t.close()
}

func (t *terminal) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.master != nil {
		t.master.Close()
		t.master = nil
	}
}

// control calls f with a file's descriptor, without making the file block, as
// its Fd does.
func control(file *os.File, f func(fd int) error) error {
	conn, err := file.SyscallConn()
	if err != nil {
		return err
	}
	var ferr error
	err = conn.Control(func(fd uintptr) { ferr = f(int(fd)) })
	return errors.Join(err, ferr)
}

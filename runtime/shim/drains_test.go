package shim

import (
	"errors"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

func (d *drains) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.files)
}

func TestLeftoverWritersAreReadUntilTheyEnd(t *testing.T) {
	s := open(t, fifos(t))
	var d drains
	d.add(s)
	large := make([]byte, 1<<20) // beyond what a FIFO holds
	for _, f := range s.program[1:] {
		if _, err := f.Write(large); err != nil {
			t.Errorf("a leftover writer: %v", err)
		}
		f.Close()
	}
	d.work.Wait()
}

// A shim sees many thousands of programs to their end before their container's.
func TestWhatNobodyWritesToAnyMoreIsForgotten(t *testing.T) {
	var d drains
	pipe := func() (theirs *os.File) {
		t.Helper()
		ours, theirs, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		d.add(&streams{output: []*os.File{ours}})
		return theirs
	}
	left := pipe()
	defer left.Close()
	for range 100 {
		pipe().Close()
	}
	eventually(t, "forgotten", func() bool { return d.count() == 1 })
	if _, err := left.Write([]byte("x")); err != nil {
		t.Errorf("what is left behind cannot write: %v", err)
	}
	d.stop()
	if n := d.count(); n != 0 {
		t.Errorf("%d outputs are left", n)
	}
	if _, err := left.Write([]byte("x")); !errors.Is(err, unix.EPIPE) {
		t.Errorf("its output is still read: %v", err)
	}
}

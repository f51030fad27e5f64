package main

import (
	"fmt"
	"io"
	"os"
	"sync"

	"golang.org/x/term"
)

// terminal is this command's terminal in raw mode: each key goes to the program.
type terminal struct {
	file *os.File

	mu    sync.Mutex
	state *term.State // nil once it is restored
}

// openTerminal puts the terminal that is file in raw mode. restore has to be
// called in every case.
func openTerminal(file *os.File) (*terminal, error) {
	state, err := term.MakeRaw(int(file.Fd()))
	if err != nil {
		return nil, fmt.Errorf("put the terminal in raw mode: %w", err)
	}
	return &terminal{file: file, state: state}, nil
}

// restore gives the terminal the mode back that it had. It may be called at any
// time, from any goroutine, and more than once; a nil one has nothing to restore.
func (t *terminal) restore() error {
	if t == nil {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.state == nil {
		return nil
	}
	if err := term.Restore(int(t.file.Fd()), t.state); err != nil {
		return fmt.Errorf("restore the terminal: %w", err)
	}
	t.state = nil
	return nil
}

// isRaw says whether the terminal is in raw mode. A nil one is not.
func (t *terminal) isRaw() bool {
	if t == nil {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.state != nil
}

// guard is deferred on goroutines of which a panic would leave the terminal raw.
func (t *terminal) guard() {
	if r := recover(); r != nil {
		_ = t.restore() // the panic says more
		panic(r)
	}
}

// terminalOf returns the file behind a stream of a command where that is a
// terminal, and else nil.
func terminalOf(stream any) *os.File {
	if file, ok := stream.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
		return file
	}
	return nil
}

// mostSize bounds the rows and columns of a terminal, as a server does.
const mostSize = 1000

// sizeOf returns the size of the first terminal among streams, in characters.
func sizeOf(streams ...any) (rows, columns int, ok bool) {
	for _, s := range streams {
		if file := terminalOf(s); file != nil {
			if columns, rows, err := term.GetSize(int(file.Fd())); err == nil && rows > 0 && columns > 0 {
				return min(rows, mostSize), min(columns, mostSize), true
			}
		}
	}
	return 0, 0, false
}

// errDetached is the end of input by the keys that detach.
var errDetached = fmt.Errorf("detached by keys: %w", io.EOF)

// detachKeys are Ctrl-P Ctrl-Q, as in other container tools.
const detachKeys = "\x10\x11"

// detachReader reads keys until those to detach come. The first of them is held
// back until the next key.
type detachReader struct {
	r    io.Reader
	held bool // the first key came last
}

// Read returns errDetached after the keys. p has room for one key more than
// what is read.
func (d *detachReader) Read(p []byte) (int, error) {
	for {
		n, err := d.r.Read(p[:len(p)-1])
		n, detached := d.filter(p, n)
		switch {
		case detached:
			return n, errDetached
		case n > 0 || err != nil:
			return n, err
		}
	}
}

// filter takes the keys to detach out of the first n bytes of p, which has room
// for one more.
func (d *detachReader) filter(p []byte, n int) (int, bool) {
	keys := string(p[:n])
	kept := p[:0]
	for i := range len(keys) {
		key := keys[i]
		if d.held {
			d.held = false
			if key == detachKeys[1] {
				return len(kept), true
			}
			kept = append(kept, detachKeys[0])
		}
		if key == detachKeys[0] {
			d.held = true
			continue
		}
		kept = append(kept, key)
	}
	return len(kept), false
}

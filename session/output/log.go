package output

import (
	"fmt"
	"os"
	"sync"
)

// DefaultMemory is how many bytes of a stream are kept in memory where nothing
// else is said.
const DefaultMemory = 1 << 20

// Log keeps one stream.
type Log struct {
	memory int
	spill  *Spill
	kept   *Kept

	// writing is held by the one who writes, also while a file is written to
	// without mu, which comes after it.
	writing sync.Mutex

	mu sync.Mutex
	// The window is from start to end. The byte at offset o is at o modulo the
	// length of its place: ring, or from the moment that there is one, file.
	start, end int64
	ended      bool
	ring       []byte // grows up to memory
	file       *os.File
	size       int64         // of file
	changed    chan struct{} // closed at the next change; nil where nobody waits
	// inMemory and inFile are what kept was told of.
	inMemory, inFile int64
}

// NewLog returns an empty log that keeps up to memory bytes in memory, and
// more in a file of spill where that is not nil and has room. It is counted in
// kept where that is not nil.
func NewLog(memory int, spill *Spill, kept *Kept) *Log {
	if memory <= 0 {
		memory = DefaultMemory
	}
	return &Log{memory: memory, spill: spill, kept: kept}
}

// Write adds to the stream. It never fails, so that no program waits for its
// output to be read: what a file cannot keep is lost, as readers are told. What
// is written after Close is dropped. Several may write, of whom one waits for
// the other, so that what one call brings stays together.
func (l *Log) Write(p []byte) (int, error) {
	l.writing.Lock()
	defer l.writing.Unlock()
	for written := 0; written < len(p); {
		written += l.write(p[written:])
	}
	return len(p), nil
}

// write adds the part of p that can be added at once, and returns its length.
// The caller holds writing.
func (l *Log) write(p []byte) int {
	l.mu.Lock()
	if l.ended {
		l.mu.Unlock()
		return len(p)
	}
	if l.file == nil && l.spill != nil && l.end+int64(len(p)) > int64(l.memory) {
		l.moveToFile()
	}
	if l.file == nil {
		defer l.mu.Unlock()
		p = p[:min(len(p), l.memory)]
		l.grow(len(p))
		l.advance(len(p), int64(len(l.ring)))
		at := int(l.end % int64(len(l.ring)))
		n := copy(l.ring[at:], p)
		copy(l.ring, p[n:])
		l.end += int64(len(p))
		l.account()
		l.signal()
		return len(p)
	}
	// Not under the lock, as a disk may be slow. What is overwritten has left
	// the window before, which tells whoever reads it meanwhile.
	p = p[:min(int64(len(p)), l.size-l.end%l.size)]
	l.advance(len(p), l.size)
	file, at := l.file, l.end%l.size
	l.mu.Unlock()
	_, err := file.WriteAt(p, at)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return len(p) // discarded meanwhile
	}
	l.end += int64(len(p))
	if err != nil {
		l.spill.log.Warn("output is lost", "error", err)
		l.start = l.end
	}
	l.account()
	l.signal()
	return len(p)
}

// advance moves the window's start on for n more bytes in a place of size.
func (l *Log) advance(n int, size int64) { l.start = max(l.start, l.end+int64(n)-size) }

// grow makes the ring large enough for n more bytes, up to what may be.
func (l *Log) grow(n int) {
	need := int(min(l.end-l.start+int64(n), int64(l.memory)))
	if need <= len(l.ring) {
		return
	}
	size := max(len(l.ring), 512)
	for size < need {
		size *= 2
	}
	// It has not wrapped yet: it grows only while everything fits.
	ring := make([]byte, min(size, l.memory))
	copy(ring, l.ring[:l.end])
	l.ring = ring
}

// moveToFile moves what is kept to a file, or gives up having one.
func (l *Log) moveToFile() {
	file, size := l.spill.open(int64(l.memory))
	if file == nil {
		l.spill = nil
		return
	}
	if _, err := file.WriteAt(l.ring[:l.end], 0); err != nil { // it has not wrapped
		l.spill.close(file, size)
		l.spill = nil
		return
	}
	l.file, l.size, l.ring = file, size, nil
}

// signal wakes those who wait for a change. The caller holds mu.
func (l *Log) signal() {
	if l.changed != nil {
		close(l.changed)
		l.changed = nil
	}
}

// Close says that there is no more to come.
func (l *Log) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
	l.signal()
}

// Discard frees what is kept, and closes the log.
func (l *Log) Discard() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file != nil {
		l.spill.close(l.file, l.size)
	}
	l.file, l.ring, l.spill = nil, nil, nil
	l.start, l.ended = l.end, true
	l.account()
	l.signal()
}

// Window returns the offsets of the first byte that is kept and of the one
// after the last, and whether nothing more will come.
func (l *Log) Window() (start, end int64, ended bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.start, l.end, l.ended
}

// Memory returns how many bytes of memory the log takes.
func (l *Log) Memory() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.ring)
}

// Tail returns the last bytes that are kept, up to limit, and the offset of
// the first of them. Where bytes before them are missing they do not begin
// inside of a character.
func (l *Log) Tail(limit int) (text []byte, offset int64, err error) {
	for {
		start, end, _ := l.Window()
		offset = max(start, end-int64(limit))
		text = make([]byte, end-offset)
		n, at, err := l.readAt(text, offset)
		if err != nil {
			return nil, offset, err
		}
		if at != offset || int64(n) < end-offset {
			continue // the window has moved on
		}
		if offset > 0 {
			skip := leadingContinuation(text)
			text, offset = text[skip:], offset+int64(skip)
		}
		return text, offset, nil
	}
}

// readAt copies what is kept from offset on, or from the window's start where
// that is later, and returns how much it was and where it began.
func (l *Log) readAt(p []byte, offset int64) (n int, from int64, err error) {
	for {
		l.mu.Lock()
		from = max(offset, l.start)
		p = p[:max(0, min(int64(len(p)), l.end-from))]
		if len(p) == 0 || l.file == nil {
			if len(p) > 0 {
				at := int(from % int64(len(l.ring)))
				n = copy(p, l.ring[at:])
				n += copy(p[n:], l.ring)
			}
			l.mu.Unlock()
			return n, from, nil
		}
		file, at := l.file, from%l.size
		first := min(int64(len(p)), l.size-at)
		l.mu.Unlock()
		_, err = file.ReadAt(p[:first], at)
		if err == nil && first < int64(len(p)) {
			_, err = file.ReadAt(p[first:], 0)
		}
		l.mu.Lock()
		moved := l.start > from
		l.mu.Unlock()
		switch {
		case moved: // what was read may be something else, or a closed file
			continue
		case err != nil:
			return 0, from, fmt.Errorf("read output that was kept: %w", err)
		}
		return len(p), from, nil
	}
}

// wait returns a channel that is closed when there is more than end bytes, or
// the log has ended; nil where that is so already.
func (l *Log) wait(end int64) <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.end > end || l.ended {
		return nil
	}
	if l.changed == nil {
		l.changed = make(chan struct{})
	}
	return l.changed
}

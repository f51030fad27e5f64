package main

import (
	"fmt"
	"io"
	"path"
	"time"
)

const (
	// progressAfter is how long a copy of a file may take before it is shown, and
	// progressEvery how often it is drawn.
	progressAfter = time.Second
	progressEvery = 200 * time.Millisecond
)

// copyProgress shows on one line of a terminal how far the copy of a file is, where
// that takes long. A nil one shows nothing.
type copyProgress struct {
	w     io.Writer
	width int

	name        string
	size, done  int64 // bytes; a size of 0 is not known
	began, last time.Time
	drawn       bool
}

// newCopyProgress returns one where w is a terminal, and else nil.
func newCopyProgress(w io.Writer) *copyProgress {
	_, width, ok := sizeOf(w)
	if !ok {
		return nil
	}
	return &copyProgress{w: w, width: max(width, 20)}
}

// begin begins a file.
func (p *copyProgress) begin(name string, size int64) {
	if p == nil {
		return
	}
	p.name, p.size, p.done, p.began = path.Base(name), size, 0, time.Now()
}

// add says that so many bytes more were copied.
func (p *copyProgress) add(bytes int) {
	if p == nil {
		return
	}
	p.done += int64(bytes)
	now := time.Now()
	if now.Sub(p.began) < progressAfter || now.Sub(p.last) < progressEvery {
		return
	}
	p.last, p.drawn = now, true
	fmt.Fprintf(p.w, "\r\x1b[K%s", p.text(now))
}

func (p *copyProgress) text(now time.Time) string {
	const mib = 1 << 20
	text := fmt.Sprintf(" %.1f MiB", float64(p.done)/mib)
	if p.size > 0 {
		text += fmt.Sprintf(" of %.1f, %d%%", float64(p.size)/mib, 100*p.done/p.size)
	}
	text += fmt.Sprintf(", %.1f MiB/s", float64(p.done)/mib/now.Sub(p.began).Seconds())
	return shorten(printable(p.name), max(p.width-1-len(text), 1)) + text
}

// clear takes the line away.
func (p *copyProgress) clear() {
	if p == nil || !p.drawn {
		return
	}
	p.drawn = false
	fmt.Fprint(p.w, "\r\x1b[K")
}

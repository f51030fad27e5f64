package main

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"codebeaker/images"
)

// progress shows where the work on images is: on a terminal a line for each
// work that runs, which changes; elsewhere a line for each stage that begins.
type progress struct {
	w       io.Writer
	width   int // of the terminal; 0 where it is none
	started time.Time

	mu    sync.Mutex
	works []*work // in the order in which they were asked for
	drawn int     // lines on the terminal
}

// work is one of those that run at one time.
type work struct {
	name  string // of the language; empty where there is only one, or for what all wait for
	text  string
	stage images.Stage
	took  time.Duration // until it was done
}

// minWidth is of a terminal that lines fit into; others are taken to be wider
// than they say.
const minWidth = 20

func newProgress(w io.Writer) *progress {
	p := &progress{w: w, started: time.Now()}
	file, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		return p
	}
	var err error
	if p.width, _, err = term.GetSize(int(file.Fd())); err != nil || p.width < minWidth {
		p.width = 80
	}
	return p
}

// of returns what receives the events of a work.
func (p *progress) of(name string) images.Progress {
	w := &work{name: name}
	p.mu.Lock()
	p.works = append(p.works, w)
	p.mu.Unlock()
	return func(e images.Event) {
		p.mu.Lock()
		defer p.mu.Unlock()
		begun := e.Stage != w.stage
		w.stage, w.text = e.Stage, describe(e)
		if e.Stage == images.StageDone {
			w.took, w.text = time.Since(p.started), "" // what was done is printed
		}
		switch {
		case p.width > 0:
			p.draw()
		case begun && w.name == "":
			fmt.Fprintln(p.w, e.Stage)
		case begun:
			fmt.Fprintf(p.w, "%s: %s\n", w.name, e.Stage)
		}
	}
}

// describe returns the line of an event.
func describe(e images.Event) string {
	text := string(e.Stage)
	if e.Total > 0 {
		text += fmt.Sprintf(" %d%%", 100*e.Done/e.Total)
	}
	if e.Message != "" {
		text += ": " + e.Message
	}
	return text
}

// draw replaces the lines on the terminal. The caller holds mu.
func (p *progress) draw() {
	var text strings.Builder
	text.WriteString(p.clear())
	for _, w := range p.works {
		if w.text == "" || w.name == "" && p.languagesRun() {
			continue
		}
		line := []rune(w.text)
		if w.name != "" {
			line = []rune(w.name + ": " + w.text)
		}
		text.WriteString(string(line[:min(len(line), p.width-1)]) + "\n")
		p.drawn++
	}
	fmt.Fprint(p.w, text.String())
}

// clear returns what takes the lines from the terminal. The caller holds mu.
func (p *progress) clear() string {
	text := "\r"
	if p.drawn > 0 {
		text += fmt.Sprintf("\x1b[%dA", p.drawn)
	}
	p.drawn = 0
	return text + "\x1b[J"
}

// languagesRun says whether what they wait for is over.
func (p *progress) languagesRun() bool {
	for _, w := range p.works {
		if w.name != "" && w.stage != "" {
			return true
		}
	}
	return false
}

// finish ends the drawing.
func (p *progress) finish() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.width > 0 && p.drawn > 0 {
		fmt.Fprint(p.w, p.clear())
	}
}

// took returns how long a language's image took, from the start of all work.
func (p *progress) took(name string) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, w := range p.works {
		if w.name == name {
			return cmp.Or(w.took, time.Since(p.started))
		}
	}
	return time.Since(p.started)
}

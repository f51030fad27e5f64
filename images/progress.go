package images

import (
	"strings"
	"sync"
)

// Stage is a part of the work of Build, Pull or Import.
type Stage string

// The stages, in their order.
const (
	// StagePackages installs packages into a new root file system (Build).
	StagePackages Stage = "packages"
	// StageLayer packs that root file system into a layer (Build).
	StageLayer Stage = "layer"
	// StageFetch downloads from a registry (Pull) or reads an archive (Import).
	StageFetch Stage = "fetch"
	// StageUnpack unpacks layers into the snapshotter.
	StageUnpack Stage = "unpack"
	// StageDone moves the language's name to the image.
	StageDone Stage = "done"
)

// Event says how far the work is.
type Event struct {
	Stage Stage
	// Message is one line for a person; it may be empty.
	Message string
	// Done and Total count the bytes of the stage. Total is zero where it is
	// not known, and both are where the stage has no bytes to count.
	Done, Total int64
}

// Progress receives the events of one call, one at a time, from goroutines of
// that call. It must not block for long. A nil Progress receives nothing.
type Progress func(Event)

// reporter hands events to a Progress one at a time.
type reporter struct {
	mu sync.Mutex
	fn Progress
}

func (r *reporter) report(e Event) {
	if r.fn == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fn(e)
}

// parseLine turns a line of mmdebstrap, apt or dpkg into a message, or nothing
// where the line says nothing of use.
func parseLine(line string) (message string, ok bool) {
	switch {
	case strings.HasPrefix(line, "I: running --customize-hook"):
		return "cleaning up", true
	case strings.HasPrefix(line, "I: "):
		message = strings.TrimSuffix(strings.TrimPrefix(line, "I: "), "...")
		verb, _, _ := strings.Cut(message, " ")
		switch verb {
		case "downloading", "extracting", "installing":
			return message, true
		}
	case strings.HasPrefix(line, "Get:"):
		// Get:22 http://deb.debian.org/debian trixie/main amd64 libexpat1 amd64 2.7.1-2 [108 kB]
		f := strings.Fields(line)
		switch {
		case len(f) >= 5 && strings.Contains(f[2], "/") && f[4] != "Packages":
			return "downloading " + f[4], true
		case len(f) >= 4:
			return "downloading index of " + f[2], true
		}
	case strings.HasPrefix(line, "Unpacking "), strings.HasPrefix(line, "Setting up "):
		verb, rest := "unpacking ", strings.TrimPrefix(line, "Unpacking ")
		if rest == line {
			verb, rest = "setting up ", strings.TrimPrefix(line, "Setting up ")
		}
		name, _, _ := strings.Cut(rest, " ")
		name, _, _ = strings.Cut(name, ":")
		return verb + name, true
	}
	return "", false
}

package images

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	goruntime "runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/containerd/errdefs"
)

const (
	// tailLines is how many of the last lines are searched for the cause of a
	// failure.
	tailLines = 60
	// shownLines is how many of them are in its error.
	shownLines = 8
)

// runMmdebstrap runs mmdebstrap in a build directory and hands its standard
// output, a tar stream, to consume, and each line of its standard error to
// line. Where it fails, its error is returned rather than that of consume,
// which then saw a stream cut short.
//
// It runs as pid 1 of a pid namespace and in a mount namespace, both of its
// own, and is killed when this process or ctx ends. With it end all of its
// processes and mounts.
func runMmdebstrap(ctx context.Context, program string, args, env []string, dir *buildDir,
	consume func(io.Reader) error, line func(string),
) error {
	// Pdeathsig is sent when the thread that started the process ends, so
	// nobody else may have this one until it has.
	goruntime.LockOSThread()
	defer goruntime.UnlockOSThread()

	running, kill := context.WithCancel(ctx)
	defer kill()
	lines := &lineWriter{line: line}
	cmd := exec.CommandContext(running, program, args...)
	cmd.Dir = dir.path
	cmd.Env = env
	cmd.Stderr = lines
	cmd.ExtraFiles = []*os.File{dir.lock} // held until the last process is gone
	cmd.WaitDelay = 10 * time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:   syscall.CLONE_NEWPID,
		Unshareflags: syscall.CLONE_NEWNS, // and makes all mounts private, so that none gets out
		Pdeathsig:    syscall.SIGKILL,
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return fmt.Errorf("start %s: %w", program, err)
	}
	if err := cmd.Start(); err != nil {
		return startError(program, err)
	}
	consumeErr := consume(stdout)
	// A stream that was cut short is a failure of the writer, which says more.
	refused := consumeErr != nil && !errors.Is(consumeErr, io.ErrUnexpectedEOF)
	if refused {
		kill() // nobody reads what it still writes
	}
	waitErr := cmd.Wait()
	lines.flush()
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("install packages: %w", ctx.Err())
	case waitErr != nil && !refused:
		return failure(waitErr, lines.tail)
	}
	return consumeErr
}

// startError explains why mmdebstrap could not be started.
func startError(program string, err error) error {
	switch {
	case errors.Is(err, exec.ErrNotFound), errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("start %s: it is not installed; run: apt-get install mmdebstrap debian-archive-keyring: %w",
			program, errdefs.ErrFailedPrecondition)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("start %s: %w; images are built by root: %w", program, err, errdefs.ErrPermissionDenied)
	}
	return fmt.Errorf("start %s: %w", program, err)
}

// failure explains why mmdebstrap failed, from the lines that it wrote last.
func failure(err error, tail []string) error {
	text := strings.Join(tail, "\n")
	advice, class := "", error(errdefs.ErrUnknown)
	for _, known := range []struct {
		sign, advice string
		class        error
	}{
		{"No space left on device", "the disk is full; free some space, or build on another disk", errdefs.ErrResourceExhausted},
		{"NO_PUBKEY", "the keys of Debian's archive are too old; update debian-archive-keyring", errdefs.ErrFailedPrecondition},
		{"couldn't be verified", "the keys of Debian's archive are too old; update debian-archive-keyring", errdefs.ErrFailedPrecondition},
		{"does not have a Release file", "the mirror does not have this Debian release; use another mirror", errdefs.ErrUnavailable},
		{"Hash Sum mismatch", "the mirror is being updated; try again", errdefs.ErrUnavailable},
		{"Could not resolve", "the mirror's name was not found; check the network and the proxy of apt", errdefs.ErrUnavailable},
		{"Temporary failure resolving", "the mirror's name was not found; check the network and the proxy of apt", errdefs.ErrUnavailable},
		{"Could not connect", "the mirror was not reached; check the network and the proxy of apt", errdefs.ErrUnavailable},
		{"Unable to connect", "the mirror was not reached; check the network and the proxy of apt", errdefs.ErrUnavailable},
		// Also said where apt got no signature because it got no answer, so last.
		{"Failed to fetch", "the mirror did not serve a file; try again, or use another mirror", errdefs.ErrUnavailable},
		{"is not signed", "the mirror's index has no signature; use another mirror", errdefs.ErrFailedPrecondition},
	} {
		if strings.Contains(text, known.sign) {
			advice, class = known.advice+": ", known.class
			break
		}
	}
	shown := slices.DeleteFunc(slices.Clone(tail), func(l string) bool { return strings.HasPrefix(l, "I: ") })
	shown = shown[max(0, len(shown)-shownLines):]
	return fmt.Errorf("install packages: %smmdebstrap: %w: %w\n%s", advice, err, class, strings.Join(shown, "\n"))
}

// lineWriter hands each line that is written to it to line, and keeps those of
// the last that are worth reading after a failure.
type lineWriter struct {
	line    func(string)
	partial []byte
	tail    []string
}

func (w *lineWriter) Write(p []byte) (int, error) {
	w.partial = append(w.partial, p...)
	for {
		l, rest, ok := bytes.Cut(w.partial, []byte("\n"))
		if !ok {
			return len(p), nil
		}
		w.add(string(l))
		w.partial = rest
	}
}

// flush ends a last line that has no end.
func (w *lineWriter) flush() {
	if len(w.partial) > 0 {
		w.add(string(w.partial))
		w.partial = nil
	}
}

func (w *lineWriter) add(l string) {
	l = strings.TrimRight(l, "\r ")
	if l == "" {
		return
	}
	w.line(l)
	if len(w.tail) == tailLines {
		w.tail = append(w.tail[:0], w.tail[1:]...)
	}
	w.tail = append(w.tail, l)
}

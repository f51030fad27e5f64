package images

import (
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
)

func TestFailureSaysWhatToDo(t *testing.T) {
	exit := errors.New("exit status 25")
	for _, tc := range []struct {
		line, advice string
		class        error
	}{
		{"dpkg: error processing archive x.deb: cannot write: No space left on device", "disk is full", errdefs.ErrResourceExhausted},
		{"E: The repository 'http://m/debian trixie Release' does not have a Release file.", "another mirror", errdefs.ErrUnavailable},
		{"  Temporary failure resolving 'm.invalid'", "check the network", errdefs.ErrUnavailable},
		{"W: Failed to fetch http://m/ Could not connect to m:80 (127.0.0.1). - connect (111: Connection refused)", "check the network", errdefs.ErrUnavailable},
		{"  The following signatures couldn't be verified because the public key is not available: NO_PUBKEY 6ED0E7B8", "debian-archive-keyring", errdefs.ErrFailedPrecondition},
		// apt adds this where it got no answer for an index.
		{"E: Failed to fetch http://m/dists/trixie/InRelease  400  Bad Request\nE: The repository 'http://m trixie InRelease' is not signed.", "another mirror", errdefs.ErrUnavailable},
		{"dpkg: error processing package x", "", errdefs.ErrUnknown},
	} {
		err := failure(exit, []string{tc.line, "E: mmdebstrap failed to run"})
		if !errors.Is(err, tc.class) || !errors.Is(err, exit) {
			t.Errorf("%q: error is %v; want one of class %v", tc.line, err, tc.class)
		}
		for _, want := range []string{tc.advice, tc.line, "mmdebstrap failed to run"} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%q: error is %v; want %q in it", tc.line, err, want)
			}
		}
	}
}

func TestStartErrorSaysWhatToInstall(t *testing.T) {
	for _, cause := range []error{&exec.Error{Name: "mmdebstrap", Err: exec.ErrNotFound}, &fs.PathError{Op: "fork/exec", Err: fs.ErrNotExist}} {
		err := startError("mmdebstrap", cause)
		if !errors.Is(err, errdefs.ErrFailedPrecondition) || !strings.Contains(err.Error(), "apt-get install mmdebstrap") {
			t.Errorf("%v: error is %v", cause, err)
		}
	}
}

func TestLineWriterKeepsTheTail(t *testing.T) {
	var got []string
	w := &lineWriter{line: func(l string) { got = append(got, l) }}
	for i := range tailLines + 5 {
		fmt.Fprintf(w, "line %d\n", i)
	}
	fmt.Fprint(w, "cut in ")
	fmt.Fprint(w, "two\r\n\nno end")
	w.flush()
	w.flush()
	if n := len(got); n != tailLines+7 || got[n-2] != "cut in two" || got[n-1] != "no end" {
		t.Errorf("%d lines, the last are %q", n, got[max(0, n-2):])
	}
	if len(w.tail) != tailLines || !slices.Equal(w.tail, got[len(got)-tailLines:]) {
		t.Errorf("the tail has %d lines and ends with %q", len(w.tail), w.tail[len(w.tail)-1])
	}
}

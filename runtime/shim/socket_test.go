package shim

import (
	"net"
	"os"
	"path/filepath"
	"testing"
)

func TestSocketKnowsItsPath(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	f, err := l.(*net.UnixListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if got, err := boundTo(int(f.Fd())); err != nil || got != path {
		t.Errorf("got %q, %v; want %q", got, err, path)
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	if got, err := boundTo(int(null.Fd())); err == nil {
		t.Errorf("what is no socket has the path %q", got)
	}
}

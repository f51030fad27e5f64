package shim

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// A shared shim that does not answer may be busy, and its socket is not one
// container's.
func TestSocketOfASharedShimStays(t *testing.T) {
	for shared, want := range map[bool]error{true: nil, false: fs.ErrNotExist} {
		bundle, dir := t.TempDir(), t.TempDir()
		sock := filepath.Join(dir, "sock")
		socket, err := listenFile("unix", sock)
		if err != nil {
			t.Fatal(err)
		}
		socket.Close() // nobody serves it
		if shared {
			if err := os.WriteFile(filepath.Join(dir, sharedFile), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		text := `{"address":"unix://` + sock + `"}`
		if err := os.WriteFile(filepath.Join(bundle, "bootstrap.json"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := removeSocket(bundle); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Lstat(sock); !errors.Is(err, want) {
			t.Errorf("shared %v: the socket is there: %v", shared, err == nil)
		}
	}
}

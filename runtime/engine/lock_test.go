package engine

import (
	"strings"
	"testing"

	"github.com/containerd/errdefs"
)

func TestRootBelongsToOneHolder(t *testing.T) {
	root := t.TempDir()
	lock, err := Acquire(root, "codebeaker serve")
	if err != nil {
		t.Fatal(err)
	}
	_, err = Acquire(root, "another")
	if !errdefs.IsUnavailable(err) || !strings.Contains(err.Error(), "codebeaker serve (pid ") {
		t.Fatalf("second lock: %v; want unavailable, naming the holder", err)
	}
	if err := lock.Release(); err != nil {
		t.Fatal(err)
	}
	lock, err = Acquire(root, "another")
	if err != nil {
		t.Fatalf("lock after release: %v", err)
	}
	lock.Release()
}

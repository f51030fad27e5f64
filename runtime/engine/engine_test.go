package engine

import (
	"strings"
	"testing"

	"github.com/containerd/errdefs"
)

func TestStateTooLongForSocketsIsRefused(t *testing.T) {
	_, err := Open(t.Context(), Options{Root: t.TempDir(), State: "/" + strings.Repeat("s", maxStateLen)})
	if !errdefs.IsInvalidArgument(err) {
		t.Fatalf("Open: %v; want an invalid argument", err)
	}
}

func TestDialWithoutContainerdSaysWhere(t *testing.T) {
	address := t.TempDir() + "/none.sock"
	ctx := t.Context()
	if _, err := Dial(ctx, address, ""); err == nil || !strings.Contains(err.Error(), address) {
		t.Fatalf("Dial: %v; want an error that names %s", err, address)
	}
}

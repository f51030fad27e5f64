package engine

import (
	"bytes"
	"io/fs"
	"log/slog"
	"os"
	"testing"

	"github.com/containerd/log"
)

func TestWhatContainerdSaysOfEveryShimIsNotLogged(t *testing.T) {
	for message, usual := range map[string]error{
		"copy shim log":                              os.ErrClosed,
		"failed to delete dead shim":                 &fs.PathError{Op: "fork/exec", Path: "/shim", Err: fs.ErrNotExist},
		"failed to clean up after shim disconnected": &fs.PathError{Op: "fork/exec", Path: "/shim", Err: fs.ErrNotExist},
	} {
		var text bytes.Buffer
		routeLogs(slog.New(slog.NewTextHandler(&text, nil)))
		t.Cleanup(func() { routeLogs(nil) })
		log.L.WithError(usual).Error(message)
		if text.Len() > 0 {
			t.Errorf("%s: logged %s", message, &text)
		}
		log.L.WithError(fs.ErrPermission).Error(message)
		if text.Len() == 0 {
			t.Errorf("%s: another error is not logged", message)
		}
	}
}

package shim

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

func TestStagesAreReadOnceAndWrittenToNoOtherFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "stages")
	synctest.Test(t, func(t *testing.T) {
		var w stopwatch
		w.lap("")
		time.Sleep(time.Second) //nolint:forbidigo // the bubble's clock
		w.lap(stageMount)
		time.Sleep(time.Minute) //nolint:forbidigo // the bubble's clock
		w.lap(stageRunc)
		if err := w.write(path); err != nil {
			t.Fatal(err)
		}
		if err := w.write(path); !errors.Is(err, os.ErrExist) {
			t.Errorf("written over another: %v", err)
		}
		if err := w.write(""); err != nil {
			t.Error(err)
		}
	})
	got, err := ReadStages(path)
	if err != nil || len(got) != 2 || got[0] != (Stage{stageMount, time.Second}) || got[1] != (Stage{stageRunc, time.Minute}) {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := ReadStages(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("read again: %v", err)
	}
}

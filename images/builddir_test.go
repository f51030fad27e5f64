package images

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func newTestDir(t *testing.T, parent string) *buildDir {
	t.Helper()
	d, err := newBuildDir(parent)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func exists(t *testing.T, path string) bool {
	t.Helper()
	_, err := os.Stat(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return err == nil
}

func TestRemoveStaleTellsLivingFromDead(t *testing.T) {
	parent := filepath.Join(t.TempDir(), "builds")
	living, dead := newTestDir(t, parent), newTestDir(t, parent)
	if err := os.MkdirAll(filepath.Join(dead.path, "root", "etc"), 0o755); err != nil {
		t.Fatal(err)
	}
	// A killed process closes its files; who inherited them keeps the lock.
	inherited, err := os.Open(filepath.Join(living.path, lockName))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { inherited.Close() })
	if err := dead.lock.Close(); err != nil {
		t.Fatal(err)
	}
	unlocked := filepath.Join(parent, buildPrefix+"unlocked") // killed before it made its lock
	foreign := filepath.Join(parent, "foreign")
	for _, dir := range []string{unlocked, foreign} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}

	ids, err := removeStale(parent)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(ids)
	want := []string{dead.id, buildPrefix + "unlocked"}
	slices.Sort(want)
	if !slices.Equal(ids, want) {
		t.Errorf("removed %q; want %q", ids, want)
	}
	for path, want := range map[string]bool{living.path: true, foreign: true, dead.path: false, unlocked: false} {
		if exists(t, path) != want {
			t.Errorf("%s is there: %t; want %t", path, !want, want)
		}
	}

	if err := living.remove(); err != nil {
		t.Fatal(err)
	}
	if exists(t, living.path) {
		t.Error("remove left the directory")
	}
}

func TestRemoveStaleWithoutBuilds(t *testing.T) {
	ids, err := removeStale(filepath.Join(t.TempDir(), "none"))
	if err != nil || len(ids) != 0 {
		t.Errorf("removed %q, %v; want nothing", ids, err)
	}
}

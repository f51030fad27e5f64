package images

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	// buildPrefix is how the names of build directories start.
	buildPrefix = "codebeaker-build-"
	lockName    = "lock"
)

// buildDir is the directory of one build. Its lock is held by the builder and,
// through the inherited file, by every process of the build, so that a
// directory whose lock is free has nobody left who works in it. Its name is
// the id of the build's lease in containerd, too.
type buildDir struct {
	id   string
	path string
	lock *os.File
}

// newBuildDir makes a build directory below parent. The caller removes it.
func newBuildDir(parent string) (_ *buildDir, retErr error) {
	unlock, err := lockParent(parent)
	if err != nil {
		return nil, err
	}
	defer unlock()
	id := buildPrefix + strings.ToLower(rand.Text()[:12])
	d := &buildDir{id: id, path: filepath.Join(parent, id)}
	// Others may pass through, because apt downloads as a user of its own.
	if err := os.Mkdir(d.path, 0o711); err != nil {
		return nil, fmt.Errorf("make build directory: %w", err)
	}
	defer func() {
		if retErr != nil {
			retErr = errors.Join(retErr, os.RemoveAll(d.path))
		}
	}()
	if d.lock, err = os.OpenFile(filepath.Join(d.path, lockName), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600); err != nil {
		return nil, fmt.Errorf("make build directory: %w", err)
	}
	if err := flock(d.lock, unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("lock build directory %s: %w", d.path, err), d.lock.Close())
	}
	return d, nil
}

// remove removes the directory. No process of the build may be left.
func (d *buildDir) remove() error {
	// The lock goes last: until then the directory is not taken for stale.
	err := os.RemoveAll(d.path)
	return errors.Join(err, d.lock.Close())
}

// removeStale removes the build directories below parent that nobody works in
// any more, and returns their ids.
func removeStale(parent string) (ids []string, err error) {
	unlock, err := lockParent(parent)
	if err != nil {
		return nil, err
	}
	defer unlock()
	entries, err := os.ReadDir(parent)
	if err != nil {
		return nil, fmt.Errorf("look for stale build directories: %w", err)
	}
	var errs []error
	for _, e := range entries {
		if !e.IsDir() || !strings.HasPrefix(e.Name(), buildPrefix) {
			continue
		}
		stale, err := removeIfStale(filepath.Join(parent, e.Name()))
		if err != nil {
			errs = append(errs, fmt.Errorf("remove stale build directory: %w", err))
		} else if stale {
			ids = append(ids, e.Name())
		}
	}
	return ids, errors.Join(errs...)
}

// removeIfStale removes a build directory whose lock is free. The caller holds
// the lock of the parent, so a directory without a lock has no builder either.
func removeIfStale(dir string) (_ bool, retErr error) {
	lock, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR, 0)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	if err == nil {
		defer func() { retErr = errors.Join(retErr, lock.Close()) }()
		if err := flock(lock, unix.LOCK_EX|unix.LOCK_NB); err != nil {
			if errors.Is(err, unix.EWOULDBLOCK) {
				return false, nil
			}
			return false, err
		}
	}
	return true, os.RemoveAll(dir)
}

// lockParent makes the directory of all builds and locks it against others who
// add or remove build directories. It is held for as long as that takes.
func lockParent(parent string) (unlock func(), err error) {
	if err := os.MkdirAll(parent, 0o711); err != nil {
		return nil, fmt.Errorf("make directory for builds: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(parent, lockName), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock directory for builds: %w", err)
	}
	if err := flock(lock, unix.LOCK_EX); err != nil {
		return nil, errors.Join(fmt.Errorf("lock directory for builds %s: %w", parent, err), lock.Close())
	}
	return func() { _ = lock.Close() }, nil // nothing was written
}

// flock is flock(2), again where a signal interrupts it.
func flock(f *os.File, how int) error {
	for {
		err := unix.Flock(int(f.Fd()), how)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// write makes a file in the directory.
func (d *buildDir) write(name string, content []byte) error {
	return os.WriteFile(filepath.Join(d.path, name), content, 0o600)
}

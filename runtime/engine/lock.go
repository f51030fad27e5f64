package engine

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

// Lock is the right to use a root directory. The kernel takes it back when its
// process ends, however it ends.
type Lock struct{ file *os.File }

// Acquire locks root for this process, making the directory where it is
// missing. holder says what the process is, for the person who meets the lock:
// "codebeaker serve". A root that is taken is an errdefs.ErrUnavailable that
// names the holder.
func Acquire(root, holder string) (*Lock, error) {
	if err := os.MkdirAll(root, 0o711); err != nil {
		return nil, fmt.Errorf("lock root: %w", err)
	}
	path := filepath.Join(root, "lock")
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock root: %w", err)
	}
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		defer file.Close()
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock root %s: %w", root, err)
		}
		text := make([]byte, 256)
		n, _ := file.ReadAt(text, 0)
		who := strings.TrimSpace(string(text[:n]))
		if who == "" {
			who = "another process"
		}
		return nil, fmt.Errorf("root %s is in use by %s: %w", root, who, errdefs.ErrUnavailable)
	}
	// The text is for people; a lock without it is as good.
	_ = file.Truncate(0)
	_, _ = fmt.Fprintf(file, "%s (pid %d)\n", holder, os.Getpid())
	return &Lock{file: file}, nil
}

// Release gives the root back.
func (l *Lock) Release() error { return l.file.Close() }

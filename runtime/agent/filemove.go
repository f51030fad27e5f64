package agent

import (
	"context"
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// moveFile renames a file or a directory. It is copied where its destination is
// on another file system; copied says that it is then in both places because it
// could not be removed at its source.
func moveFile(ctx context.Context, from, to string, overwrite bool) (copied bool, err error) {
	info, err := os.Lstat(from)
	if err != nil {
		return false, err
	}
	err = rename(from, to, overwrite)
	if errors.Is(err, unix.ENOENT) {
		// Not before, as it would make directories in the one that moves.
		if info.IsDir() && within(from, to) {
			return false, unix.EINVAL
		}
		if err := makeParents(parent(to)); err != nil {
			return false, atTo(err)
		}
		err = rename(from, to, overwrite)
	}
	switch {
	case err == nil:
		return false, nil
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.EBUSY):
		return false, err
	case errors.Is(err, unix.EXDEV):
		return moveContent(ctx, from, to, overwrite)
	case removable(from) != nil:
		return false, err
	default:
		return false, atTo(err)
	}
}

// rename renames in one step, which replaces what is at to or fails where
// something is.
func rename(from, to string, overwrite bool) error {
	var flags uint
	if !overwrite {
		flags = unix.RENAME_NOREPLACE
	}
	return unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, flags)
}

// moveContent copies a file or a directory and then removes it.
func moveContent(ctx context.Context, from, to string, overwrite bool) (copied bool, err error) {
	if err := removable(from); err != nil {
		return false, err
	}
	if _, err := copyFile(ctx, from, to, copyOptions{overwrite: overwrite, move: true}); err != nil {
		return false, err
	}
	if err := os.RemoveAll(from); err != nil {
		return true, err
	}
	return false, nil
}

// removable says whether the directory of a file lets it be removed.
func removable(name string) error { return unix.Access(parent(name), unix.W_OK|unix.X_OK) }

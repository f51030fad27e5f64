package agent

import (
	"context"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// copyStep is how many bytes are copied between two looks at the time.
const copyStep = 16 << 20

type copyOptions struct {
	// overwrite replaces what is at the destination.
	overwrite bool
	// move copies what a move has to: no link is followed, and the time of
	// modification is kept.
	move bool
}

// copyFile copies a regular file with its permission bits and returns its size.
// The destination is written under another name beside it, and then renamed.
func copyFile(ctx context.Context, from, to string, opts copyOptions) (n int64, retErr error) {
	flags := os.O_RDONLY | unix.O_NONBLOCK // a FIFO would wait for a writer
	if opts.move {
		flags |= unix.O_NOFOLLOW
	}
	source, err := os.OpenFile(from, flags, 0)
	if err != nil {
		return 0, err
	}
	defer source.Close()
	info, err := source.Stat()
	switch {
	case err != nil:
		return 0, err
	case info.IsDir():
		return 0, unix.EISDIR
	case !info.Mode().IsRegular():
		return 0, unix.ENXIO
	}
	if err := mayReplace(to, opts.overwrite); err != nil {
		return 0, atTo(err)
	}
	temporary, err := createBeside(to)
	if err != nil {
		return 0, atTo(err)
	}
	defer func() {
		temporary.Close()
		if retErr != nil {
			_ = os.Remove(temporary.Name()) // the first error counts
		}
	}()
	if n, err = copyContent(ctx, temporary, source); err != nil {
		return 0, atTo(err)
	}
	if err := temporary.Chmod(info.Mode().Perm()); err != nil {
		return 0, atTo(err)
	}
	if err := temporary.Close(); err != nil {
		return 0, atTo(err)
	}
	if opts.move {
		if err := os.Chtimes(temporary.Name(), time.Time{}, info.ModTime()); err != nil {
			return 0, atTo(err)
		}
	}
	return n, atTo(rename(temporary.Name(), to, opts.overwrite))
}

// mayReplace finds early what the renaming at the end would find.
func mayReplace(to string, overwrite bool) error {
	if _, err := os.Lstat(to); err == nil && !overwrite {
		return unix.EEXIST
	}
	if info, err := os.Stat(to); err == nil && info.IsDir() {
		return unix.EISDIR
	}
	switch path.Base(to) {
	case ".", "..":
		return unix.EISDIR
	}
	if strings.HasSuffix(to, "/") {
		return unix.EISDIR
	}
	return nil
}

// createBeside creates a file with a name of its own in the directory of to,
// making that where it is missing.
func createBeside(to string) (*os.File, error) {
	dir, _ := path.Split(to)
	// Not crypto/rand, which would be a tenth of the binary.
	random := make([]byte, 16)
	if _, err := unix.Getrandom(random, 0); err != nil {
		return nil, err
	}
	name := dir + ".codebeaker-" + hex.EncodeToString(random)
	const flags = os.O_WRONLY | os.O_CREATE | os.O_EXCL
	file, err := os.OpenFile(name, flags, 0o600)
	if !errors.Is(err, fs.ErrNotExist) {
		return file, err
	}
	if err := makeParents(dir); err != nil {
		return nil, err
	}
	return os.OpenFile(name, flags, 0o600)
}

// makeParents makes a directory for a file. A link that leads nowhere is none.
func makeParents(dir string) error {
	err := os.MkdirAll(dir, directoryMode)
	if errors.Is(err, unix.EEXIST) {
		return unix.ENOTDIR
	}
	return err
}

func copyContent(ctx context.Context, to io.Writer, from io.Reader) (int64, error) {
	var n int64
	for {
		if err := ctx.Err(); err != nil {
			return n, err
		}
		step, err := io.CopyN(to, from, copyStep)
		n += step
		switch {
		case errors.Is(err, io.EOF):
			return n, nil
		case err != nil:
			return n, err
		}
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

// moveFile renames a file or a directory. A regular file is copied where its
// destination is on another file system; copied says that it is then in both
// places because it could not be removed at its source.
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
	case errors.Is(err, unix.EXDEV) && info.Mode().IsRegular():
		return moveContent(ctx, from, to, overwrite)
	case errors.Is(err, unix.EXDEV):
		return false, err
	case removable(from) != nil:
		return false, err
	default:
		return false, atTo(err)
	}
}

// moveContent copies a file and then removes it.
func moveContent(ctx context.Context, from, to string, overwrite bool) (copied bool, err error) {
	if err := removable(from); err != nil {
		return false, err
	}
	if _, err := copyFile(ctx, from, to, copyOptions{overwrite: overwrite, move: true}); err != nil {
		return false, err
	}
	if err := os.Remove(from); err != nil {
		return true, err
	}
	return false, nil
}

// removable says whether the directory of a file lets it be removed.
func removable(name string) error { return unix.Access(parent(name), unix.W_OK|unix.X_OK) }

// parent returns the directory that a name is in.
func parent(name string) string {
	dir, _ := path.Split(strings.TrimRight(name, "/"))
	return dir
}

// within says whether a path leads into a directory. What of the path does not
// exist yet does not lead anywhere else.
func within(dir, name string) bool {
	dir, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return false
	}
	for at := parent(name); ; at = parent(at) {
		real, err := filepath.EvalSymlinks(at)
		if err == nil {
			return real == dir || strings.HasPrefix(real, dir+"/")
		}
		if at == "/" || at == "" {
			return false
		}
	}
}

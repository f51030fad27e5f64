package agent

import (
	"context"
	"errors"
	"os"
	"path"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// do carries out a request. There is more than one reply where a listing does
// not fit into one.
func (r *FileRequest) do(ctx context.Context) []FileReply {
	ctx, cancel := context.WithTimeout(ctx, r.Timeout)
	defer cancel()
	reply := FileReply{}
	name, to := string(r.Path), string(r.To)
	var err error
	switch r.Op {
	case MakeDirectory:
		err = makeDirectory(name, r.Recursive)
	case CopyFile:
		reply.Bytes, err = copyFile(ctx, name, to, copyOptions{overwrite: r.Overwrite})
	case MoveFile:
		reply.Copied, err = moveFile(ctx, name, to, r.Overwrite)
	case RemoveFile:
		err = removeFile(name, r.Recursive, r.Keep)
	case ListDirectory:
		var found *listing
		if found, err = list(ctx, r); err == nil {
			return found.replies()
		}
	default:
		err = unix.ENOSYS
	}
	if err != nil {
		reply.Errno = errnoOf(err)
		reply.AtTo = errors.As(err, new(toError))
		if in := (*belowError)(nil); errors.As(err, &in) {
			reply.Below = FilePath(in.below)
		}
	}
	return []FileReply{reply}
}

// toError is a failure at the destination of a copy or a move; others are at
// the source.
type toError struct{ error }

func (e toError) Unwrap() error { return e.error }

func atTo(err error) error {
	if err == nil {
		return nil
	}
	return toError{err}
}

// belowError is a failure somewhere in a tree.
type belowError struct {
	below string // the path there from the tree's top
	err   error
}

func (e *belowError) Error() string { return e.err.Error() }

func (e *belowError) Unwrap() error { return e.err }

func atBelow(below string, err error) error {
	if err == nil || below == "" {
		return err
	}
	return &belowError{below, err}
}

// errnoOf returns the number of an error of the file system.
func errnoOf(err error) syscall.Errno {
	errno := syscall.Errno(0)
	switch {
	case errors.As(err, &errno) && errno != 0:
		return errno
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return unix.ETIMEDOUT
	default:
		return unix.EIO
	}
}

const directoryMode = 0o755

func makeDirectory(name string, parents bool) error {
	if !parents {
		return os.Mkdir(name, directoryMode)
	}
	err := os.MkdirAll(name, directoryMode)
	if info, serr := os.Lstat(name); err != nil && serr == nil && !info.IsDir() {
		return unix.EEXIST // and not that it is no directory
	}
	return err
}

// removeFile removes a file, a symbolic link or a directory. A directory that
// cannot be removed keeps what is in it.
func removeFile(name string, recursive bool, keep []string) error {
	name = strings.TrimRight(name, "/")
	dir, base := path.Split(name)
	if base == "" || base == "." || base == ".." {
		return unix.EPERM
	}
	info, err := os.Lstat(name)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return os.Remove(name)
	}
	for _, k := range keep {
		if kept, err := os.Stat(k); err == nil && os.SameFile(info, kept) {
			return unix.EPERM
		}
	}
	if !recursive {
		return os.Remove(name)
	}
	// What removes all that is in it, and then fails, helps nobody. The
	// directories where file systems are mounted are in ones of root.
	if err := unix.Access(dir, unix.W_OK|unix.X_OK); err != nil {
		return err
	}
	return os.RemoveAll(name)
}

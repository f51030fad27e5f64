package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// upload copies a file of this host, or with recursive a directory, into the
// session.
func (t *transfer) upload(ctx context.Context, stdin io.Reader, from, to string, recursive bool) error {
	intoDirectory, err := t.files.isDirectory(ctx, to)
	if err != nil {
		return err
	}
	if from == "-" {
		if intoDirectory || strings.HasSuffix(to, "/") {
			return fmt.Errorf("%s is a directory: name the file that standard input goes to", printable(cleaned(to)))
		}
		return t.uploadFile(ctx, stdin, 0, 0, to)
	}
	file, info, err := openRegular(os.OpenFile, from)
	switch {
	case errors.Is(err, errIsDirectory) && recursive:
		return t.uploadTree(ctx, from, to, intoDirectory)
	case errors.Is(err, errIsDirectory):
		return fmt.Errorf("%s is a directory: add -r to copy it", printable(from))
	case err != nil:
		return err
	}
	defer file.Close()
	if intoDirectory {
		to = path.Join(cleaned(to), filepath.Base(from))
	} else if strings.HasSuffix(to, "/") {
		return fmt.Errorf("there is no directory %s in the session", printable(to))
	}
	return t.uploadFile(ctx, file, info.Size(), info.Mode().Perm(), to)
}

var (
	errIsDirectory = errors.New("is a directory")
	errIrregular   = entryError("it is neither a regular file nor a directory")
)

// openRegular opens a regular file for reading, and nothing else: opening a FIFO
// would wait.
func openRegular(open func(name string, flag int, perm fs.FileMode) (*os.File, error), name string) (*os.File, fs.FileInfo, error) {
	file, err := open(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	info, err := file.Stat()
	if err == nil && info.IsDir() {
		err = errIsDirectory
	} else if err == nil && !info.Mode().IsRegular() {
		err = errIrregular
	}
	if err != nil {
		file.Close()
		return nil, nil, err
	}
	return file, info, nil
}

// uploadFile copies what content has to a file of the session. A size of 0 is not
// known; permissions of 0 are those that new files get.
func (t *transfer) uploadFile(ctx context.Context, content io.Reader, size int64, permissions fs.FileMode, to string) (retErr error) {
	t.progress.begin(to, size)
	partial := path.Join(path.Dir(to), temporary())
	made := false
	defer func() {
		if retErr != nil && made {
			t.files.remove(ctx, partial)
		}
	}()
	// A file that its owner may not write takes no second chunk.
	first, last := permissions, fs.FileMode(0)
	if permissions != 0 && permissions&0o200 == 0 {
		first, last = permissions|0o200, permissions
	}
	buf := make([]byte, t.files.chunk)
	for more := false; ; more = true {
		n, err := io.ReadFull(content, buf)
		ended := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		if err != nil && !ended {
			return fmt.Errorf("read what is to be copied: %w", err)
		}
		if n > 0 || !more {
			made = true
			if err := t.files.write(ctx, partial, buf[:n], more, first); err != nil {
				return err
			}
			first = 0
			t.progress.add(n)
		}
		if ended {
			break
		}
	}
	if last != 0 {
		if err := t.files.write(ctx, partial, nil, true, last); err != nil {
			return err
		}
	}
	return t.files.move(ctx, partial, to)
}

// uploadTree copies a directory: into to, where that is one, and else as it.
func (t *transfer) uploadTree(ctx context.Context, from, to string, intoDirectory bool) error {
	to = cleaned(to)
	if base := filepath.Base(from); intoDirectory && namesEntry(base) {
		to = path.Join(to, base)
	}
	root, err := os.OpenRoot(from)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }() // all in it was closed
	return fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err == nil {
			err = t.uploadEntry(ctx, root, name, d, path.Join(to, name))
		} else {
			err = entryError(err.Error())
		}
		if err == nil {
			return nil
		}
		if name == "." {
			return err // nothing else would work
		}
		if err := t.leaveOut(ctx, filepath.Join(from, name), err); err != nil {
			return err
		}
		if d != nil && d.IsDir() {
			return fs.SkipDir
		}
		return nil
	})
}

func (t *transfer) uploadEntry(ctx context.Context, root *os.Root, name string, d fs.DirEntry, to string) error {
	switch {
	case d.IsDir():
		return t.files.makeDirectory(ctx, to)
	case d.Type()&fs.ModeSymlink != 0:
		return entryError("it is a symbolic link, which a session cannot be given")
	case !d.Type().IsRegular():
		return errIrregular
	}
	file, info, err := openRegular(root.OpenFile, name)
	if err != nil {
		return entryError(err.Error())
	}
	defer file.Close()
	return t.uploadFile(ctx, file, info.Size(), info.Mode().Perm(), to)
}

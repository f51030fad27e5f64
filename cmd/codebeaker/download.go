package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// mostPendingBytes bounds the names of directories that wait to be copied: a
// session can have more of them than memory holds.
const mostPendingBytes = 64 << 20

// download copies a file of the session, or with recursive a directory, to this
// host. What the session says is not trusted: a name is one element of a path or
// it is refused, and all is opened below the directory that the user named.
func (t *transfer) download(ctx context.Context, stdout io.Writer, from, to string, recursive bool) error {
	source, err := t.files.stat(ctx, from)
	if err != nil {
		return err
	}
	if source.Type == typeDirectory && !recursive {
		return fmt.Errorf("%s is a directory: add -r to copy it", printable(cleaned(from)))
	}
	if to == "-" {
		if source.Type == typeDirectory {
			return errors.New("a directory cannot go to standard output; tar makes a file of it: codebeaker exec SESSION -- tar c DIRECTORY")
		}
		return t.copyOut(ctx, stdout, cleaned(from), source.Size)
	}
	here, err := os.Stat(to)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	base := path.Base(from)
	intoDirectory := err == nil && here.IsDir()
	switch {
	case source.Type == typeDirectory:
		if err == nil && !intoDirectory {
			return fmt.Errorf("%s is here already, and no directory", to)
		}
		if !intoDirectory {
			if err := os.Mkdir(to, fs.FileMode(source.Mode)|0o700); err != nil {
				return err
			}
			base = "."
		}
		return t.downloadBelow(to, func(root *os.Root) error { return t.downloadTree(ctx, root, cleaned(from), base, source) })
	case intoDirectory:
		if !namesEntry(base) {
			return fmt.Errorf("name the file that %s goes to", printable(from))
		}
		return t.downloadBelow(to, func(root *os.Root) error { return t.downloadFile(ctx, root, cleaned(from), base, source) })
	case strings.HasSuffix(to, "/"):
		return fmt.Errorf("there is no directory %s here", to)
	default:
		name := filepath.Base(to)
		return t.downloadBelow(filepath.Dir(to), func(root *os.Root) error { return t.downloadFile(ctx, root, cleaned(from), name, source) })
	}
}

// downloadBelow calls f with a directory of this host, out of which nothing
// leads.
func (t *transfer) downloadBelow(dir string, f func(root *os.Root) error) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }() // all in it was closed
	return f(root)
}

// namesEntry says whether a name is one element of a path, and that of an entry.
func namesEntry(name string) bool {
	return name != "" && name != "." && name != ".." && !strings.ContainsAny(name, "/\x00")
}

// directory is one of a session that waits to be copied.
type directory struct{ from, to string }

// downloadTree copies a directory to the one at to, which it makes.
func (t *transfer) downloadTree(ctx context.Context, root *os.Root, from, to string, source entry) error {
	if !namesEntry(to) {
		to = "."
	}
	if err := makeDirectory(root, to, source); err != nil {
		return err
	}
	waiting, pending := []directory{{from, to}}, 0
	for first := true; len(waiting) > 0; first = false {
		d := waiting[len(waiting)-1]
		waiting = waiting[:len(waiting)-1]
		pending -= len(d.from) + len(d.to)
		list, err := t.files.list(ctx, d.from)
		if first && err != nil {
			return err
		}
		if err := t.leaveOut(ctx, d.from, err); err != nil {
			return err
		}
		for _, e := range list {
			from, to := path.Join(d.from, e.Name), filepath.Join(d.to, e.Name)
			err := t.downloadEntry(ctx, root, from, to, e)
			if err == nil && e.Type == typeDirectory {
				waiting = append(waiting, directory{from, to})
				if pending += len(from) + len(to); pending > mostPendingBytes {
					return errors.New("the session has too many directories to copy them")
				}
			}
			if err := t.leaveOut(ctx, from, err); err != nil {
				return err
			}
		}
	}
	return nil
}

func (t *transfer) downloadEntry(ctx context.Context, root *os.Root, from, to string, e entry) error {
	switch {
	case !namesEntry(e.Name):
		return entryError("its name is none that a file here can have")
	case e.Type == typeDirectory:
		return makeDirectory(root, to, e)
	case e.Type == typeFile:
		return t.downloadFile(ctx, root, from, to, e)
	case e.Type == typeSymlink:
		return entryError("it is a symbolic link, and of whoever runs in the session")
	default:
		return errIrregular
	}
}

// makeDirectory makes a directory below root, or finds that it is there.
func makeDirectory(root *os.Root, name string, e entry) error {
	// Whoever copies has to get into it.
	err := root.Mkdir(name, fs.FileMode(e.Mode)|0o700)
	if errors.Is(err, fs.ErrExist) || name == "." {
		var info fs.FileInfo
		if info, err = root.Lstat(name); err == nil && !info.IsDir() {
			return entryError("it is here already, and no directory")
		}
	}
	return localError(err)
}

// localError leaves out what cannot be made here. A disk that is full, or an
// error that cannot be told from it, ends the copy.
func localError(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return entryError(err.Error())
	}
	return err
}

// downloadFile copies a file to the one at to, below root, which it makes or
// replaces.
func (t *transfer) downloadFile(ctx context.Context, root *os.Root, from, to string, e entry) (retErr error) {
	// A device or a link here is not what anybody wants to have replaced.
	info, err := root.Lstat(to)
	if err == nil && !info.Mode().IsRegular() {
		return entryError(fmt.Sprintf("%s is here already, and no regular file", printable(to)))
	}
	partial := filepath.Join(filepath.Dir(to), temporary())
	file, err := root.OpenFile(partial, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fs.FileMode(e.Mode)&fs.ModePerm)
	if err != nil {
		return localError(err)
	}
	defer func() {
		file.Close() // again, after a success
		if retErr != nil {
			_ = root.Remove(partial)
		}
	}()
	if err := t.copyOut(ctx, file, from, e.Size); err != nil {
		return err
	}
	if err := file.Close(); err != nil {
		return err
	}
	return localError(root.Rename(partial, to))
}

// copyOut writes a file of the session to w: as much as it had when its size was
// read, as one that somebody writes has no end. A size of 0 says nothing: files
// of /proc have none.
func (t *transfer) copyOut(ctx context.Context, w io.Writer, from string, size int64) error {
	t.progress.begin(from, size)
	most := size
	if most == 0 {
		most = math.MaxInt64
	}
	for offset := int64(0); offset < most; {
		chunk, err := t.files.read(ctx, from, offset, most-offset)
		if err != nil {
			return err
		}
		if len(chunk) == 0 {
			break
		}
		if int64(len(chunk)) > most-offset {
			return errors.New("the server sent more than it was asked for")
		}
		if _, err := w.Write(chunk); err != nil {
			return err
		}
		offset += int64(len(chunk))
		t.progress.add(len(chunk))
	}
	return nil
}

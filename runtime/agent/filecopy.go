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

	"golang.org/x/sys/unix"
)

// copyStep is how many bytes are copied between two looks at the time.
const copyStep = 16 << 20

type copyOptions struct {
	// overwrite replaces what is at the destination.
	overwrite bool
	// move copies what a move has to: the link and not what it leads to, all bits
	// of the mode, the times of modification, and files of two names as one.
	move bool
}

// copier copies a file or a tree.
type copier struct {
	opts  copyOptions
	bytes int64
	// directories are those copied, with what they get once all is in them.
	directories []finish
	// links are the copies of files that have more than one name.
	links map[inode]string
}

type inode struct{ device, number uint64 }

// finish is the mode and the time that a copy gets.
type finish struct {
	name, below string
	stat        unix.Stat_t
}

// copyFile copies a regular file or a directory and returns how many bytes its
// files have. The copy is made under another name beside the destination, and
// then renamed. Errors in a tree are *belowErrors.
func copyFile(ctx context.Context, from, to string, opts copyOptions) (n int64, retErr error) {
	var st unix.Stat_t
	stat := unix.Stat
	if opts.move {
		stat = unix.Lstat
	}
	if err := stat(from, &st); err != nil {
		return 0, err
	}
	directory := st.Mode&unix.S_IFMT == unix.S_IFDIR
	if err := regular(&st); err != nil && !directory && !opts.move {
		return 0, err
	}
	if directory {
		if within(from, to) {
			return 0, unix.EINVAL
		}
		to = strings.TrimRight(to, "/")
	}
	if err := mayReplace(to, directory, opts.overwrite); err != nil {
		return 0, atTo(err)
	}
	temporary, err := nameBeside(to)
	if err != nil {
		return 0, atTo(err)
	}
	defer func() {
		// Of a name that nothing has, RemoveAll would open the directory, even
		// where it is a FIFO.
		if _, err := os.Lstat(temporary); err == nil && retErr != nil {
			_ = os.RemoveAll(temporary) // the first error counts
		}
	}()
	c := &copier{opts: opts, links: map[inode]string{}}
	if err := c.copy(ctx, from, temporary, "", &st); err != nil {
		return 0, err
	}
	if err := c.finishDirectories(); err != nil {
		return 0, err
	}
	return c.bytes, atTo(rename(temporary, to, opts.overwrite))
}

// mayReplace finds early what the renaming at the end would find.
func mayReplace(to string, directory, overwrite bool) error {
	switch path.Base(to) {
	case ".", "..":
		return unix.EISDIR
	}
	info, err := os.Lstat(to)
	there := err == nil
	switch {
	case there && !overwrite:
		return unix.EEXIST
	case there && directory && !info.IsDir():
		return unix.ENOTDIR
	case there && directory:
		return isEmpty(to)
	case directory:
		return nil
	}
	if info, err := os.Stat(to); err == nil && info.IsDir() || strings.HasSuffix(to, "/") {
		return unix.EISDIR
	}
	return nil
}

// isEmpty fails if there is something in a directory.
func isEmpty(name string) error {
	dir, err := openDirectory(unix.AT_FDCWD, name, name, 0)
	if err != nil {
		return err
	}
	defer dir.Close()
	switch _, err := dir.Readdirnames(1); {
	case errors.Is(err, io.EOF):
		return nil
	case err != nil:
		return err
	default:
		return unix.ENOTEMPTY
	}
}

// nameBeside returns a name that nothing has in the directory of to, making that
// where it is missing.
func nameBeside(to string) (string, error) {
	dir, _ := path.Split(to)
	if _, err := os.Lstat(dir); dir != "" && errors.Is(err, fs.ErrNotExist) {
		if err := makeParents(dir); err != nil {
			return "", err
		}
	}
	// Not crypto/rand, which would be a tenth of the binary.
	random := make([]byte, 16)
	if _, err := unix.Getrandom(random, 0); err != nil {
		return "", err
	}
	return dir + ".codebeaker-" + hex.EncodeToString(random), nil
}

// makeParents makes a directory for a file. A link that leads nowhere is none.
func makeParents(dir string) error {
	err := os.MkdirAll(dir, directoryMode)
	if errors.Is(err, unix.EEXIST) {
		return unix.ENOTDIR
	}
	return err
}

// copy copies what st is of to a name that nothing has. It is below the source
// at the path below, which is empty for the source itself.
func (c *copier) copy(ctx context.Context, from, to, below string, st *unix.Stat_t) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	id := inode{st.Dev, st.Ino}
	kind := st.Mode & unix.S_IFMT
	if c.opts.move && kind != unix.S_IFDIR && st.Nlink > 1 {
		if first, ok := c.links[id]; ok {
			return atBelow(below, atTo(os.Link(first, to)))
		}
		c.links[id] = to
	}
	switch kind {
	case unix.S_IFREG:
		return atBelow(below, c.copyRegular(ctx, from, to, below))
	case unix.S_IFDIR:
		return c.copyDirectory(ctx, from, to, below, st)
	case unix.S_IFLNK:
		target, err := os.Readlink(from)
		if err != nil {
			return atBelow(below, err)
		}
		if err := os.Symlink(target, to); err != nil {
			return atBelow(below, atTo(err))
		}
	default:
		if err := unix.Mknod(to, kind|c.mode(st.Mode), 0); err != nil {
			return atBelow(below, atTo(err))
		}
	}
	return atBelow(below, atTo(c.setTime(to, st)))
}

// mode returns what of a mode a copy gets.
func (c *copier) mode(mode uint32) uint32 {
	if c.opts.move {
		return mode & 0o7777
	}
	return mode & permissionBits
}

// setTime gives the copy of something moved its time of modification.
func (c *copier) setTime(name string, st *unix.Stat_t) error {
	if !c.opts.move {
		return nil
	}
	times := []unix.Timespec{{Nsec: unix.UTIME_OMIT}, st.Mtim}
	return unix.UtimesNanoAt(unix.AT_FDCWD, name, times, unix.AT_SYMLINK_NOFOLLOW)
}

// copyRegular copies a regular file. Of the source itself a link may be followed.
func (c *copier) copyRegular(ctx context.Context, from, to, below string) error {
	flags := os.O_RDONLY | unix.O_NONBLOCK // a FIFO would wait for a writer
	if below != "" || c.opts.move {
		flags |= unix.O_NOFOLLOW
	}
	source, err := os.OpenFile(from, flags, 0)
	if err != nil {
		return err
	}
	defer source.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(source.Fd()), &st); err != nil {
		return err
	}
	if err := regular(&st); err != nil {
		return err
	}
	copied, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return atTo(err)
	}
	defer copied.Close()
	n, err := copyContent(ctx, copied, source, st.Size)
	c.bytes += n
	if err == nil {
		err = unix.Fchmod(int(copied.Fd()), c.mode(st.Mode))
	}
	if err = errors.Join(err, copied.Close()); err == nil {
		err = c.setTime(to, &st)
	}
	return atTo(err)
}

// copyDirectory copies a directory with what is in it. What vanishes meanwhile is
// not in the copy.
func (c *copier) copyDirectory(ctx context.Context, from, to, below string, st *unix.Stat_t) error {
	names, err := namesIn(from)
	if err != nil {
		return atBelow(below, err)
	}
	if err := os.Mkdir(to, 0o700); err != nil {
		return atBelow(below, atTo(err))
	}
	c.directories = append(c.directories, finish{to, below, *st})
	for _, name := range names {
		from, to, below := from+"/"+name, to+"/"+name, path.Join(below, name)
		var st unix.Stat_t
		switch err := unix.Lstat(from, &st); {
		case errors.Is(err, unix.ENOENT):
			continue
		case err != nil:
			return atBelow(below, err)
		}
		if err := c.copy(ctx, from, to, below, &st); err != nil {
			return err
		}
	}
	return nil
}

func namesIn(name string) ([]string, error) {
	dir, err := openDirectory(unix.AT_FDCWD, name, name, 0)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	return dir.Readdirnames(-1)
}

// finishDirectories gives the directories their modes, which may forbid to write,
// and their times, which change with what is put there.
func (c *copier) finishDirectories() error {
	for i := len(c.directories) - 1; i >= 0; i-- {
		d := &c.directories[i]
		if err := c.setTime(d.name, &d.stat); err != nil {
			return atBelow(d.below, atTo(err))
		}
		if err := unix.Chmod(d.name, c.mode(d.stat.Mode)); err != nil {
			return atBelow(d.below, atTo(err))
		}
	}
	return nil
}

// copyContent copies what is in a file to an empty one, and leaves its holes out.
func copyContent(ctx context.Context, to, from *os.File, size int64) (n int64, err error) {
	for {
		start, end, err := nextData(from, n, size)
		if errors.Is(err, unix.ENXIO) { // a hole is left, or nothing
			return start, to.Truncate(start)
		}
		if err != nil {
			return n, err
		}
		if _, err := to.Seek(start, io.SeekStart); err != nil {
			return n, err
		}
		for n = start; n < end; {
			if err := ctx.Err(); err != nil {
				return n, err
			}
			step, err := io.CopyN(to, from, min(copyStep, end-n))
			n += step
			if errors.Is(err, io.EOF) {
				return n, nil
			}
			if err != nil {
				return n, err
			}
		}
	}
}

// nextData finds the data in a file from an offset on, and leaves it to be read
// next. Where there is none it fails with ENXIO and returns where the file ends.
func nextData(file *os.File, offset, size int64) (start, end int64, err error) {
	const unknown = 1<<63 - 1
	if size == 0 { // or so it says, as the files of /proc do
		return offset, unknown, nil
	}
	start, err = file.Seek(offset, unix.SEEK_DATA)
	switch {
	case errors.Is(err, unix.ENXIO):
		if end, err = file.Seek(0, io.SeekEnd); err == nil {
			err = unix.ENXIO
		}
		return end, end, err
	case errors.Is(err, unix.EINVAL): // it has no holes
		return offset, unknown, nil
	case err != nil:
		return 0, 0, err
	}
	if end, err = file.Seek(start, unix.SEEK_HOLE); err == nil {
		_, err = file.Seek(start, io.SeekStart)
	}
	return start, end, err
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

// parent returns the directory that a name is in.
func parent(name string) string {
	dir, _ := path.Split(strings.TrimRight(name, "/"))
	return dir
}

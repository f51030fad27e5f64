package runtime

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

// tmpfs is a filesystem in memory that programs may write to. The kernel takes
// what is in it for their memory, and keeps it when they have ended: one that
// could hold all of a container's memory would leave none for the next program.
// So their sizes follow the memory limit, and one that is full is ENOSPC for the
// program that fills it.
type tmpfs struct {
	path string
	// bytes bounds the content of files, in whole pages; inodes their number.
	bytes, inodes int64
}

// inodeBytes is what a file takes of memory beside its content: an inode and an
// entry of its directory, of a name that is not long (963 bytes, measured).
const inodeBytes = 1024

// tmpfsOf returns /tmp and /dev/shm of a container with so much memory. Full of
// content they take half of it together, and full of files another twelfth.
func tmpfsOf(memoryBytes int64) (tmp, shm tmpfs) {
	of := func(path string, share int64) tmpfs {
		return tmpfs{path: path, bytes: share &^ int64(os.Getpagesize()-1), inodes: share / 6 / inodeBytes}
	}
	return of("/tmp", memoryBytes/8*3), of("/dev/shm", memoryBytes/8)
}

// options are those of a mount that bound it.
func (t tmpfs) options() []string {
	return []string{"size=" + strconv.FormatInt(t.bytes, 10), "nr_inodes=" + strconv.FormatInt(t.inodes, 10)}
}

// resizeTmpfs gives the container's filesystems in memory the sizes that belong
// to a memory limit, and reads them back. It is for a container in which nothing
// of a client has run.
func (c *Container) resizeTmpfs(memoryBytes int64) error {
	root, err := c.openRoot()
	if err != nil {
		return fmt.Errorf("resize filesystems in memory: %w", err)
	}
	defer root.Close()
	tmp, shm := tmpfsOf(memoryBytes)
	for _, t := range []tmpfs{tmp, shm} {
		if err := t.resize(root); err != nil {
			return fmt.Errorf("resize %s: %w", t.path, err)
		}
	}
	return nil
}

// openRoot opens the container's root directory, as its pid 1 has it.
func (c *Container) openRoot() (*os.File, error) {
	path := filepath.Join("/proc", strconv.Itoa(int(c.task.Pid())), "root")
	fd, err := unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	root := os.NewFile(uintptr(fd), path)
	// There is one pid 1 in its life, so the number meant that one.
	if !c.alive() {
		root.Close()
		return nil, fmt.Errorf("it has ended: %w", errdefs.ErrUnavailable)
	}
	return root, nil
}

// resize changes the filesystem below root, by descriptors alone: no thread has
// to enter the container's mount namespace.
func (t tmpfs) resize(root *os.File) error {
	dir, err := unix.Openat2(int(root.Fd()), strings.TrimPrefix(t.path, "/"), &unix.OpenHow{
		Flags: unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	})
	if err != nil {
		return os.NewSyscallError("openat2", err)
	}
	defer func() { _ = unix.Close(dir) }()
	var is unix.Statfs_t
	if err := unix.Fstatfs(dir, &is); err != nil {
		return os.NewSyscallError("fstatfs", err)
	}
	if is.Type != unix.TMPFS_MAGIC {
		return fmt.Errorf("it is no tmpfs but of type %#x: %w", is.Type, errdefs.ErrFailedPrecondition)
	}
	config, err := unix.Fspick(dir, "", unix.FSPICK_EMPTY_PATH|unix.FSPICK_CLOEXEC)
	if err != nil {
		return os.NewSyscallError("fspick", err)
	}
	defer func() { _ = unix.Close(config) }()
	for _, option := range t.options() {
		name, value, _ := strings.Cut(option, "=")
		if err := unix.FsconfigSetString(config, name, value); err != nil {
			return fmt.Errorf("set %s: %w", option, os.NewSyscallError("fsconfig", err))
		}
	}
	if err := unix.FsconfigReconfigure(config); err != nil {
		return os.NewSyscallError("fsconfig", err)
	}
	if err := unix.Fstatfs(dir, &is); err != nil {
		return os.NewSyscallError("fstatfs", err)
	}
	if bytes := int64(is.Blocks) * is.Bsize; bytes != t.bytes || int64(is.Files) != t.inodes {
		return fmt.Errorf("%d bytes and %d files are in force, asked for %d and %d: %w", bytes, is.Files, t.bytes, t.inodes, errdefs.ErrInternal)
	}
	return nil
}

package shim

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

// mountAll mounts a root filesystem, as mount.All does. The layers below an
// overlay that is to have other ids it maps to these itself, in the same way,
// with a user namespace that is made with less work.
func mountAll(mounts []mount.Mount, root string) (retErr error) {
	all := make([]mount.Mount, 0, len(mounts))
	for _, m := range mounts {
		mapped, done, err := remap(m)
		if err != nil {
			return err
		}
		// The overlay has a copy of its own of what it was mounted with.
		defer func() { retErr = errors.Join(retErr, done()) }()
		all = append(all, mapped)
	}
	return mount.All(all, root)
}

// remap returns a mount with the layers of an overlay mapped to its ids, which
// are mounted somewhere until done is called. Any other mount is returned as it
// is.
func remap(m mount.Mount) (_ mount.Mount, done func() error, _ error) {
	var uids, gids []syscall.SysProcIDMap
	var lower, options []string
	var uidErr, gidErr error
	for _, option := range m.Options {
		name, value, _ := strings.Cut(option, "=")
		switch name {
		case "uidmap":
			uids, uidErr = parseIDs(value)
		case "gidmap":
			gids, gidErr = parseIDs(value)
		case "lowerdir":
			lower = strings.Split(value, ":")
		default:
			options = append(options, option)
		}
	}
	if err := errors.Join(uidErr, gidErr); err != nil {
		return m, nil, err
	}
	if m.Type != "overlay" || uids == nil || gids == nil || lower == nil {
		return m, func() error { return nil }, nil
	}
	common, err := commonDir(lower)
	if err != nil {
		return m, nil, err
	}
	ns, err := newUserNamespace(uids, gids)
	if err != nil {
		return m, nil, err
	}
	defer ns.Close()
	dir, err := os.MkdirTemp("", "layers-")
	if err != nil {
		return m, nil, err
	}
	if err := mount.IDMapMountWithAttrs(common, dir, int(ns.Fd()), unix.MOUNT_ATTR_RDONLY, 0); err != nil {
		return m, nil, errors.Join(fmt.Errorf("map the ids of layers: %w", err), os.Remove(dir))
	}
	done = func() error {
		// A fork of this process may hold it for a moment.
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			return fmt.Errorf("unmount layers: %w", err)
		}
		return os.Remove(dir)
	}
	for i, path := range lower {
		lower[i] = filepath.Join(dir, strings.TrimPrefix(path, common))
	}
	m.Options = append(options, "lowerdir="+strings.Join(lower, ":"))
	return m, done, nil
}

// commonDir returns the deepest directory in which all of the paths are.
func commonDir(paths []string) (string, error) {
	dir := filepath.Dir(paths[0])
	for _, path := range paths {
		for !strings.HasPrefix(path, dir+"/") && dir != "/" && dir != "." {
			dir = filepath.Dir(dir)
		}
	}
	if !filepath.IsAbs(dir) || dir == "/" {
		return "", fmt.Errorf("layers %q have no directory in common: %w", paths, errdefs.ErrInvalidArgument)
	}
	return dir, nil
}

// parseIDs reads a mapping of ids in the form of a mount's option:
// container:host:size, more than one with commas between them.
func parseIDs(text string) ([]syscall.SysProcIDMap, error) {
	var ids []syscall.SysProcIDMap
	for mapping := range strings.SplitSeq(text, ",") {
		var numbers []int
		for field := range strings.SplitSeq(mapping, ":") {
			n, err := strconv.Atoi(field)
			if err != nil || n < 0 {
				return nil, fmt.Errorf("read mapping of ids %q: %w", text, errdefs.ErrInvalidArgument)
			}
			numbers = append(numbers, n)
		}
		if len(numbers) != 3 {
			return nil, fmt.Errorf("read mapping of ids %q: %w", text, errdefs.ErrInvalidArgument)
		}
		ids = append(ids, syscall.SysProcIDMap{ContainerID: numbers[0], HostID: numbers[1], Size: numbers[2]})
	}
	return ids, nil
}

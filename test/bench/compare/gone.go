package compare

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const cgroupRoot = "/sys/fs/cgroup"

// watchInterval is how often the host is looked at for what is left of one of n
// sandboxes, and so how exact the time is at which it was gone. All n together
// take little of a processor that others are measured on.
func watchInterval(n int) time.Duration {
	return max(500*time.Microsecond, time.Duration(n)*200*time.Microsecond)
}

// watch is what is looked for of a sandbox.
type watch struct {
	paths []string
	shims []int // pidfds
}

// newWatch finds what there is of a sandbox before it is deleted. The caller
// closes the watch.
func newWatch(t Traces) (*watch, error) {
	w := &watch{}
	if t.Cgroup != "" {
		groups, err := cgroupDirs(t.Cgroup)
		if err != nil {
			return nil, err
		}
		if len(groups) == 0 {
			return nil, fmt.Errorf("watch sandbox: there is no cgroup %s", t.Cgroup)
		}
		w.paths = append(w.paths, groups...)
	}
	for _, p := range t.Paths {
		if _, err := os.Lstat(p); err != nil {
			return nil, fmt.Errorf("watch sandbox: %w", err)
		}
		w.paths = append(w.paths, p)
	}
	if t.Shim == "" {
		return w, nil
	}
	pids, err := processesOf(func(arguments string) bool { return strings.Contains(arguments, "\x00"+t.Shim+"\x00") })
	if err == nil && len(pids) == 0 {
		err = fmt.Errorf("watch sandbox: no shim has the argument %s", t.Shim)
	}
	for _, pid := range pids {
		if err != nil {
			break
		}
		var fd int
		if fd, err = unix.PidfdOpen(pid, 0); err == nil {
			w.shims = append(w.shims, fd)
		}
	}
	if err != nil {
		w.close()
		return nil, err
	}
	return w, nil
}

func (w *watch) close() {
	for _, fd := range w.shims {
		_ = unix.Close(fd) // one that was only looked at
	}
}

// left names something that is still there, or returns nothing.
func (w *watch) left() (string, error) {
	for len(w.paths) > 0 {
		_, err := os.Lstat(w.paths[0])
		if err == nil {
			return w.paths[0], nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
		w.paths = w.paths[1:]
	}
	for _, fd := range w.shims {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
		if errors.Is(err, unix.EINTR) || err == nil && n == 0 {
			return "its shim", nil
		}
		if err != nil {
			return "", err
		}
	}
	return "", nil
}

// wait returns when nothing is left, looking at an interval.
func (w *watch) wait(ctx context.Context, interval time.Duration) error {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		left, err := w.left()
		if err != nil || left == "" {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("wait until the sandbox is gone: %s is left: %w", left, ctx.Err())
		}
	}
}

// cgroupDirs returns the directories that a cgroup has in all hierarchies.
func cgroupDirs(group string) ([]string, error) {
	var dirs []string
	for _, pattern := range []string{filepath.Join(cgroupRoot, group), filepath.Join(cgroupRoot, "*", group)} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			return nil, err
		}
		for _, dir := range found {
			// cpu and others may be links to the hierarchy that holds them.
			if info, err := os.Lstat(strings.TrimSuffix(dir, group)); err == nil && info.Mode()&fs.ModeSymlink == 0 {
				dirs = append(dirs, dir)
			}
		}
	}
	return dirs, nil
}

// processesOf returns the processes whose arguments match: each ends with a
// zero, and one stands before the first.
func processesOf(match func(arguments string) bool) ([]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		text, err := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		if err == nil && match("\x00"+string(text)) {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

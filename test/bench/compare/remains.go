package compare

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// settleTimeout is how long what ended may take to be gone.
const settleTimeout = 15 * time.Second

// sweep removes what a run has made for itself, its directories and cgroups, and
// fails where anything is left of what the run started: those who started it
// should have ended it.
func sweep(ctx context.Context, cgroup string, dirs ...string) error {
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		left, err := remains(cgroup, dirs...)
		if err != nil {
			return fmt.Errorf("look for what the bench left: %w", err)
		}
		if len(left) == 0 {
			errs := []error{removeCgroups(cgroup)}
			for _, dir := range dirs {
				errs = append(errs, os.RemoveAll(dir))
			}
			return errors.Join(errs...)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			// The directories stay: they may hold mounts.
			return fmt.Errorf("the bench left behind:\n%s", strings.Join(left, "\n"))
		}
	}
}

// remains lists the processes, mounts and cgroups of a run, but for the cgroups
// that hold no process.
func remains(cgroup string, dirs ...string) ([]string, error) {
	var left []string
	named := func(text string) bool {
		return slices.ContainsFunc(dirs, func(dir string) bool { return strings.Contains(text, dir+"/") })
	}
	pids, err := processesOf(named)
	if err != nil {
		return nil, err
	}
	for _, pid := range pids {
		left = append(left, fmt.Sprintf("process %d", pid))
	}
	pids, err = processesIn(cgroup)
	if err != nil {
		return nil, err
	}
	for _, pid := range pids {
		left = append(left, fmt.Sprintf("process %d, in cgroup %s", pid, cgroup))
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(mounts)) {
		if named(line) {
			left = append(left, "mount "+strings.TrimSpace(line))
		}
	}
	return left, nil
}

// removeCgroups removes a cgroup in all hierarchies, with all below.
func removeCgroups(group string) error {
	dirs, err := cgroupDirs(group)
	if err != nil {
		return err
	}
	for _, dir := range dirs {
		var all []string
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				all = append(all, path)
			}
			return ignoreGone(err)
		})
		if err != nil {
			return err
		}
		for _, path := range slices.Backward(all) {
			if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("remove cgroup: %w", err)
			}
		}
	}
	return nil
}

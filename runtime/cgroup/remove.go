package cgroup

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

// Kill sends SIGKILL to every process in the group and below it. It does not
// wait for their end.
func (g Group) Kill() error {
	if dir := g.unified(); dir != "" {
		err := write(dir, "cgroup.kill", "1")
		if !errors.Is(err, fs.ErrNotExist) {
			if err != nil {
				return fmt.Errorf("kill cgroup %s: %w", g.path, err)
			}
			return nil
		}
		if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
			return nil // the group is gone, and so is everything in it
		}
	}
	// Before Linux 5.14, and where there is no version 2 tree: one by one. A
	// group that forks faster than this is stopped by its pids limit.
	for range 100 {
		pids, err := g.pids()
		if err != nil {
			return fmt.Errorf("kill cgroup %s: %w", g.path, err)
		}
		if len(pids) == 0 {
			return nil
		}
		for _, pid := range pids {
			if err := unix.Kill(pid, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
				return fmt.Errorf("kill cgroup %s: process %d: %w", g.path, pid, err)
			}
		}
	}
	return nil
}

// pids lists the processes of the group and below it.
func (g Group) pids() ([]int, error) {
	var pids []int
	err := filepath.WalkDir(g.memory(), func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || !d.IsDir() {
			return err
		}
		text, err := os.ReadFile(filepath.Join(path, "cgroup.procs"))
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENODEV) {
			return nil
		}
		for f := range strings.FieldsSeq(string(text)) {
			if pid, err := strconv.Atoi(f); err == nil {
				pids = append(pids, pid)
			}
		}
		return err
	})
	return pids, err
}

// Remove removes the group and everything below it, in every hierarchy. It
// waits for killed processes to leave, until ctx ends. A group that is gone is
// no error; one that holds processes nobody killed is.
func (g Group) Remove(ctx context.Context) error {
	dirs, err := g.all()
	if err != nil {
		return fmt.Errorf("remove cgroup %s: %w", g.path, err)
	}
	retry := time.NewTicker(2 * time.Millisecond)
	defer retry.Stop()
	for _, dir := range dirs {
		for {
			err := removeTree(dir)
			if err == nil {
				break
			}
			if !errors.Is(err, unix.EBUSY) {
				return fmt.Errorf("remove cgroup: %w", err)
			}
			select {
			case <-ctx.Done():
				return fmt.Errorf("remove cgroup: %w: %w", err, ctx.Err())
			case <-retry.C:
			}
		}
	}
	return nil
}

// RemoveIfEmpty removes the group where no process is left in it and says
// whether it is gone.
func (g Group) RemoveIfEmpty() (bool, error) {
	for _, dir := range g.working() {
		err := removeTree(dir)
		if errors.Is(err, unix.EBUSY) {
			return false, nil
		}
		if err != nil {
			return false, fmt.Errorf("remove cgroup: %w", err)
		}
	}
	return true, nil
}

// Prune removes the group's directories where nothing is in or below them. It
// is for a group that others may be about to use again.
func (g Group) Prune() error {
	dirs, err := g.all()
	if err != nil {
		return fmt.Errorf("prune cgroup %s: %w", g.path, err)
	}
	for _, dir := range dirs {
		err := unix.Rmdir(dir)
		if err != nil && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.EBUSY) && !errors.Is(err, unix.ENOTEMPTY) {
			return fmt.Errorf("prune cgroup: %w", &fs.PathError{Op: "rmdir", Path: dir, Err: err})
		}
	}
	return nil
}

// removeTree removes a directory of a hierarchy, children first. Its files are
// the kernel's and go with it.
func removeTree(dir string) error {
	// Most have no children, and to look for some takes longer than the rest.
	err := unix.Rmdir(dir)
	if err == nil || errors.Is(err, unix.ENOENT) {
		return nil
	}
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() {
			if err := removeTree(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	if err := unix.Rmdir(dir); err != nil && !errors.Is(err, unix.ENOENT) {
		return &fs.PathError{Op: "rmdir", Path: dir, Err: err}
	}
	return nil
}

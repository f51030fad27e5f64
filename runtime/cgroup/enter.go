package cgroup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/containerd/cgroups/v3"
)

// Sub returns the group of that name below g, which may not exist.
func (g Group) Sub(name string) Group {
	return Group{host: g.host, path: filepath.Join(g.path, name)}
}

// Delegate lets a user of the host make processes in g from inside of it
// (CLONE_INTO_CGROUP), which takes the same right on the group that both have in
// common. It is the right to sort processes, not to change what bounds them.
func (g Group) Delegate(uid int) error {
	dir := g.unified()
	if dir == "" {
		return nil
	}
	if err := os.Chown(filepath.Join(dir, "cgroup.procs"), uid, -1); err != nil {
		return fmt.Errorf("delegate cgroup: %w", err)
	}
	return nil
}

// Entry is how a process that another one forks gets into a group without being
// moved by a third. Moving a process makes the kernel wait until no thread of
// the host is in a fork or an exit, 7 to 19 ms.
type Entry struct {
	// Dir is the group's directory in the version 2 tree, for CLONE_INTO_CGROUP;
	// nil where there is none.
	Dir *os.File
	// Tasks are files of the version 1 hierarchies, to which the process writes
	// "0". They were opened by somebody who may write them, which is what the
	// kernel looks at.
	Tasks []*os.File
}

// Enter opens g for processes that a user of the host makes. The group above
// needs to have been delegated to the user.
func (g Group) Enter(uid int) (_ *Entry, retErr error) {
	e := &Entry{}
	defer func() {
		if retErr != nil {
			retErr = errors.Join(retErr, e.Close())
			retErr = fmt.Errorf("open cgroup %s: %w", g.path, retErr)
		}
	}()
	var err error
	if dir := g.unified(); dir != "" {
		if e.Dir, err = os.Open(dir); err != nil {
			return nil, err
		}
		if err := g.Delegate(uid); err != nil {
			return nil, err
		}
	}
	if g.host.mode != cgroups.Unified {
		tasks, err := os.OpenFile(filepath.Join(g.memory(), "tasks"), os.O_WRONLY, 0)
		if err != nil {
			return nil, err
		}
		e.Tasks = append(e.Tasks, tasks)
	}
	return e, nil
}

// Close closes the files.
func (e *Entry) Close() error {
	var errs []error
	if e.Dir != nil {
		errs = append(errs, e.Dir.Close())
	}
	for _, f := range e.Tasks {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}

// Encloses says whether a process is in the group or below it, in the hierarchy
// that accounts its memory and in the one through which it is killed. proc is
// the process's directory in /proc, by a name that cannot come to mean that of
// another.
func (g Group) Encloses(proc string) (bool, error) {
	text, err := os.ReadFile(filepath.Join(proc, "cgroup"))
	if err != nil {
		return false, fmt.Errorf("find cgroup of process: %w", err)
	}
	return within(string(text), g.host.mode == cgroups.Unified, g.path) &&
		(g.unified() == "" || within(string(text), true, g.path)), nil
}

// Pids lists the processes of the group and below it.
func (g Group) Pids() ([]int, error) {
	pids, err := g.pids()
	if err != nil {
		return nil, fmt.Errorf("list processes of cgroup %s: %w", g.path, err)
	}
	return pids, nil
}

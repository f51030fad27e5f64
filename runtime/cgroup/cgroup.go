// Package cgroup keeps the cgroups of sessions and of their executions, the
// same way on every host.
//
// A host has one of three layouts. In the unified one, cgroup v2 does
// everything. In the hybrid one, version 1 hierarchies hold the controllers and
// a version 2 tree without controllers stands beside them. In the legacy one
// there is no version 2 tree at all. A Group is one path in all hierarchies
// that matter; what differs between layouts stays in this package.
//
// A session's group is made by the OCI runtime, with the limits. Divide then
// makes it ready for children, one for pid 1 and one for each execution, so
// that an execution can be accounted, found and killed as a whole. On cgroup v2
// a group that has children with controllers cannot hold processes itself,
// which is why pid 1 gets a child of its own.
//
// Remove belongs to whoever made the group; a session's is removed by the OCI
// runtime and swept after it, as a killed runtime leaves some of it.
package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"github.com/containerd/cgroups/v3"
	"github.com/containerd/errdefs"
)

// Root is where the system mounts its hierarchies.
const Root = "/sys/fs/cgroup"

// Host is a host's layout of hierarchies.
type Host struct {
	root string
	mode cgroups.CGMode
}

// Detect finds the layout of this host. It is an errdefs.ErrFailedPrecondition
// where no hierarchy is mounted.
func Detect() (Host, error) {
	mode := cgroups.Mode()
	if mode == cgroups.Unavailable {
		return Host{}, fmt.Errorf("find cgroups: nothing is mounted on %s: %w", Root, errdefs.ErrFailedPrecondition)
	}
	return Host{root: Root, mode: mode}, nil
}

// Mode names the layout: "v2", "hybrid" or "v1".
func (h Host) Mode() string {
	switch h.mode {
	case cgroups.Unified:
		return "v2"
	case cgroups.Hybrid:
		return "hybrid"
	default:
		return "v1"
	}
}

// SwapLimit says whether the host can bound swap.
func (h Host) SwapLimit() bool {
	if h.mode == cgroups.Unified {
		// The root has no memory.swap.max; the file of a child tells, and
		// every kernel with cgroup v2 and swap has it.
		return true
	}
	_, err := os.Stat(filepath.Join(h.root, "memory", "memory.memsw.limit_in_bytes"))
	return err == nil
}

// MissingControllers returns those of memory, pids and cpu that cannot be
// enforced on groups below parent, which need not exist yet. On cgroup v2 that
// is for the groups above it to give.
func (h Host) MissingControllers(parent string) []string {
	var missing []string
	if h.mode == cgroups.Unified {
		text, err := os.ReadFile(filepath.Join(h.root, parent, "cgroup.controllers"))
		for dir := parent; errors.Is(err, fs.ErrNotExist) && filepath.Dir(dir) != dir; {
			dir = filepath.Dir(dir)
			text, err = os.ReadFile(filepath.Join(h.root, dir, "cgroup.controllers"))
		}
		have := fields(string(text))
		for _, c := range controllers() {
			if !have[c] {
				missing = append(missing, c)
			}
		}
		return missing
	}
	for _, c := range controllers() {
		if _, err := os.Stat(filepath.Join(h.root, c, "cgroup.procs")); err != nil {
			missing = append(missing, c)
		}
	}
	return missing
}

func controllers() []string { return []string{"cpu", "memory", "pids"} }

// Group returns the group at path, such as "/codebeaker/abc". It may not exist.
func (h Host) Group(path string) Group {
	return Group{host: h, path: filepath.Clean("/" + path)}
}

// Group is one path in the hierarchies of a host.
type Group struct {
	host Host
	path string
}

// Path returns the path below each hierarchy.
func (g Group) Path() string { return g.path }

// unified returns the group's directory in the version 2 tree, empty where
// there is none.
func (g Group) unified() string {
	switch g.host.mode {
	case cgroups.Unified:
		return filepath.Join(g.host.root, g.path)
	case cgroups.Hybrid:
		return filepath.Join(g.host.root, "unified", g.path)
	default:
		return ""
	}
}

// memory returns the directory that accounts the group's memory.
func (g Group) memory() string {
	if g.host.mode == cgroups.Unified {
		return g.unified()
	}
	return filepath.Join(g.host.root, "memory", g.path)
}

// working returns the directories that a child of a session has: the one that
// accounts its memory, and the one through which it is killed.
func (g Group) working() []string {
	switch g.host.mode {
	case cgroups.Unified:
		return []string{g.unified()}
	case cgroups.Hybrid:
		return []string{g.memory(), g.unified()}
	default:
		return []string{g.memory()}
	}
}

// all returns the group's directories in every hierarchy of the host.
func (g Group) all() ([]string, error) {
	if g.host.mode == cgroups.Unified {
		return []string{g.unified()}, nil
	}
	entries, err := os.ReadDir(g.host.root)
	if err != nil {
		return nil, err
	}
	var dirs []string
	for _, e := range entries {
		if e.IsDir() { // symlinks such as cpu -> cpu,cpuacct name the same hierarchy
			dirs = append(dirs, filepath.Join(g.host.root, e.Name(), g.path))
		}
	}
	return dirs, nil
}

// Exists says whether any directory of the group is left.
func (g Group) Exists() (bool, error) {
	dirs, err := g.all()
	if err != nil {
		return false, err
	}
	for _, d := range dirs {
		if _, err := os.Stat(d); err == nil {
			return true, nil
		} else if !errors.Is(err, fs.ErrNotExist) {
			return false, err
		}
	}
	return false, nil
}

// Child makes a group below g.
func (g Group) Child(name string) (Group, error) {
	child := Group{host: g.host, path: filepath.Join(g.path, name)}
	for _, d := range child.working() {
		if err := os.Mkdir(d, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return Group{}, fmt.Errorf("make cgroup: %w", err)
		}
	}
	return child, nil
}

// Add moves a process into the group. Its children so far stay where they are.
func (g Group) Add(pid int) error {
	for _, d := range g.working() {
		if err := write(d, "cgroup.procs", strconv.Itoa(pid)); err != nil {
			return fmt.Errorf("move process %d into cgroup: %w", pid, err)
		}
	}
	return nil
}

// Holds says whether the process is in the group or below it, as the kernel
// tells. A number that came from elsewhere may mean another process by now, or
// in another pid namespace.
func (g Group) Holds(pid int) (bool, error) {
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cgroup"))
	if err != nil {
		return false, fmt.Errorf("find cgroup of process %d: %w", pid, err)
	}
	return within(string(text), g.host.mode == cgroups.Unified, g.path), nil
}

// Divide makes a session's group ready for children, with pid, its pid 1, in
// the first of them.
func (g Group) Divide(pid int) error {
	if g.host.mode != cgroups.Unified {
		return nil
	}
	init, err := g.Child("init")
	if err != nil {
		return err
	}
	if err := init.Add(pid); err != nil {
		return err
	}
	if err := write(g.unified(), "cgroup.subtree_control", "+memory +pids"); err != nil {
		return fmt.Errorf("give controllers to the children of cgroup %s: %w", g.path, err)
	}
	return nil
}

func write(dir, file, text string) error {
	f, err := os.OpenFile(filepath.Join(dir, file), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteString(text)
	return err
}

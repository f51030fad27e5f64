package cgroup

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/containerd/cgroups/v3"
)

const (
	// processShares and processWeight are what the kernel gives a process, or a
	// group that nobody gave more, on cgroup v1 and v2.
	processShares = 1024
	processWeight = 100
	// mostWeight is the highest weight of cgroup v2.
	mostWeight = 10_000
)

// MakeWeighing makes the group, with as large a share of the processors as n
// processes outside of it, of which one has 1 alone. A group that exists keeps
// the share that whoever made it chose.
func (g Group) MakeWeighing(n int) error {
	dir, file, share := filepath.Join(g.host.root, "cpu", g.path), "cpu.shares", n*processShares
	if g.host.mode == cgroups.Unified {
		dir, file, share = g.unified(), "cpu.weight", min(n*processWeight, mostWeight)
	}
	fail := func(err error) error {
		return fmt.Errorf("make cgroup %s with a share of the processors: %w", g.path, err)
	}
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return fail(err)
	}
	if g.host.mode == cgroups.Unified {
		// The group above has to give the controller, as runc would see to later.
		if err := write(filepath.Dir(dir), "cgroup.subtree_control", "+cpu"); err != nil {
			return fail(err)
		}
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return fail(err)
	}
	if err := write(dir, file, strconv.Itoa(share)); err != nil {
		return fail(err)
	}
	return nil
}

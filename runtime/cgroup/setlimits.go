package cgroup

import (
	"fmt"
	"math"
	"path/filepath"
	"strconv"

	"github.com/containerd/cgroups/v3"
)

// cpuPeriod is over how many microseconds a quota is counted, as runc has it.
const cpuPeriod = 100_000

// ShowMemory gives a child of a session's group the memory limit of the session,
// which holds without: it is for programs that look at the limit of the group that
// they are in, such as Node.js and .NET, and at no other.
func (g Group) ShowMemory(bytes int64) error {
	file := "memory.max"
	if g.host.mode != cgroups.Unified {
		file = "memory.limit_in_bytes"
	}
	if err := write(g.memory(), file, strconv.FormatInt(bytes, 10)); err != nil {
		return fmt.Errorf("show the memory limit in cgroup %s: %w", g.path, err)
	}
	return nil
}

// SetLimits changes the limits of a group from those in force to others, with
// no swap beside the memory. Where it fails some may have changed. Memory that
// is in use cannot be taken away.
func (g Group) SetLimits(from, to Limits) error {
	var writes [][2]string // file and text, in their order
	add := func(file string, n int64) { writes = append(writes, [2]string{file, strconv.FormatInt(n, 10)}) }
	v2 := g.host.mode == cgroups.Unified
	dir := func(hierarchy, file string) string { return filepath.Join(g.host.root, hierarchy, g.path, file) }
	if to.MemoryBytes != from.MemoryBytes {
		switch {
		case v2: // bounds memory alone; that of swap stays 0
			add(dir("", "memory.max"), to.MemoryBytes)
		case !g.host.SwapLimit():
			add(dir("memory", "memory.limit_in_bytes"), to.MemoryBytes)
		case to.MemoryBytes > from.MemoryBytes:
			// Of both together, which must not be less than of memory alone.
			add(dir("memory", "memory.memsw.limit_in_bytes"), to.MemoryBytes)
			add(dir("memory", "memory.limit_in_bytes"), to.MemoryBytes)
		default:
			add(dir("memory", "memory.limit_in_bytes"), to.MemoryBytes)
			add(dir("memory", "memory.memsw.limit_in_bytes"), to.MemoryBytes)
		}
	}
	if to.Pids != from.Pids {
		hierarchy := "pids"
		if v2 {
			hierarchy = ""
		}
		add(dir(hierarchy, "pids.max"), to.Pids)
	}
	if to.CPUs != from.CPUs {
		quota := int64(math.Round(to.CPUs * cpuPeriod))
		if v2 {
			writes = append(writes, [2]string{dir("", "cpu.max"), fmt.Sprintf("%d %d", quota, cpuPeriod)})
		} else {
			add(dir("cpu", "cpu.cfs_quota_us"), quota)
		}
	}
	for _, w := range writes {
		if err := write(filepath.Dir(w[0]), filepath.Base(w[0]), w[1]); err != nil {
			return fmt.Errorf("set limits of cgroup %s: %w", g.path, err)
		}
	}
	return nil
}

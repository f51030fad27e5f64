package cgroup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/containerd/cgroups/v3"
)

// Limits are what the kernel enforces on a group. An absent limit is
// math.MaxInt64, and +Inf for CPUs.
type Limits struct {
	MemoryBytes int64
	// SwapBytes is swap beside memory; -1 where the host does not account swap.
	SwapBytes int64
	Pids      int64
	CPUs      float64
}

// Limits reads the limits back from the kernel.
func (g Group) Limits() (Limits, error) {
	var l Limits
	var err error
	if g.host.mode == cgroups.Unified {
		l, err = g.limitsV2()
	} else {
		l, err = g.limitsV1()
	}
	if err != nil {
		return Limits{}, fmt.Errorf("read limits of cgroup %s: %w", g.path, err)
	}
	return l, nil
}

// The limits are read one by one. The library for cgroups reads them with all
// accounts, for which the kernel sums up what every processor has counted: 0.5 ms,
// in every create and claim.
func (g Group) limitsV2() (l Limits, err error) {
	dir := g.unified()
	if l.MemoryBytes, err = bound(dir, "memory.max"); err != nil {
		return Limits{}, err
	}
	if l.SwapBytes, err = bound(dir, "memory.swap.max"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Limits{}, err // it is not there where there is no swap
	}
	if l.Pids, err = bound(dir, "pids.max"); err != nil {
		return Limits{}, err
	}
	text, err := os.ReadFile(filepath.Join(dir, "cpu.max"))
	if err != nil {
		return Limits{}, err
	}
	quota, period, _ := strings.Cut(strings.TrimSpace(string(text)), " ")
	l.CPUs, err = cores(quota, period)
	return l, err
}

func (g Group) limitsV1() (l Limits, err error) {
	memory := filepath.Join(g.host.root, "memory", g.path)
	if l.MemoryBytes, err = bound(memory, "memory.limit_in_bytes"); err != nil {
		return Limits{}, err
	}
	l.SwapBytes = -1
	if g.host.SwapLimit() {
		both, err := bound(memory, "memory.memsw.limit_in_bytes")
		if err != nil {
			return Limits{}, err
		}
		l.SwapBytes = both - l.MemoryBytes
	}
	if l.Pids, err = bound(filepath.Join(g.host.root, "pids", g.path), "pids.max"); err != nil {
		return Limits{}, err
	}
	dir := filepath.Join(g.host.root, "cpu", g.path)
	quota, err := os.ReadFile(filepath.Join(dir, "cpu.cfs_quota_us"))
	if err != nil {
		return Limits{}, err
	}
	period, err := os.ReadFile(filepath.Join(dir, "cpu.cfs_period_us"))
	if err != nil {
		return Limits{}, err
	}
	l.CPUs, err = cores(strings.TrimSpace(string(quota)), strings.TrimSpace(string(period)))
	return l, err
}

// cores turns a quota and a period into processor cores.
func cores(quota, period string) (float64, error) {
	if quota == "max" || quota == "-1" {
		return math.Inf(1), nil
	}
	q, err := strconv.ParseFloat(quota, 64)
	if err != nil {
		return 0, err
	}
	p, err := strconv.ParseFloat(period, 64)
	if err != nil {
		return 0, err
	}
	return q / p, nil
}

// bound reads a limit, math.MaxInt64 where there is none.
func bound(dir, file string) (int64, error) {
	text, err := os.ReadFile(filepath.Join(dir, file))
	if err != nil {
		return 0, err
	}
	value := strings.TrimSpace(string(text))
	if value == "max" {
		return math.MaxInt64, nil
	}
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", file, err)
	}
	return n, nil
}

// Usage is what a group has used so far.
type Usage struct {
	CPU time.Duration
	// PeakMemoryBytes is the most memory charged to the group at one time;
	// zero where the kernel keeps no such account.
	PeakMemoryBytes uint64
	// OOMKills is how many of its processes the kernel killed for want of
	// memory.
	OOMKills uint64
}

// Usage reads the group's accounts.
func (g Group) Usage() (Usage, error) {
	u, err := g.usage()
	if err != nil {
		return Usage{}, fmt.Errorf("read usage of cgroup %s: %w", g.path, err)
	}
	return u, nil
}

func (g Group) usage() (u Usage, err error) {
	if dir := g.unified(); dir != "" {
		var stat map[string]uint64
		if stat, err = keyed(filepath.Join(dir, "cpu.stat")); err != nil {
			return u, err
		}
		u.CPU = time.Duration(stat["usage_usec"]) * time.Microsecond
	}
	peak, events := "memory.peak", "memory.events"
	if g.host.mode != cgroups.Unified {
		peak, events = "memory.max_usage_in_bytes", "memory.oom_control"
	}
	counts, err := keyed(filepath.Join(g.memory(), events))
	if err != nil {
		return u, err
	}
	u.OOMKills = counts["oom_kill"]
	text, err := os.ReadFile(filepath.Join(g.memory(), peak))
	if errors.Is(err, fs.ErrNotExist) {
		return u, nil // before Linux 5.19
	}
	if err != nil {
		return u, err
	}
	u.PeakMemoryBytes, err = strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
	return u, err
}

// Populated says whether a process is in the group or below it. A group that is
// gone has none.
func (g Group) Populated() (bool, error) {
	if dir := g.unified(); dir != "" {
		events, err := keyed(filepath.Join(dir, "cgroup.events"))
		if errors.Is(err, fs.ErrNotExist) {
			return false, nil
		}
		if err != nil {
			return false, fmt.Errorf("look for processes of cgroup %s: %w", g.path, err)
		}
		return events["populated"] == 1, nil
	}
	pids, err := g.pids()
	return len(pids) > 0, err
}

// AwaitEmpty returns when no process is left in the group or below it, or with the
// error of ctx.
func (g Group) AwaitEmpty(ctx context.Context) error {
	retry := time.NewTicker(2 * time.Millisecond)
	defer retry.Stop()
	for {
		left, err := g.Populated()
		if err != nil || !left {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for the processes of cgroup %s to end: %w", g.path, ctx.Err())
		case <-retry.C:
		}
	}
}

// keyed reads a file of lines of a key and a number.
func keyed(path string) (map[string]uint64, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	values := map[string]uint64{}
	for line := range strings.Lines(string(text)) {
		key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		n, err := strconv.ParseUint(value, 10, 64)
		if err != nil {
			continue // lines of another form are not asked for
		}
		values[key] = n
	}
	return values, nil
}

// within says whether a /proc/PID/cgroup text places the process at path or
// below: in the version 2 tree where that is all there is, and in the memory
// hierarchy otherwise.
func within(text string, unified bool, path string) bool {
	for line := range strings.Lines(text) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 {
			continue
		}
		if unified {
			if parts[0] != "0" {
				continue
			}
		} else if !fields(strings.ReplaceAll(parts[1], ",", " "))["memory"] {
			continue
		}
		return parts[2] == path || strings.HasPrefix(parts[2], path+"/")
	}
	return false
}

func fields(s string) map[string]bool {
	set := map[string]bool{}
	for f := range strings.FieldsSeq(s) {
		set[f] = true
	}
	return set
}

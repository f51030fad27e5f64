package cgroup

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/containerd/cgroups/v3"
)

// tree makes a directory that looks like a hierarchy, from file to content.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, content := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestLimitsAreReadBack(t *testing.T) {
	for _, tc := range []struct {
		name  string
		mode  cgroups.CGMode
		files map[string]string
		want  Limits
	}{
		{"v2", cgroups.Unified, map[string]string{
			"s/memory.max": "67108864\n", "s/memory.swap.max": "0\n",
			"s/pids.max": "32\n", "s/cpu.max": "150000 100000\n",
		}, Limits{64 << 20, 0, 32, 1.5}},
		{"v2 without limits", cgroups.Unified, map[string]string{
			"s/memory.max": "max\n", "s/memory.swap.max": "max\n",
			"s/pids.max": "max\n", "s/cpu.max": "max 100000\n",
		}, Limits{math.MaxInt64, math.MaxInt64, math.MaxInt64, math.Inf(1)}},
		{"v1", cgroups.Hybrid, map[string]string{
			"memory/s/memory.limit_in_bytes": "67108864\n",
			"pids/s/pids.max":                "32\n",
			"cpu/s/cpu.cfs_quota_us":         "150000\n", "cpu/s/cpu.cfs_period_us": "100000\n",
		}, Limits{64 << 20, -1, 32, 1.5}},
		{"v1 without limits", cgroups.Hybrid, map[string]string{
			"memory/s/memory.limit_in_bytes": "9223372036854771712\n",
			"pids/s/pids.max":                "max\n",
			"cpu/s/cpu.cfs_quota_us":         "-1\n", "cpu/s/cpu.cfs_period_us": "100000\n",
		}, Limits{9223372036854771712, -1, math.MaxInt64, math.Inf(1)}},
		{"v1 with swap", cgroups.Hybrid, map[string]string{
			"memory/memory.memsw.limit_in_bytes": "9223372036854771712\n",
			"memory/s/memory.limit_in_bytes":     "67108864\n", "memory/s/memory.memsw.limit_in_bytes": "67112960\n",
			"pids/s/pids.max": "32\n", "cpu/s/cpu.cfs_quota_us": "150000\n", "cpu/s/cpu.cfs_period_us": "100000\n",
		}, Limits{64 << 20, 4096, 32, 1.5}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := Host{root: tree(t, tc.files), mode: tc.mode}.Group("/s").Limits()
			if err != nil || got != tc.want {
				t.Errorf("Limits() = %+v, %v; want %+v", got, err, tc.want)
			}
		})
	}
}

func TestLimitsThatCannotBeReadAreAnError(t *testing.T) {
	files := map[string]string{
		"memory/s/memory.limit_in_bytes": "67108864\n", "pids/s/pids.max": "32\n",
		"cpu/s/cpu.cfs_quota_us": "150000\n", "cpu/s/cpu.cfs_period_us": "100000\n",
	}
	for name := range files {
		root := tree(t, files)
		if err := os.Remove(filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
		if got, err := (Host{root: root, mode: cgroups.Hybrid}).Group("/s").Limits(); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("without %s: %+v, %v", name, got, err)
		}
	}
}

func TestUsageOfAnExecution(t *testing.T) {
	want := Usage{CPU: 1500 * time.Microsecond, PeakMemoryBytes: 4096, OOMKills: 2}
	for _, tc := range []struct {
		name  string
		mode  cgroups.CGMode
		files map[string]string
	}{
		{"v2", cgroups.Unified, map[string]string{
			"s/e/cpu.stat": "usage_usec 1500\nuser_usec 1\n", "s/e/memory.peak": "4096\n",
			"s/e/memory.events": "low 0\noom 3\noom_kill 2\n",
		}},
		{"hybrid", cgroups.Hybrid, map[string]string{
			"unified/s/e/cpu.stat": "usage_usec 1500\n", "memory/s/e/memory.max_usage_in_bytes": "4096\n",
			"memory/s/e/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := Host{root: tree(t, tc.files), mode: tc.mode}.Group("/s/e").Usage()
			if err != nil || got != want {
				t.Errorf("Usage() = %+v, %v; want %+v", got, err, want)
			}
		})
	}
}

func TestHoldsReadsTheHierarchyThatCounts(t *testing.T) {
	const hybrid = "9:name=systemd:/other\n8:pids:/x\n4:memory:/parent/s/e1\n0::/parent/s\n"
	for _, tc := range []struct {
		text    string
		unified bool
		path    string
		want    bool
	}{
		{hybrid, false, "/parent/s", true},
		{hybrid, false, "/parent/s/e1", true},
		{hybrid, false, "/parent", true},
		{hybrid, false, "/par", false},
		{hybrid, false, "/parent/s/e1/x", false},
		{"0::/parent/s/e1\n", true, "/parent/s", true},
		{"0::/parent/s2\n", true, "/parent/s", false},
		{"3:cpu,memory:/a\n", false, "/a", true},
		{"", true, "/", false},
	} {
		if got := within(tc.text, tc.unified, tc.path); got != tc.want {
			t.Errorf("within(%q, %v, %q) = %v", tc.text, tc.unified, tc.path, got)
		}
	}
}

func TestDivideGivesChildrenControllers(t *testing.T) {
	root := tree(t, map[string]string{"s/cgroup.subtree_control": "", "s/init/cgroup.procs": ""})
	if err := (Host{root: root, mode: cgroups.Unified}).Group("/s").Divide(42); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{"s/init/cgroup.procs": "42", "s/cgroup.subtree_control": "+memory +pids"} {
		if got, err := os.ReadFile(filepath.Join(root, file)); err != nil || string(got) != want {
			t.Errorf("%s holds %q, %v; want %q", file, got, err, want)
		}
	}
}

func TestKillOfAGroupThatIsGoneIsNoError(t *testing.T) {
	for _, mode := range []cgroups.CGMode{cgroups.Unified, cgroups.Hybrid, cgroups.Legacy} {
		g := Host{root: t.TempDir(), mode: mode}.Group("/s")
		if err := g.Kill(); err != nil {
			t.Errorf("%v: %v", mode, err)
		}
		if err := g.Remove(t.Context()); err != nil {
			t.Errorf("%v: %v", mode, err)
		}
		if exists, err := g.Exists(); exists || err != nil {
			t.Errorf("%v: exists %v, %v", mode, exists, err)
		}
	}
}

func TestRemoveTakesChildrenFirst(t *testing.T) {
	root := t.TempDir()
	for _, dir := range []string{"memory/p/s/e1", "memory/p/s/e2", "unified/p/s/e1", "pids/p/s", "memory/p/other"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	h := Host{root: root, mode: cgroups.Hybrid}
	if err := h.Group("/p/s").Remove(t.Context()); err != nil {
		t.Fatal(err)
	}
	if exists, err := h.Group("/p/s").Exists(); exists || err != nil {
		t.Errorf("exists %v, %v", exists, err)
	}
	if _, err := os.Stat(filepath.Join(root, "memory/p/other")); err != nil {
		t.Errorf("a neighbour is gone: %v", err)
	}
	if err := h.Group("/p").Prune(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(root, "pids/p")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("an empty parent was not pruned: %v", err)
	}
	if _, err := os.Stat(filepath.Join(root, "memory/p")); err != nil {
		t.Errorf("a parent in use was pruned: %v", err)
	}
}

func TestMissingControllersAreNamed(t *testing.T) {
	v2 := Host{root: tree(t, map[string]string{
		"cgroup.controllers": "cpuset cpu io memory pids\n", "unit/cgroup.controllers": "cpu pids\n",
	}), mode: cgroups.Unified}
	for parent, want := range map[string][]string{"/": nil, "/new/deep": nil, "/unit": {"memory"}, "/unit/new/deep": {"memory"}} {
		if got := v2.MissingControllers(parent); !slices.Equal(got, want) {
			t.Errorf("v2 below %s: %q; want %q", parent, got, want)
		}
	}
	v1 := Host{root: tree(t, map[string]string{"memory/cgroup.procs": "", "cpu/cgroup.procs": ""}), mode: cgroups.Hybrid}
	if got := v1.MissingControllers("/x"); len(got) != 1 || got[0] != "pids" {
		t.Errorf("hybrid: %q; want pids", got)
	}
}

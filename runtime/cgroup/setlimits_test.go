package cgroup

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/cgroups/v3"
)

func TestLimitsAreChangedWhereTheyDiffer(t *testing.T) {
	from := Limits{MemoryBytes: 64 << 20, Pids: 32, CPUs: 1}
	for _, tc := range []struct {
		name string
		mode cgroups.CGMode
		to   Limits
		want map[string]string // the others stay
	}{
		{"v2", cgroups.Unified, Limits{MemoryBytes: 128 << 20, Pids: 64, CPUs: 1.5}, map[string]string{
			"s/memory.max": "134217728", "s/pids.max": "64", "s/cpu.max": "150000 100000",
		}},
		{"v2, nothing", cgroups.Unified, from, nil},
		{"hybrid", cgroups.Hybrid, Limits{MemoryBytes: 32 << 20, Pids: 16, CPUs: 0.5}, map[string]string{
			"memory/s/memory.limit_in_bytes": "33554432", "memory/s/memory.memsw.limit_in_bytes": "33554432",
			"pids/s/pids.max": "16", "cpu/s/cpu.cfs_quota_us": "50000",
		}},
		{"hybrid, pids alone", cgroups.Hybrid, Limits{MemoryBytes: 64 << 20, Pids: 33, CPUs: 1}, map[string]string{
			"pids/s/pids.max": "33",
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			files := map[string]string{
				"s/memory.max": "old", "s/pids.max": "old", "s/cpu.max": "old", "s/memory.swap.max": "old",
				"memory/memory.memsw.limit_in_bytes": "old",
				"memory/s/memory.limit_in_bytes":     "old", "memory/s/memory.memsw.limit_in_bytes": "old",
				"pids/s/pids.max": "old", "cpu/s/cpu.cfs_quota_us": "old", "cpu/s/cpu.cfs_period_us": "old",
			}
			root := tree(t, files)
			if err := (Host{root: root, mode: tc.mode}).Group("/s").SetLimits(from, tc.to); err != nil {
				t.Fatal(err)
			}
			for name, old := range files {
				text, err := os.ReadFile(filepath.Join(root, name))
				if err != nil {
					t.Fatal(err)
				}
				want, changed := tc.want[name]
				if !changed {
					want = old
				}
				// A write does not shorten a plain file, as it does one of the kernel's.
				if got := string(text); !strings.HasPrefix(got, want) || !changed && got != old {
					t.Errorf("%s holds %q; want %q", name, got, want)
				}
			}
		})
	}
}

package cgroup

import (
	"testing"

	"github.com/containerd/cgroups/v3"
)

func TestOwnCgroupIsFoundInAHierarchyThatIsThere(t *testing.T) {
	for _, tc := range []struct {
		mode cgroups.CGMode
		text string
		want string
	}{
		{cgroups.Unified, "0::/system.slice/x.service\n", "/r/system.slice/x.service"},
		{cgroups.Hybrid, "12:cpu,cpuacct:/a\n4:memory:/b\n0::/c\n", "/r/memory/b"},
		{cgroups.Legacy, "4:memory:/b:c\n", "/r/memory/b:c"},
		{cgroups.Legacy, "0::/\n", ""},
		{cgroups.Unified, "", ""},
	} {
		if got, ok := (Host{root: "/r", mode: tc.mode}).own(tc.text); got != tc.want || ok != (tc.want != "") {
			t.Errorf("%v, %q: %q, %v; want %q", tc.mode, tc.text, got, ok, tc.want)
		}
	}
}

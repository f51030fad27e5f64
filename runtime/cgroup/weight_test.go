package cgroup

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/containerd/cgroups/v3"
)

func TestGroupThatExistsKeepsItsShareOfTheProcessors(t *testing.T) {
	for name, mode := range map[string]cgroups.CGMode{"s/cpu.weight": cgroups.Unified, "cpu/s/cpu.shares": cgroups.Hybrid} {
		root := tree(t, map[string]string{name: "77"})
		if err := (Host{root: root, mode: mode}).Group("/s").MakeWeighing(2); err != nil {
			t.Fatal(err)
		}
		if text, err := os.ReadFile(filepath.Join(root, name)); err != nil || string(text) != "77" {
			t.Errorf("%s holds %q, %v", name, text, err)
		}
	}
}

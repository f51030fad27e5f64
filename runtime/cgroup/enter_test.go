package cgroup

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/containerd/cgroups/v3"
)

func TestEntryIsTheGroupInEachTree(t *testing.T) {
	files := map[string]string{
		"s/e/cgroup.procs": "", "memory/s/e/tasks": "", "unified/s/e/cgroup.procs": "",
	}
	for _, tc := range []struct {
		mode  cgroups.CGMode
		dir   string
		tasks string
	}{
		{cgroups.Unified, "s/e", ""},
		{cgroups.Hybrid, "unified/s/e", "memory/s/e/tasks"},
		{cgroups.Legacy, "", "memory/s/e/tasks"},
	} {
		root := tree(t, files)
		e, err := (Host{root: root, mode: tc.mode}).Group("s").Sub("e").Enter(os.Getuid())
		if err != nil {
			t.Errorf("mode %v: %v", tc.mode, err)
			continue
		}
		if (e.Dir == nil) != (tc.dir == "") || e.Dir != nil && e.Dir.Name() != filepath.Join(root, tc.dir) {
			t.Errorf("mode %v: directory %v; want %q", tc.mode, e.Dir, tc.dir)
		}
		if (len(e.Tasks) == 0) != (tc.tasks == "") || len(e.Tasks) > 0 && e.Tasks[0].Name() != filepath.Join(root, tc.tasks) {
			t.Errorf("mode %v: tasks %v; want %q", tc.mode, e.Tasks, tc.tasks)
		}
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestProcessIsEnclosedWhereBothTreesSaySo(t *testing.T) {
	g := Host{root: t.TempDir(), mode: cgroups.Hybrid}.Group("s")
	for text, want := range map[string]bool{
		"5:memory:/s/e\n0::/s/e\n": true,
		"5:memory:/s/e\n0::/\n":    false,
		"5:memory:/\n0::/s/e\n":    false,
		"5:memory:/s/e\n":          false,
		"5:memory:/sx\n0::/sx\n":   false,
	} {
		proc := tree(t, map[string]string{"cgroup": text})
		if got, err := g.Encloses(proc); err != nil || got != want {
			t.Errorf("%q: %v, %v; want %v", text, got, err, want)
		}
	}
}

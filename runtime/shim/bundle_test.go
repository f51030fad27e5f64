package shim

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/containerd/errdefs"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

func bundleOf(t *testing.T, change func(*specs.Spec)) *bundle {
	t.Helper()
	s := &specs.Spec{
		Annotations: map[string]string{AgentAnnotation: "/agent"},
		Process:     &specs.Process{},
		Linux: &specs.Linux{
			CgroupsPath: "/parent/id",
			Namespaces:  []specs.LinuxNamespace{{Type: specs.PIDNamespace}},
			UIDMappings: []specs.LinuxIDMapping{{ContainerID: 0, HostID: 1 << 30, Size: 10}, {ContainerID: 1000, HostID: 5, Size: 1}},
		},
	}
	change(s)
	dir := t.TempDir()
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "config.json"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	b, err := readBundle(dir)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestContainersWithoutWhatTheAgentNeedsAreRefused(t *testing.T) {
	if err := bundleOf(t, func(*specs.Spec) {}).check(); err != nil {
		t.Errorf("a container with all: %v", err)
	}
	for name, change := range map[string]func(*specs.Spec){
		"no agent":             func(s *specs.Spec) { s.Annotations = nil },
		"no cgroup":            func(s *specs.Spec) { s.Linux.CgroupsPath = "" },
		"a unit of systemd":    func(s *specs.Spec) { s.Linux.CgroupsPath = "slice:x:y" },
		"the host's processes": func(s *specs.Spec) { s.Linux.Namespaces = nil },
		"two filters": func(s *specs.Spec) {
			s.Annotations[FilterAnnotation], s.Process.NoNewPrivileges, s.Linux.Seccomp = "x", true, &specs.LinuxSeccomp{}
		},
		"a filter without no_new_privs": func(s *specs.Spec) { s.Annotations[FilterAnnotation] = "x" },
		"another's processes":           func(s *specs.Spec) { s.Linux.Namespaces[0].Path = "/proc/1/ns/pid" },
	} {
		if err := bundleOf(t, change).check(); !errdefs.IsInvalidArgument(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestUsersOfTheContainerHaveIDsOnTheHost(t *testing.T) {
	b := bundleOf(t, func(*specs.Spec) {})
	for id, want := range map[uint32]int{0: 1 << 30, 9: 1<<30 + 9, 10: -1, 1000: 5, 1001: -1} {
		if got := b.hostID(id); got != want {
			t.Errorf("user %d is %d on the host; want %d", id, got, want)
		}
	}
	if got := b.hostGID(7); got != 7 { // not mapped
		t.Errorf("group 7 is %d on the host", got)
	}
}

func TestBundleIsRemovedWithItsWorkingDirectory(t *testing.T) {
	b := bundleOf(t, func(*specs.Spec) {})
	work := t.TempDir()
	for _, err := range []error{
		os.Mkdir(filepath.Join(b.dir, "rootfs"), 0o700),
		os.Symlink(work, filepath.Join(b.dir, "work")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := b.remove(); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(filepath.Dir(b.dir))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range left {
		if filepath.Join(filepath.Dir(b.dir), e.Name()) != work {
			t.Errorf("left: %s", e.Name())
		}
	}
	if _, err := os.Stat(work); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the working directory: %v", err)
	}
}

func TestBundleWithFilesInItsRootStays(t *testing.T) {
	b := bundleOf(t, func(*specs.Spec) {})
	file := filepath.Join(b.dir, "rootfs", "file") // as if it were still mounted
	if err := os.Mkdir(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := b.remove(); err == nil {
		t.Error("no error")
	}
	for _, path := range []string{file, filepath.Join(b.dir, "config.json")} {
		if _, err := os.Stat(path); err != nil {
			t.Error(err)
		}
	}
}

package test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/contrib/seccomp"
	"github.com/containerd/containerd/v2/pkg/cio"
	runc "github.com/containerd/go-runc"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"codebeaker/runtime/filter"
	"codebeaker/runtime/shim"
)

// mitigations are what /proc says of a process that a filter can change.
func mitigations(t *testing.T, pid int) string {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	var of []string
	for line := range strings.Lines(string(text)) {
		if name, _, _ := strings.Cut(line, ":"); slices.Contains([]string{"NoNewPrivs", "Seccomp", "Seccomp_filters", "Speculation_Store_Bypass", "SpeculationIndirectBranch"}, name) {
			of = append(of, line)
		}
	}
	return strings.Join(of, "")
}

// The filter that the agent puts in force is, instruction for instruction, what
// runc makes of the profile that is written down here.
func TestFilterIsWhatRuncMakesOfTheProfile(t *testing.T) {
	s := private(t, "--runtime", shim.Name)
	k := newTaskOf(t, s, s.session(t, nil).info.ContainerID)
	if k.spec.Linux.Seccomp != nil || k.spec.Annotations[shim.FilterAnnotation] == "" {
		t.Fatal("runc built the session's filter; this proves nothing")
	}
	got, err := filter.Read(t.Context(), int(k.Pid()))
	if err != nil {
		t.Fatal(err)
	}

	dir := filepath.Join(s.dir, "profile")
	if err := os.MkdirAll(dir+"/rootfs/proc", 0o755); err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{"/rootfs/dev", "/rootfs/bin"} {
		if err := os.MkdirAll(dir+d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	spec := &specs.Spec{
		Version: specs.Version, Root: &specs.Root{Path: "rootfs"},
		Process: &specs.Process{Args: []string{"/bin/busybox", "sleep", "1000"}, Cwd: "/", NoNewPrivileges: true, Capabilities: &specs.LinuxCapabilities{}},
		Mounts: []specs.Mount{
			{Destination: "/proc", Type: "proc", Source: "proc"},
			{Destination: "/dev", Type: "tmpfs", Source: "tmpfs"},
			{Destination: "/bin", Type: "bind", Source: "/bin", Options: []string{"rbind", "ro"}},
		},
		Linux: &specs.Linux{CgroupsPath: s.parent + "/profile", Namespaces: []specs.LinuxNamespace{{Type: specs.PIDNamespace}, {Type: specs.MountNamespace}}},
	}
	// containerd's default for a process without capabilities; but the agent has
	// clone3, to make processes in their cgroups.
	profile := seccomp.DefaultProfile(spec)
	profile.Syscalls = slices.DeleteFunc(profile.Syscalls, func(r specs.LinuxSyscall) bool { return slices.Contains(r.Names, "clone3") })
	profile.Syscalls = append(profile.Syscalls, specs.LinuxSyscall{Names: []string{"clone3"}, Action: specs.ActAllow})
	spec.Linux.Seccomp = profile
	text, err := json.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir+"/config.json", text, 0o600); err != nil {
		t.Fatal(err)
	}
	// runc puts a few instructions in front, one group for each architecture, in
	// whatever order its map has them.
	same := false
	for n := range 100 { // one of six orders comes in all but 1e-8 of cases
		want, holds := underRunc(t, dir, fmt.Sprintf("profile-%d", n))
		if ours := mitigations(t, int(k.Pid())); ours != holds {
			t.Fatalf("the session's agent has\n%srunc's process\n%s", ours, holds)
		}
		if len(got) != len(want) {
			t.Fatalf("the session's filter has %d bytes, runc's %d", len(got), len(want))
		}
		if same = slices.Equal(got, want); same {
			break
		}
	}
	if !same {
		t.Error("runc never makes the session's filter")
	}
}

// underRunc returns the filter of a container that runc starts, and what else
// it changes.
func underRunc(t *testing.T, bundle, id string) (filter.Program, string) {
	t.Helper()
	r := &runc.Runc{Command: binary("runc"), Root: bundle + "/runc"}
	null, err := runc.NewNullIO()
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	defer func() {
		if err := r.Delete(context.WithoutCancel(t.Context()), id, &runc.DeleteOpts{Force: true}); err != nil {
			t.Error(err)
		}
	}()
	if _, err := r.Run(t.Context(), id, bundle, &runc.CreateOpts{IO: null, PidFile: bundle + "/pid", Detach: true}); err != nil {
		t.Fatal(err)
	}
	pid, err := runc.ReadPidFile(bundle + "/pid")
	if err != nil {
		t.Fatal(err)
	}
	p, err := filter.Read(t.Context(), pid)
	if err != nil {
		t.Fatal(err)
	}
	return p, mitigations(t, pid)
}

// An agent that does not put its filter in force is never used.
func TestAgentWithoutItsFilterIsRefused(t *testing.T) {
	s := private(t, "--runtime", shim.Name)
	k := newTaskOf(t, s, s.session(t, nil).info.ContainerID)
	image, err := k.client.ListImages(k.ctx)
	if err != nil || len(image) == 0 {
		t.Fatalf("images: %v, %v", image, err)
	}
	const id = "unconfined"
	info, err := k.container.Info(k.ctx)
	if err != nil {
		t.Fatal(err)
	}
	create := func(id string, args []string) error {
		spec := *k.spec
		process := *spec.Process
		linux := *spec.Linux
		linux.CgroupsPath = s.parent + "/" + id
		linux.UIDMappings, linux.GIDMappings = nil, nil
		linux.Namespaces = slices.DeleteFunc(slices.Clone(linux.Namespaces), func(n specs.LinuxNamespace) bool { return n.Type == specs.UserNamespace })
		process.Args = args
		spec.Process, spec.Linux = &process, &linux
		c, err := k.client.NewContainer(k.ctx, id, containerd.WithNewSnapshot(id, image[0]),
			containerd.WithRuntime(info.Runtime.Name, info.Runtime.Options), containerd.WithSpec(&spec))
		if err != nil {
			return err
		}
		defer func() {
			if err := c.Delete(context.WithoutCancel(k.ctx), containerd.WithSnapshotCleanup); err != nil {
				t.Error(err)
			}
		}()
		task, err := c.NewTask(k.ctx, cio.NullIO)
		if err != nil {
			return err
		}
		_, err = task.Delete(k.ctx, containerd.WithProcessKill)
		return err
	}
	args := k.spec.Process.Args
	if err := create("confined", args); err != nil {
		t.Fatalf("a container as it should be: %v", err)
	}
	err = create(id, args[:len(args)-1])
	if err == nil || !strings.Contains(err.Error(), "0 filters of system calls") {
		t.Errorf("a container whose agent was not told of its filter: %v", err)
	}
	eventually(t, func() error {
		left, err := filepath.Glob("/sys/fs/cgroup/*" + s.parent + "/" + id)
		if err == nil && len(left) > 0 {
			err = fmt.Errorf("there is still %q", left)
		}
		return err
	})
}

package filter

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	runc "github.com/containerd/go-runc"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// learnTimeout bounds Learn, and separately what it does to clean up.
const learnTimeout = 10 * time.Second

// Options say how to learn a filter.
type Options struct {
	// Runc is runc's path.
	Runc string
	// AgentPath is the agent's binary on the host.
	AgentPath string
	// Dir is made for as long as it takes, and removed, with what an earlier
	// process may have left there. Anybody can pass through its parents.
	Dir string
	// Cgroup is that of the container meanwhile.
	Cgroup string
	// IDs are the container's user and group ids.
	IDs specs.LinuxIDMapping
}

// Learn returns the filter that runc puts in force for a profile. It takes what
// it takes to start a container.
func Learn(ctx context.Context, opts Options, profile *specs.LinuxSeccomp) (_ Program, retErr error) {
	ctx, cancel := context.WithTimeout(ctx, learnTimeout)
	defer cancel()
	const id = "filter"
	r := &runc.Runc{Command: opts.Runc, Root: filepath.Join(opts.Dir, "runc")}
	remove := func() error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), learnTimeout)
		defer cancel()
		return errors.Join(r.Delete(ctx, id, &runc.DeleteOpts{Force: true}), os.RemoveAll(opts.Dir))
	}
	defer func() {
		if retErr != nil {
			retErr = fmt.Errorf("learn the seccomp filter: %w", retErr)
		}
	}()
	if err := remove(); err != nil { // forced, it is no error that there is none
		return nil, err
	}
	root := filepath.Join(opts.Dir, "rootfs")
	if err := os.MkdirAll(root, 0o711); err != nil {
		return nil, err
	}
	defer func() { retErr = errors.Join(retErr, remove()) }()
	// What is mounted gets its mount point from the container's root.
	if err := os.Chown(root, int(opts.IDs.HostID), int(opts.IDs.HostID)); err != nil {
		return nil, err
	}
	text, err := json.Marshal(newSpec(opts, profile))
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(opts.Dir, "config.json"), text, 0o600); err != nil {
		return nil, err
	}
	null, err := runc.NewNullIO()
	if err != nil {
		return nil, err
	}
	defer null.Close()
	pidFile := filepath.Join(opts.Dir, "pid")
	run := &runc.Runc{Command: r.Command, Root: r.Root, Log: filepath.Join(opts.Dir, "log")}
	if _, err := run.Run(ctx, id, opts.Dir, &runc.CreateOpts{IO: null, PidFile: pidFile, Detach: true}); err != nil {
		said, _ := os.ReadFile(run.Log) // all there is to say
		return nil, fmt.Errorf("start a container: %w: %s", err, bytes.TrimSpace(said))
	}
	pid, err := runc.ReadPidFile(pidFile)
	if err != nil {
		return nil, err
	}
	return Read(ctx, pid)
}

// newSpec returns a container in which there is the agent alone, which waits.
func newSpec(opts Options, profile *specs.LinuxSeccomp) *specs.Spec {
	ids := []specs.LinuxIDMapping{opts.IDs}
	return &specs.Spec{
		Version: specs.Version,
		Root:    &specs.Root{Path: "rootfs"},
		Process: &specs.Process{
			Args: []string{"/agent", "init"}, Cwd: "/",
			Capabilities: &specs.LinuxCapabilities{}, NoNewPrivileges: true,
		},
		Mounts: []specs.Mount{
			{Destination: "/proc", Type: "proc", Source: "proc", Options: []string{"nosuid", "noexec", "nodev"}},
			{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "noexec", "size=64k"}},
			{Destination: "/agent", Type: "bind", Source: opts.AgentPath, Options: []string{"bind", "ro", "nosuid", "nodev"}},
		},
		Linux: &specs.Linux{
			CgroupsPath: opts.Cgroup, Seccomp: profile, UIDMappings: ids, GIDMappings: ids,
			Namespaces: []specs.LinuxNamespace{
				{Type: specs.PIDNamespace},
				{Type: specs.MountNamespace},
				{Type: specs.NetworkNamespace},
				{Type: specs.IPCNamespace},
				{Type: specs.UTSNamespace},
				{Type: specs.UserNamespace},
				{Type: specs.CgroupNamespace},
			},
			Resources: &specs.LinuxResources{Devices: []specs.LinuxDeviceCgroup{{Allow: false, Access: "rwm"}}},
		},
	}
}

package runtime

import (
	"math"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/containerd/containerd/v2/contrib/seccomp"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"codebeaker/runtime/shim"
)

const (
	// UserID is the user and group that programs run as, in the container.
	UserID = 1000
	// Workspace is the directory that programs start in.
	Workspace = "/workspace"
	// agentPath is where the agent's binary is in every container.
	agentPath = "/.codebeaker/agent"

	cpuPeriod = 100_000 // microseconds
)

// Limits are what a container may use. Each has to be given.
type Limits struct {
	// MemoryBytes bounds memory, in whole pages; there is no swap beside it.
	MemoryBytes int64
	// CPUs bounds processor time, in cores.
	CPUs float64
	// Pids bounds processes and threads.
	Pids int64
}

// specOptions is everything that decides a container's specification.
type specOptions struct {
	cgroup string
	ids    IDRange
	limits Limits
	env    []string
	agent  string // on the host
	// swapLimit says that the host can bound swap.
	swapLimit bool
	// maxFiles is the host's own hard limit of open files.
	maxFiles uint64
	// starts says that the agent starts programs for the shim.
	starts bool
	// filter is the text of the filter that the agent then puts in force, empty
	// where runc does.
	filter string
	// stages is the path of a file in which the shim then says what it took.
	stages string
}

// newSpec returns the OCI specification of a container.
func newSpec(o specOptions) *specs.Spec {
	ids := []specs.LinuxIDMapping{{ContainerID: 0, HostID: o.ids.HostID, Size: o.ids.Size}}
	memory := &specs.LinuxMemory{Limit: &o.limits.MemoryBytes}
	if o.swapLimit {
		memory.Swap = &o.limits.MemoryBytes // of both together, so none for swap
	}
	quota, period := cpuQuota(o.limits.CPUs), uint64(cpuPeriod)
	s := &specs.Spec{
		Version:  specs.Version,
		Hostname: hostname,
		Root:     &specs.Root{Path: "rootfs"},
		Process:  newProcess(o),
		Mounts:   append(newMounts(o.agent, o.limits.MemoryBytes), etcMounts(filepath.Dir(o.agent))...),
		Linux: &specs.Linux{
			CgroupsPath: o.cgroup,
			UIDMappings: ids,
			GIDMappings: slices.Clone(ids),
			Namespaces: []specs.LinuxNamespace{
				{Type: specs.PIDNamespace},
				{Type: specs.IPCNamespace},
				{Type: specs.UTSNamespace},
				{Type: specs.MountNamespace},
				{Type: specs.NetworkNamespace},
				{Type: specs.UserNamespace},
				{Type: specs.CgroupNamespace},
			},
			// Of the network namespace, so that a program may have the port that people
			// know its kind by.
			Sysctl: map[string]string{"net.ipv4.ip_unprivileged_port_start": "0"},
			Resources: &specs.LinuxResources{
				Devices: []specs.LinuxDeviceCgroup{{Allow: false, Access: "rwm"}},
				Memory:  memory,
				CPU:     &specs.LinuxCPU{Quota: &quota, Period: &period},
				Pids:    &specs.LinuxPids{Limit: &o.limits.Pids},
			},
			MaskedPaths: []string{
				"/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
				"/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats",
				"/sys/devices/virtual/powercap", "/sys/firmware",
			},
			ReadonlyPaths: []string{
				"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger",
			},
		},
	}
	s.Linux.Seccomp = seccomp.DefaultProfile(s)
	if o.starts {
		letStart(s)
	}
	if o.starts && o.stages != "" {
		s.Annotations[shim.StagesAnnotation] = o.stages
	}
	if o.filter != "" {
		s.Annotations[shim.FilterAnnotation] = o.filter
		s.Process.Args = append(s.Process.Args, strconv.Itoa(shim.FilterFD))
		s.Linux.Seccomp = nil
	}
	return s
}

// agentProfile returns the profile of every container whose agent starts
// programs.
func agentProfile() *specs.LinuxSeccomp { return newSpec(specOptions{starts: true}).Linux.Seccomp }

// newProcess returns pid 1, the agent. It is the container's root so that
// programs cannot signal it, and has no capability all the same.
func newProcess(o specOptions) *specs.Process {
	return &specs.Process{
		Args:            []string{agentPath, "init"},
		Cwd:             "/",
		Env:             withHome(o.env),
		User:            specs.User{UID: 0, GID: 0},
		Capabilities:    &specs.LinuxCapabilities{},
		NoNewPrivileges: true,
		Rlimits: []specs.POSIXRlimit{
			{Type: "RLIMIT_CORE"},
			{Type: "RLIMIT_NOFILE", Soft: min(1024, o.maxFiles), Hard: min(1<<16, o.maxFiles)},
		},
	}
}

// withHome returns an environment that has a HOME. Runc looks for one in the
// image's /etc/passwd else, as part of making a process, and waits for good where
// the image has a FIFO there (runc, libcontainer/env.go, prepareEnv).
func withHome(env []string) []string {
	for _, kv := range env {
		if strings.HasPrefix(kv, "HOME=") && kv != "HOME=" {
			return env
		}
	}
	return append(slices.Clip(env), "HOME=/")
}

// letStart changes a specification for an agent that starts programs. It gets
// what it takes to make a process in another cgroup and to become another user;
// it gives up the rest before it starts anything, and programs never have any of
// it (package agent).
func letStart(s *specs.Spec) {
	s.Annotations = map[string]string{shim.AgentAnnotation: agentPath}
	s.Process.Args = append(s.Process.Args, strconv.Itoa(shim.AgentFD))
	capabilities := []string{"CAP_SETGID", "CAP_SETPCAP", "CAP_SETUID"}
	s.Process.Capabilities = &specs.LinuxCapabilities{
		Bounding: capabilities, Effective: slices.Clone(capabilities), Permitted: slices.Clone(capabilities),
	}
	s.Linux.Seccomp.Syscalls = append(slices.DeleteFunc(s.Linux.Seccomp.Syscalls, func(rule specs.LinuxSyscall) bool {
		return slices.Equal(rule.Names, []string{"clone3"})
	}), specs.LinuxSyscall{Names: []string{"clone3"}, Action: specs.ActAllow})
}

// execProcess returns a process that runs the agent in one of its roles as the
// session's user. It inherits what bounds pid 1.
func execProcess(pid1 *specs.Process, args, env []string, terminal *Size) *specs.Process {
	p := *pid1
	if terminal != nil {
		p.Terminal = true
		p.ConsoleSize = &specs.Box{Height: uint(terminal.Rows), Width: uint(terminal.Columns)}
	}
	p.User = specs.User{UID: UserID, GID: UserID}
	p.Args = append([]string{agentPath}, args...)
	p.Env = env
	return &p
}

func newMounts(agent string, memoryBytes int64) []specs.Mount {
	tmp, shm := tmpfsOf(memoryBytes)
	return []specs.Mount{
		{Destination: "/proc", Type: "proc", Source: "proc", Options: []string{"nosuid", "noexec", "nodev"}},
		{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "noexec", "strictatime", "mode=755", "size=65536k"}},
		{Destination: "/dev/pts", Type: "devpts", Source: "devpts", Options: []string{"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"}},
		{Destination: shm.path, Type: "tmpfs", Source: "shm", Options: append([]string{"nosuid", "noexec", "nodev", "mode=1777"}, shm.options()...)},
		{Destination: "/dev/mqueue", Type: "mqueue", Source: "mqueue", Options: []string{"nosuid", "noexec", "nodev"}},
		{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: []string{"nosuid", "noexec", "nodev", "ro"}},
		{Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup", Options: []string{"nosuid", "noexec", "nodev", "relatime", "ro"}},
		{Destination: tmp.path, Type: "tmpfs", Source: "tmpfs", Options: append([]string{"nosuid", "nodev", "mode=1777"}, tmp.options()...)},
		{Destination: agentPath, Type: "bind", Source: agent, Options: []string{"bind", "ro", "nosuid", "nodev"}},
	}
}

func cpuQuota(cpus float64) int64 { return int64(math.Round(cpus * cpuPeriod)) }

// resolve makes a path of the session absolute, without looking at it: what
// ".." and links in it mean is for the session's kernel view to say.
func resolve(p string) string {
	if p == "" {
		return Workspace
	}
	if path.IsAbs(p) {
		return p
	}
	return Workspace + "/" + p
}

package runtime

import (
	"slices"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"codebeaker/runtime/agent"
	"codebeaker/runtime/shim"
)

func testSpec() *specs.Spec {
	return newSpec(specOptions{
		cgroup:    "/parent/id",
		ids:       IDRange{HostID: 1 << 30, Size: IDRangeSize},
		limits:    Limits{MemoryBytes: 64 << 20, CPUs: 1.5, Pids: 32},
		env:       []string{"A=b"},
		agent:     "/host/agent",
		swapLimit: true,
		maxFiles:  1 << 20,
	})
}

func TestSpecIsolates(t *testing.T) {
	s := testSpec()
	for _, p := range []*specs.Process{s.Process, execProcess(s.Process, []string{agent.RoleFiles}, nil, nil)} {
		c := p.Capabilities
		if c == nil || len(c.Bounding)+len(c.Effective)+len(c.Inheritable)+len(c.Permitted)+len(c.Ambient) != 0 {
			t.Errorf("capabilities of %q: %+v; want none", p.Args, c)
		}
		if !p.NoNewPrivileges {
			t.Errorf("%q may gain privileges", p.Args)
		}
		if !slices.Contains(p.Rlimits, specs.POSIXRlimit{Type: "RLIMIT_CORE"}) {
			t.Errorf("%q may dump core", p.Args)
		}
	}
	for _, want := range []specs.LinuxNamespaceType{
		specs.UserNamespace, specs.PIDNamespace, specs.NetworkNamespace, specs.MountNamespace,
		specs.IPCNamespace, specs.UTSNamespace, specs.CgroupNamespace,
	} {
		if !slices.Contains(s.Linux.Namespaces, specs.LinuxNamespace{Type: want}) {
			t.Errorf("no %s namespace of its own", want)
		}
	}
	if sc := s.Linux.Seccomp; sc == nil || sc.DefaultAction != specs.ActErrno || len(sc.Syscalls) == 0 {
		t.Error("system calls are not filtered")
	}
	for _, path := range []string{"/proc/kcore", "/proc/keys", "/sys/firmware"} {
		if !slices.Contains(s.Linux.MaskedPaths, path) {
			t.Errorf("%s is not masked", path)
		}
	}
	if !slices.Contains(s.Linux.ReadonlyPaths, "/proc/sys") {
		t.Error("/proc/sys is writable")
	}
	for _, m := range s.Mounts {
		writable := slices.Contains([]string{"/dev", "/dev/pts", "/dev/shm", "/dev/mqueue", "/proc", "/tmp"}, m.Destination)
		if !writable && !slices.Contains(m.Options, "ro") {
			t.Errorf("%s is writable", m.Destination)
		}
		if !slices.Contains(m.Options, "nosuid") {
			t.Errorf("%s allows set-user-id programs", m.Destination)
		}
		if m.Type == "bind" && !slices.Contains([]string{agentPath, "/etc/hosts", AptOffline}, m.Destination) {
			t.Errorf("%s of the host is in the container", m.Source)
		}
		if m.Type == "tmpfs" && !slices.ContainsFunc(m.Options, func(o string) bool { return len(o) > 5 && o[:5] == "size=" }) {
			t.Errorf("%s has no size", m.Destination)
		}
	}
}

func TestSpecLimits(t *testing.T) {
	r := testSpec().Linux.Resources
	if *r.Memory.Limit != 64<<20 || *r.Memory.Swap != 64<<20 {
		t.Errorf("memory %d, with swap %d; want %d for both, which is no swap", *r.Memory.Limit, *r.Memory.Swap, 64<<20)
	}
	if *r.CPU.Quota != 150_000 || *r.CPU.Period != 100_000 {
		t.Errorf("CPU %d of %d µs; want 150000 of 100000", *r.CPU.Quota, *r.CPU.Period)
	}
	if *r.Pids.Limit != 32 {
		t.Errorf("pids %d; want 32", *r.Pids.Limit)
	}
}

func TestFilesystemsInMemoryLeaveRoomForPrograms(t *testing.T) {
	for _, memory := range []int64{16 << 20, 64 << 20, 512 << 20, 64 << 30} {
		tmp, shm := tmpfsOf(memory)
		if used := tmp.bytes + shm.bytes + (tmp.inodes+shm.inodes)*inodeBytes; used > memory*6/10 {
			t.Errorf("of %d MiB of memory, %d MiB can be taken for good", memory>>20, used>>20)
		}
		if tmp.bytes < memory/3 || shm.bytes < memory/10 || tmp.inodes < 1000 || shm.inodes < 300 {
			t.Errorf("with %d MiB of memory there are %+v and %+v", memory>>20, tmp, shm)
		}
	}
}

func TestSpecMapsIDs(t *testing.T) {
	want := []specs.LinuxIDMapping{{ContainerID: 0, HostID: 1 << 30, Size: IDRangeSize}}
	l := testSpec().Linux
	if !slices.Equal(l.UIDMappings, want) || !slices.Equal(l.GIDMappings, want) {
		t.Errorf("mappings %+v, %+v; want %+v", l.UIDMappings, l.GIDMappings, want)
	}
}

func TestExecRunsAsTheSessionsUser(t *testing.T) {
	pid1 := testSpec().Process
	p := execProcess(pid1, []string{"exec", "--", "ls"}, []string{"X=y"}, nil)
	if p.User.UID != UserID || p.User.GID != UserID || len(p.User.AdditionalGids) != 0 {
		t.Errorf("exec runs as %+v", p.User)
	}
	if !slices.Equal(p.Args, []string{agentPath, "exec", "--", "ls"}) || !slices.Equal(p.Env, []string{"X=y"}) {
		t.Errorf("exec is %q with %q", p.Args, p.Env)
	}
	if pid1.User.UID != 0 {
		t.Error("the exec changed pid 1")
	}
}

func TestHardLimitOfOpenFilesIsNotRaised(t *testing.T) {
	p := newProcess(specOptions{maxFiles: 512})
	for _, l := range p.Rlimits {
		if l.Type == "RLIMIT_NOFILE" && (l.Hard > 512 || l.Soft > 512) {
			t.Errorf("open files %+v; the host's own limit is 512, and may not be raised", l)
		}
	}
}

func TestPathsStartAtTheWorkspace(t *testing.T) {
	for in, want := range map[string]string{"": "/workspace", "a/b": "/workspace/a/b", "/x": "/x", "../etc": "/workspace/../etc"} {
		if got := resolve(in); got != want {
			t.Errorf("resolve(%q) = %q; want %q", in, got, want)
		}
	}
}

func TestAgentThatStartsProgramsHasWhatThatTakes(t *testing.T) {
	s := newSpec(specOptions{cgroup: "/parent/id", ids: IDRange{HostID: 1 << 30, Size: IDRangeSize}, agent: "/host/agent", starts: true})
	if got := s.Annotations[shim.AgentAnnotation]; got != agentPath {
		t.Errorf("the shim is told of %q", got)
	}
	if !slices.Equal(s.Process.Args, []string{agentPath, "init", "3"}) {
		t.Errorf("pid 1 is %q", s.Process.Args)
	}
	c := s.Process.Capabilities
	want := []string{"CAP_SETGID", "CAP_SETPCAP", "CAP_SETUID"}
	if !slices.Equal(c.Permitted, want) || !slices.Equal(c.Effective, want) || !slices.Equal(c.Bounding, want) || len(c.Inheritable)+len(c.Ambient) > 0 {
		t.Errorf("capabilities %+v; want %q", c, want)
	}
	if !s.Process.NoNewPrivileges {
		t.Error("it may gain privileges")
	}
	var rules []specs.LinuxSyscall
	for _, rule := range s.Linux.Seccomp.Syscalls {
		if slices.Contains(rule.Names, "clone3") {
			rules = append(rules, rule)
		}
	}
	if len(rules) != 1 || rules[0].Action != specs.ActAllow || len(rules[0].Names) != 1 {
		t.Errorf("rules of clone3: %+v", rules)
	}
}

func TestAgentPutsItsFilterInForceInPlaceOfRunc(t *testing.T) {
	o := specOptions{cgroup: "/parent/id", ids: IDRange{HostID: 1 << 30, Size: IDRangeSize}, agent: "/host/agent", starts: true}
	if s := newSpec(o); s.Linux.Seccomp == nil || s.Annotations[shim.FilterAnnotation] != "" {
		t.Error("without a filter, runc has no profile")
	}
	o.filter = "text"
	s := newSpec(o)
	if s.Linux.Seccomp != nil || s.Annotations[shim.FilterAnnotation] != "text" || !s.Process.NoNewPrivileges {
		t.Errorf("runc's profile is %v, the annotations %v", s.Linux.Seccomp, s.Annotations)
	}
	if got, want := s.Process.Args, []string{agentPath, "init", "3", "4"}; !slices.Equal(got, want) {
		t.Errorf("the agent is started as %q; want %q", got, want)
	}
}

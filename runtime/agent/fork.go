package agent

import (
	"os"
	"path/filepath"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"codebeaker/runtime/agent/wire"
)

// child is what a process needs to become a program, made before it is forked:
// between fork and exec there is one thread of what was many, and it may only
// make system calls.
type child struct {
	clone   cloneArgs
	slack   uintptr
	sched   *unix.SchedAttr
	pidfd   int32
	gate    uintptr
	streams [3]uintptr
	tty     bool
	// zygote is the descriptor that the zygote inherits; 0 for all others.
	zygote uintptr
	tasks  []uintptr

	umask    uintptr
	rlimits  []rlimit
	groups   []uint32
	uid, gid uintptr
	caps     unix.CapUserHeader
	noCaps   [2]unix.CapUserData
	filter   unix.SockFprog
	dir      *byte
	// soft is what it says on standard error where it cannot become the program;
	// nil where it reports that.
	soft       *complaint
	candidates []*byte // files that the name may stand for, in their order
	argv       **byte
	shells     []shell // where the name may be a line of shell
	script     *script // for a file that the kernel does not run
	env        **byte

	zero   [1]byte // "0", what a thread writes to tasks to move itself
	answer [1]byte
	// signals are those that a program begins with blocked: none. The runtime
	// blocks all to fork.
	signals uint64
	report  [2]uint32
}

// cloneArgs is struct clone_args of linux/sched.h.
type cloneArgs struct {
	flags, pidfd, childTID, parentTID, exitSignal, stack, stackSize, tls, setTID, setTIDSize, cgroup uint64
}

// shell is a lineShell as execve(2) takes it.
type shell struct {
	path *byte
	argv **byte
}

type rlimit struct {
	resource uintptr
	limit    unix.Rlimit
}

// newChild prepares a process. The descriptors stay the caller's.
func newChild(spec *wire.Program, streams [3]int, gate int, fds []int) (*child, error) {
	c := &child{
		clone: cloneArgs{flags: unix.CLONE_PIDFD | unix.CLONE_CLEAR_SIGHAND, exitSignal: uint64(unix.SIGCHLD)},
		gate:  uintptr(gate), tty: spec.Terminal,
		umask: uintptr(spec.Umask), groups: spec.Groups, uid: uintptr(spec.UID), gid: uintptr(spec.GID),
		zero: [1]byte{'0'}, caps: unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3},
	}
	c.clone.pidfd = uint64(uintptr(unsafe.Pointer(&c.pidfd))) //nolint:gosec // clone3 writes it
	for i, fd := range streams {
		c.streams[i] = uintptr(fd)
	}
	if spec.Cgroup {
		c.clone.flags |= unix.CLONE_INTO_CGROUP
		c.clone.cgroup, fds = uint64(fds[0]), fds[1:]
	}
	for _, fd := range fds {
		c.tasks = append(c.tasks, uintptr(fd))
	}
	for _, l := range spec.Rlimits {
		c.rlimits = append(c.rlimits, rlimit{uintptr(l.Resource), unix.Rlimit{Cur: l.Soft, Max: l.Hard}})
	}
	filter := noClone3()
	c.filter = unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	env := environ(spec.Env, passwdPath, spec.UID)
	var err error
	if spec.Dir != "" {
		if c.dir, err = unix.BytePtrFromString(spec.Dir); err != nil {
			return nil, err
		}
	}
	for _, file := range candidates(spec.Args[0], lookupEnv(env, "PATH")) {
		p, err := unix.BytePtrFromString(file)
		if err != nil {
			return nil, err
		}
		c.candidates = append(c.candidates, p)
	}
	if c.argv, err = pointers(spec.Args); err != nil {
		return nil, err
	}
	if c.script, err = newScript(unsafe.Slice(c.argv, len(spec.Args)+1)); err != nil { //nolint:gosec // it has that many
		return nil, err
	}
	if c.env, err = pointers(env); err != nil {
		return nil, err
	}
	if spec.Line && isLine(spec.Args) {
		for _, sh := range lineShells(spec.Args[0]) {
			var s shell
			if s.path, err = unix.BytePtrFromString(sh.path); err != nil {
				return nil, err
			}
			if s.argv, err = pointers(sh.argv); err != nil {
				return nil, err
			}
			c.shells = append(c.shells, s)
		}
	}
	return c, nil
}

// noClone3 is a filter that lets every system call pass but clone3(2), which
// "is not there". The container's own filter has to let the agent use it, and
// cannot see into what it is given, as it can with clone(2), where it refuses
// new namespaces. All architectures have the same number for it.
func noClone3() []unix.SockFilter {
	const x32 = 0x40000000
	return []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}, // seccomp_data.nr
		{Code: unix.BPF_ALU | unix.BPF_AND | unix.BPF_K, K: ^uint32(x32)},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_CLONE3, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
}

// candidates returns the files that a name may stand for: itself where it has a
// slash, and otherwise one in each directory of path.
func candidates(name, path string) []string {
	if name == "" {
		return nil
	}
	if strings.Contains(name, "/") {
		return []string{name}
	}
	var files []string
	for _, dir := range filepath.SplitList(path) {
		file := filepath.Join(dir, name)
		if !strings.HasPrefix(file, "/") {
			file = "./" + file
		}
		files = append(files, file)
	}
	return files
}

func lookupEnv(env []string, name string) string {
	for _, kv := range env {
		if value, ok := strings.CutPrefix(kv, name+"="); ok {
			return value
		}
	}
	return ""
}

// pointers returns a list as execve(2) takes it.
func pointers(list []string) (**byte, error) {
	all := make([]*byte, len(list)+1)
	for i, s := range list {
		p, err := unix.BytePtrFromString(s)
		if err != nil {
			return nil, err
		}
		all[i] = p
	}
	return &all[0], nil
}

// fork makes the process, which goes on in become. It is for one caller at a
// time.
func (c *child) fork() (pid, pidfd int, err error) {
	r, errno := c.forkAndBecome()
	if errno != 0 {
		return 0, -1, os.NewSyscallError("clone3", errno)
	}
	return int(r), int(c.pidfd), nil
}

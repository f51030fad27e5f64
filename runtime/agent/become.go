package agent

import (
	"unsafe"

	"golang.org/x/sys/unix"

	"codebeaker/runtime/agent/wire"
)

// Package syscall has the same calls around its own fork; they are open to
// others since others need them.

//go:linkname beforeFork syscall.runtime_BeforeFork
func beforeFork()

//go:linkname afterFork syscall.runtime_AfterFork
func afterFork()

// sigSetmask is SIG_SETMASK of asm-generic/signal-defs.h.
const sigSetmask = 2

// forkAndBecome forks, and in the process that it makes goes on to become the
// program. There it must not call anything that may grow the stack, allocate or
// take a lock: what it needs was put into c before.
//
//go:noinline
//go:norace
//go:nocheckptr
//nolint:gosec // the kernel reads what these point to, all of it in c
func (c *child) forkAndBecome() (pid uintptr, errno unix.Errno) {
	beforeFork()
	if c.slack != 0 { // of this thread, which the process comes by
		_, _, _ = unix.RawSyscall(unix.SYS_PRCTL, unix.PR_SET_TIMERSLACK, c.slack, 0)
	}
	pid, _, errno = unix.RawSyscall(unix.SYS_CLONE3, uintptr(unsafe.Pointer(&c.clone)), unsafe.Sizeof(c.clone), 0)
	if errno != 0 || pid != 0 {
		afterFork()
		return pid, errno
	}
	// No signal has a handler (CLONE_CLEAR_SIGHAND). None is blocked in a program.
	_, _, _ = unix.RawSyscall6(unix.SYS_RT_SIGPROCMASK, sigSetmask, uintptr(unsafe.Pointer(&c.signals)), 0, unsafe.Sizeof(c.signals), 0, 0)
	c.become()
	return 0, 0
}

// become makes the process the program, and does not return.
//
//go:noinline
//go:norace
//go:nosplit
//go:nocheckptr
//nolint:gosec // the kernel reads what these point to, all of it in c
func (c *child) become() {
	var (
		stage  wire.Stage
		errno  unix.Errno
		denied unix.Errno
		n, i   uintptr
		code   uintptr
		p      unsafe.Pointer
		why    string
	)
	// Its cgroups first, so that what it uses from here on is its own. Whoever
	// writes 0 to tasks moves itself, alone, which the kernel does without
	// waiting for all others to be out of the way (cgroup_attach_lock).
	stage = wire.StageCgroup
	for i = 0; i < uintptr(len(c.tasks)); i++ {
		if _, _, errno = unix.RawSyscall(unix.SYS_WRITE, c.tasks[i], uintptr(unsafe.Pointer(&c.zero)), 1); errno != 0 {
			goto failed
		}
	}
	stage = wire.StageStreams
	if _, _, errno = unix.RawSyscall(unix.SYS_SETSID, 0, 0, 0); errno != 0 {
		goto failed
	}
	if c.tty {
		if _, _, errno = unix.RawSyscall(unix.SYS_IOCTL, c.streams[0], unix.TIOCSCTTY, 0); errno != 0 {
			goto failed
		}
	}
	for i = 0; i < 3; i++ { // all above 2, as the agent has the first three
		if _, _, errno = unix.RawSyscall(unix.SYS_DUP3, c.streams[i], i, 0); errno != 0 {
			goto failed
		}
	}
	stage = wire.StageLimits
	for i = 0; i < uintptr(len(c.rlimits)); i++ {
		if _, _, errno = unix.RawSyscall6(unix.SYS_PRLIMIT64, 0, c.rlimits[i].resource, uintptr(unsafe.Pointer(&c.rlimits[i].limit)), 0, 0, 0); errno != 0 {
			goto failed
		}
	}
	_, _, _ = unix.RawSyscall(unix.SYS_UMASK, c.umask, 0, 0)
	stage = wire.StageUser
	if len(c.groups) > 0 {
		p = unsafe.Pointer(&c.groups[0])
	}
	if _, _, errno = unix.RawSyscall(unix.SYS_SETGROUPS, uintptr(len(c.groups)), uintptr(p), 0); errno != 0 {
		goto failed
	}
	if _, _, errno = unix.RawSyscall(unix.SYS_SETRESGID, c.gid, c.gid, c.gid); errno != 0 {
		goto failed
	}
	if _, _, errno = unix.RawSyscall(unix.SYS_SETRESUID, c.uid, c.uid, c.uid); errno != 0 {
		goto failed
	}
	if c.zygote == 0 {
		stage = wire.StageFilter
		if _, _, errno = unix.RawSyscall(unix.SYS_PRCTL, unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&c.filter))); errno != 0 {
			goto failed
		}
		// What root has, and others would inherit.
		stage = wire.StageUser
		if _, _, errno = unix.RawSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&c.caps)), uintptr(unsafe.Pointer(&c.noCaps)), 0); errno != 0 {
			goto failed
		}
	} else if _, _, errno = unix.RawSyscall(unix.SYS_FCNTL, c.zygote, unix.F_SETFD, 0); errno != 0 {
		goto failed
	}

	// Ready. A byte lets it go on; the end of the gate ends it.
	_, _, _ = unix.RawSyscall(unix.SYS_WRITE, c.gate, uintptr(unsafe.Pointer(&c.report)), unsafe.Sizeof(c.report))
	for {
		n, _, errno = unix.RawSyscall(unix.SYS_READ, c.gate, uintptr(unsafe.Pointer(&c.answer)), 1)
		if errno != unix.EINTR {
			break
		}
	}
	if errno != 0 || n != 1 {
		goto gone
	}
	stage = wire.StageDirectory
	if c.dir != nil {
		if _, _, errno = unix.RawSyscall(unix.SYS_CHDIR, uintptr(unsafe.Pointer(c.dir)), 0, 0); errno != 0 {
			goto failed
		}
	}
	if c.sched != nil { // only now, so that what a program waits for is soon done
		_, _, _ = unix.RawSyscall(unix.SYS_SCHED_SETATTR, 0, uintptr(unsafe.Pointer(c.sched)), 0)
	}
	// As the user, so that the search sees what the user may see.
	stage = wire.StageExec
	errno = unix.ENOENT
	for i = 0; i < uintptr(len(c.candidates)); i++ {
		_, _, errno = unix.RawSyscall(unix.SYS_EXECVE, uintptr(unsafe.Pointer(c.candidates[i])), uintptr(unsafe.Pointer(c.argv)), uintptr(unsafe.Pointer(c.env)))
		if errno == unix.EACCES {
			denied = errno
		} else if errno != unix.ENOENT && (errno != unix.ENOTDIR || len(c.candidates) == 1) {
			break
		}
	}
	if denied != 0 && (errno == unix.ENOENT || errno == unix.ENOTDIR) {
		errno = denied
	}
	if errno == unix.ENOTDIR && len(c.candidates) > 1 {
		errno = unix.ENOENT
	}
	if errno == unix.ENOEXEC {
		errno = c.script.run(c.candidates[i], c.env)
	}
	for i = 0; i < uintptr(len(c.shells)); i++ {
		_, _, errno = unix.RawSyscall(unix.SYS_EXECVE, uintptr(unsafe.Pointer(c.shells[i].path)), uintptr(unsafe.Pointer(c.shells[i].argv)), uintptr(unsafe.Pointer(c.env)))
	}
failed:
	code = ExitNotExecutable
	if stage == wire.StageExec && errno == unix.ENOENT {
		code = ExitNotFound
	}
	if c.soft != nil && stage >= wire.StageDirectory {
		if stage == wire.StageExec && errno == unix.ENOENT && len(c.shells) == 0 {
			for i = 0; i < uintptr(len(c.candidates)) && why == ""; i++ {
				why = c.script.missing(c.candidates[i])
			}
		}
		c.soft.say(stage, errno, why)
		goto gone
	}
	c.report[0], c.report[1] = uint32(stage), uint32(errno)
	_, _, _ = unix.RawSyscall(unix.SYS_WRITE, c.gate, uintptr(unsafe.Pointer(&c.report)), unsafe.Sizeof(c.report))
gone:
	for {
		_, _, _ = unix.RawSyscall(unix.SYS_EXIT_GROUP, code, 0, 0)
	}
}

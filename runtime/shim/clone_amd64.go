package shim

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// cloneArgs is struct clone_args of linux/sched.h, in its first version, of which
// all but the flags stay zero.
type cloneArgs struct {
	flags uint64
	_     [7]uint64
}

// cloneToExit makes a process that does nothing but exit, and returns its number
// or a negative errno.
//
//go:noescape
func cloneToExit(args *cloneArgs, size uintptr) int

// newUserNamespace makes a user namespace. Its first process is in it for no
// longer than it takes to give it its ids, dead: all that there is left of it is
// what its parent has not waited for. It shares this process's memory, where
// os.StartProcess, which cannot do that for a new user namespace, would copy its
// page tables and have this process fault in its pages anew, some milliseconds
// of a processor.
func newUserNamespace(uids, gids []syscall.SysProcIDMap) (_ *os.File, retErr error) {
	args := cloneArgs{
		// No handler of this process runs in that one. Without an exit signal, who
		// waits for any child does not mean this one.
		flags: unix.CLONE_NEWUSER | unix.CLONE_VM | unix.CLONE_VFORK | unix.CLONE_CLEAR_SIGHAND,
	}
	pid := cloneToExit(&args, unsafe.Sizeof(args))
	if pid < 0 {
		return nil, fmt.Errorf("make a user namespace: %w", os.NewSyscallError("clone3", unix.Errno(-pid)))
	}
	defer func() {
		err := error(unix.EINTR)
		for errors.Is(err, unix.EINTR) {
			_, err = unix.Wait4(pid, nil, unix.WCLONE, nil)
		}
		if err != nil {
			retErr = errors.Join(retErr, os.NewSyscallError("wait4", err))
		}
	}()
	proc := fmt.Sprintf("/proc/%d/", pid)
	for file, ids := range map[string][]syscall.SysProcIDMap{"uid_map": uids, "gid_map": gids} {
		var text []byte
		for _, m := range ids {
			text = fmt.Appendf(text, "%d %d %d\n", m.ContainerID, m.HostID, m.Size)
		}
		if err := os.WriteFile(proc+file, text, 0); err != nil {
			return nil, fmt.Errorf("give a user namespace its ids: %w", err)
		}
	}
	ns, err := os.Open(proc + "ns/user")
	if err != nil {
		return nil, fmt.Errorf("open a user namespace: %w", err)
	}
	return ns, nil
}

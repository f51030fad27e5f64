package agent

import (
	"errors"
	"fmt"
	goruntime "runtime"

	"golang.org/x/sys/unix"

	"codebeaker/runtime/agent/wire"
)

// openTerminal opens a terminal of the container's own, for the program's user.
func openTerminal(spec *wire.Program) (master, slave int, err error) {
	master, err = openMaster(spec)
	if err != nil {
		return -1, -1, err
	}
	err = unix.IoctlSetPointerInt(master, unix.TIOCSPTLCK, 0)
	if err == nil && spec.Rows > 0 && spec.Columns > 0 {
		err = unix.IoctlSetWinsize(master, unix.TIOCSWINSZ, &unix.Winsize{Row: spec.Rows, Col: spec.Columns})
	}
	if err == nil {
		slave, err = peer(master)
	}
	if err != nil {
		closeFD(master)
		return -1, -1, err
	}
	return master, slave, nil
}

// openMaster opens as the program's user, whose the terminal is then: there is
// no capability to give it away.
func openMaster(spec *wire.Program) (master int, retErr error) {
	goruntime.LockOSThread() // these ids are a thread's own
	defer func() {
		err := errors.Join(unix.Setfsuid(0), unix.Setfsgid(0))
		if err != nil {
			retErr = errors.Join(retErr, err)
			return // a thread that is not what it was ends with its goroutine
		}
		goruntime.UnlockOSThread()
	}()
	if err := errors.Join(unix.Setfsgid(int(spec.GID)), unix.Setfsuid(int(spec.UID))); err != nil {
		return -1, fmt.Errorf("become the user: %w", err)
	}
	return unix.Open("/dev/pts/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
}

// peer opens the other side of a terminal, wherever its name leads.
func peer(master int) (int, error) {
	fd, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(master), unix.TIOCGPTPEER, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC)
	if errno != 0 {
		return -1, errno
	}
	return int(fd), nil
}

package runtime

import (
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// pidfdInfo is struct pidfd_info of linux/pidfd.h, as far as it is asked for.
type pidfdInfo struct {
	mask     uint64
	_        uint64
	_        [11]uint32
	exitCode int32
}

const (
	// pidfdGetInfo is PIDFD_GET_INFO, _IOWR(0xFF, 11, struct pidfd_info).
	pidfdGetInfo = 0xC040FF0B
	// pidfdInfoExit is PIDFD_INFO_EXIT, of Linux 6.15: the status of a process
	// that has been reaped.
	pidfdInfoExit = 1 << 3
)

// openPidfd returns a handle on a process, nil where the kernel gives none.
func openPidfd(pid int) *os.File {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil
	}
	return os.NewFile(uintptr(fd), "pidfd")
}

// exitStatus says how a process ended that was reaped. A shim reports a signal
// as the exit code that shells give it; which of the two it was the kernel
// tells by the pidfd, where it can.
func exitStatus(code int, pidfd *os.File) ExitStatus {
	if pidfd != nil {
		info := pidfdInfo{mask: pidfdInfoExit}
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, pidfd.Fd(), pidfdGetInfo, uintptr(unsafe.Pointer(&info))) //nolint:gosec // the kernel writes a struct of this size
		if errno == 0 && info.mask&pidfdInfoExit != 0 {
			return waitStatus(syscall.WaitStatus(info.exitCode))
		}
	}
	return shellStatus(code)
}

// shellStatus is an exit code as shells give it.
func shellStatus(code int) ExitStatus {
	if code > 128 && code < 128+65 {
		return ExitStatus{Code: code, Signal: syscall.Signal(code - 128)}
	}
	return ExitStatus{Code: code}
}

// waitStatus is a status of wait(2).
func waitStatus(status syscall.WaitStatus) ExitStatus {
	if status.Signaled() {
		return ExitStatus{Code: 128 + int(status.Signal()), Signal: status.Signal()}
	}
	return ExitStatus{Code: status.ExitStatus()}
}

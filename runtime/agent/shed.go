package agent

import (
	"fmt"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// shed gives up what starting programs does not need: others' sight of this
// process, and every capability but those to become another user. The bounding
// set goes too, so that no program can have one, ever, but for the zygote: it
// inherits these two, which every other program gives up (become).
func shed() error {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("hide process: %w", err)
	}
	const keep = 1<<unix.CAP_SETUID | 1<<unix.CAP_SETGID
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return fmt.Errorf("read capabilities: %w", err)
	}
	// While they are in the bounding set.
	data[0].Inheritable, data[1].Inheritable = keep, 0
	if err := setCapabilities(&header, &data); err != nil {
		return fmt.Errorf("make capabilities inheritable: %w", err)
	}
	for c := uintptr(0); ; c++ {
		has, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, c, 0, 0, 0)
		if err != nil {
			break // the kernel has no more of them
		}
		if has == 0 {
			continue
		}
		if _, _, errno := syscall.AllThreadsSyscall(unix.SYS_PRCTL, unix.PR_CAPBSET_DROP, c, 0); errno != 0 {
			return fmt.Errorf("give up capability %d: %w", c, errno)
		}
	}
	data = [2]unix.CapUserData{{Effective: keep, Permitted: keep, Inheritable: keep}}
	if err := setCapabilities(&header, &data); err != nil {
		return fmt.Errorf("give up capabilities: %w", err)
	}
	return nil
}

// setCapabilities sets those of all threads, as each has its own.
func setCapabilities(header *unix.CapUserHeader, data *[2]unix.CapUserData) error {
	_, _, errno := syscall.AllThreadsSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(header)), uintptr(unsafe.Pointer(data)), 0) //nolint:gosec // capset reads these
	if errno != 0 {
		return errno
	}
	return nil
}

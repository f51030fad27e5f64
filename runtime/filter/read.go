package filter

import (
	"errors"
	"fmt"
	goruntime "runtime"
	"unsafe"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

// Read asks the kernel for the filter of a process that has one, and only one,
// and stops it for as long as that takes. It takes CAP_SYS_ADMIN, a kernel with
// CONFIG_CHECKPOINT_RESTORE, and no filter on the process that asks.
func Read(pid int) (_ Program, retErr error) {
	defer func() {
		if retErr != nil {
			retErr = fmt.Errorf("read the seccomp filter of process %d: %w", pid, retErr)
		}
	}()
	goruntime.LockOSThread() // who traces is a thread
	defer goruntime.UnlockOSThread()
	if err := unix.PtraceSeize(pid); err != nil {
		return nil, err
	}
	// Of a process that is not stopped it fails, and has not to be done: it ends
	// with the thread's process at the latest.
	defer func() { _ = unix.PtraceDetach(pid) }()
	if err := unix.PtraceInterrupt(pid); err != nil {
		return nil, err
	}
	var status unix.WaitStatus
	for {
		_, err := unix.Wait4(pid, &status, unix.WALL, nil)
		if err == nil {
			break
		}
		if !errors.Is(err, unix.EINTR) {
			return nil, err
		}
	}
	if !status.Stopped() {
		return nil, fmt.Errorf("it has ended: %w", errdefs.ErrUnavailable)
	}
	n, err := seccompFilter(pid, 0, nil)
	if err != nil {
		return nil, err
	}
	p := make(Program, n*instructionLen)
	if err := p.check(); err != nil {
		return nil, err
	}
	if _, err := seccompFilter(pid, 0, p); err != nil {
		return nil, err
	}
	if _, err := seccompFilter(pid, 1, nil); !errors.Is(err, unix.ENOENT) {
		return nil, fmt.Errorf("it has more than one: %w", errors.Join(err, errdefs.ErrFailedPrecondition))
	}
	return p, nil
}

// seccompFilter returns how many instructions the filter has that was put in
// force as the i-th, and them in p where there is one.
func seccompFilter(pid, i int, p Program) (int, error) {
	var to uintptr
	if len(p) > 0 {
		to = uintptr(unsafe.Pointer(&p[0])) //nolint:gosec // ptrace writes there
	}
	n, _, errno := unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_SECCOMP_GET_FILTER, uintptr(pid), uintptr(i), to, 0, 0)
	goruntime.KeepAlive(p)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

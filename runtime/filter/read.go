package filter

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	goruntime "runtime"
	"time"
	"unsafe"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

// pause is how long it is until something is looked at again.
const pause = time.Millisecond

// Read asks the kernel for the filter of a process that has one, and only one,
// and stops it for as long as that takes. Of one that runc starts it first waits
// until that has become the container's program: runc is done a little before,
// and who is stopped in that moment may never say so. It takes CAP_SYS_ADMIN, a
// kernel with CONFIG_CHECKPOINT_RESTORE, and no filter on the process that asks.
func Read(ctx context.Context, pid int) (_ Program, retErr error) {
	defer func() {
		if retErr != nil {
			retErr = fmt.Errorf("read the seccomp filter of process %d: %w", pid, retErr)
		}
	}()
	tick := time.NewTicker(pause)
	defer tick.Stop()
	until := func(done func() (bool, error)) error {
		for {
			if ok, err := done(); ok || err != nil {
				return err
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
	err := until(func() (bool, error) {
		name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
		return !bytes.HasPrefix(name, []byte("runc:[")), err
	})
	if err != nil {
		return nil, err
	}
	goruntime.LockOSThread() // who traces is a thread
	defer goruntime.UnlockOSThread()
	if err := unix.PtraceSeize(pid); err != nil {
		return nil, err
	}
	// Of a process that is not stopped it fails, and has not to be done: whoever
	// started it ends it.
	defer func() { _ = unix.PtraceDetach(pid) }()
	if err := unix.PtraceInterrupt(pid); err != nil {
		return nil, err
	}
	var status unix.WaitStatus
	err = until(func() (bool, error) {
		got, err := unix.Wait4(pid, &status, unix.WALL|unix.WNOHANG, nil)
		if errors.Is(err, unix.EINTR) {
			err = nil
		}
		return got == pid, err
	})
	if err != nil {
		return nil, err
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

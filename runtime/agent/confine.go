package agent

import (
	"errors"
	"fmt"
	"io"
	"os"
	goruntime "runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// maxFilter is the longest program that the kernel takes, in bytes.
const maxFilter = 4096 * unix.SizeofSockFilter

// confine puts the seccomp filter in force that is in a file, for all threads of
// this process and so for all that it ever starts. It is what runc would have
// done before it became the agent, flags included, had it not taken as long to
// build the same filter for every container (package filter).
func confine(fd int) error {
	f := os.NewFile(uintptr(fd), "filter")
	defer f.Close()
	text, err := io.ReadAll(io.NewSectionReader(f, 0, maxFilter+1))
	if err != nil {
		return fmt.Errorf("read the seccomp filter: %w", err)
	}
	if len(text) == 0 || len(text)%unix.SizeofSockFilter != 0 || len(text) > maxFilter {
		return fmt.Errorf("read the seccomp filter: it has %d bytes", len(text))
	}
	program := unix.SockFprog{
		Len:    uint16(len(text) / unix.SizeofSockFilter),
		Filter: (*unix.SockFilter)(unsafe.Pointer(&text[0])), //nolint:gosec // seccomp reads it
	}
	const flags = unix.SECCOMP_FILTER_FLAG_TSYNC | unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW
	thread, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flags, uintptr(unsafe.Pointer(&program))) //nolint:gosec // seccomp reads it
	goruntime.KeepAlive(text)
	switch {
	case errno != 0:
		return fmt.Errorf("filter system calls: %w", errno)
	case thread != 0:
		return errors.New("filter system calls: a thread has another filter")
	}
	return nil
}

package agent

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A file that the kernel cannot run may be a script without a first line that names
// its interpreter. Every shell then runs it as one of its own, unless it looks like
// something binary, and so does the agent. And a file whose interpreter is missing is
// "not found" for the kernel, which misleads whoever sees the file.

// script is what runs a file as a script, made before the fork.
type script struct {
	shell *byte
	// argv is that of the shell. The file's path goes to its second place, in the
	// process: so it has no pointers (complaint.parts). The texts are child.argv's.
	argv []uintptr
	// head is where the beginning of a file is read.
	head [256]byte
}

// newScript prepares a script for a program with these arguments, as execve(2) takes
// them.
func newScript(args []*byte) (*script, error) {
	shell, err := unix.BytePtrFromString(lastShell)
	if err != nil {
		return nil, err
	}
	s := &script{shell: shell, argv: make([]uintptr, 0, len(args)+1)}
	s.argv = append(s.argv, uintptr(unsafe.Pointer(shell)), 0) //nolint:gosec // s keeps it
	for _, arg := range args[1:] {
		s.argv = append(s.argv, uintptr(unsafe.Pointer(arg))) //nolint:gosec // the child keeps it; the last is nil
	}
	return s, nil
}

// run runs a file as a script of the shell. It returns why it cannot: for a binary
// file, ENOEXEC. What holds for become holds for it.
//
//go:noinline
//go:norace
//go:nosplit
//go:nocheckptr
//nolint:gosec // the kernel reads what these point to, all of it in s or the child
func (s *script) run(file *byte, env **byte) unix.Errno {
	for i, n := uintptr(0), s.read(file); i < n && s.head[i] != '\n'; i++ {
		if s.head[i] == 0 {
			return unix.ENOEXEC
		}
	}
	s.argv[1] = uintptr(unsafe.Pointer(file))
	_, _, errno := unix.RawSyscall(unix.SYS_EXECVE, uintptr(unsafe.Pointer(s.shell)), uintptr(unsafe.Pointer(&s.argv[0])), uintptr(unsafe.Pointer(env)))
	return errno
}

// read reads the beginning of a file to head, and returns how much that is. What
// holds for become holds for it.
//
//go:noinline
//go:norace
//go:nosplit
//go:nocheckptr
//nolint:gosec // as above
func (s *script) read(file *byte) uintptr {
	const flags = unix.O_RDONLY | unix.O_NONBLOCK | unix.O_CLOEXEC
	at := unix.AT_FDCWD
	fd, _, errno := unix.RawSyscall6(unix.SYS_OPENAT, uintptr(at), uintptr(unsafe.Pointer(file)), flags, 0, 0, 0)
	if errno != 0 {
		return 0
	}
	n, _, errno := unix.RawSyscall(unix.SYS_READ, fd, uintptr(unsafe.Pointer(&s.head)), uintptr(len(s.head)))
	_, _, _ = unix.RawSyscall(unix.SYS_CLOSE, fd, 0, 0)
	if errno != 0 {
		return 0
	}
	return n
}

// Why a file that is there was not found.
const (
	noInterpreter = "the interpreter that its first line, or the program itself, names is not there"
	windowsScript = "the interpreter that its first line names ends with a carriage return: the file has the line ends of Windows"
)

// missing says why a file that the kernel did not find was not run; "" if it is not
// there. What holds for become holds for it.
//
//go:noinline
//go:norace
//go:nosplit
//go:nocheckptr
//nolint:gosec // as above
func (s *script) missing(file *byte) string {
	at := unix.AT_FDCWD
	if _, _, errno := unix.RawSyscall(unix.SYS_FACCESSAT, uintptr(at), uintptr(unsafe.Pointer(file)), unix.F_OK); errno != 0 {
		return ""
	}
	for i, n := uintptr(1), s.read(file); i < n; i++ {
		if s.head[i] == '\n' {
			if s.head[0] == '#' && s.head[i-1] == '\r' {
				return windowsScript
			}
			break
		}
	}
	return noInterpreter
}

// runScript is script.run for a process that has a Go runtime. Like unix.Exec it
// returns only if it fails.
func runScript(file string, argv, env []string) error {
	head, err := readHead(file)
	if err != nil {
		return err
	}
	line, _, _ := bytes.Cut(head, []byte("\n"))
	if bytes.IndexByte(line, 0) >= 0 {
		return unix.ENOEXEC
	}
	return unix.Exec(lastShell, append([]string{lastShell, file}, argv[1:]...), env)
}

// whyMissing is script.missing for such a process.
func whyMissing(file string) string {
	if _, err := os.Stat(file); err != nil {
		return ""
	}
	head, err := readHead(file)
	line, _, whole := strings.Cut(string(head), "\n")
	if err == nil && whole && strings.HasPrefix(line, "#") && strings.HasSuffix(line, "\r") {
		return windowsScript
	}
	return noInterpreter
}

func readHead(file string) ([]byte, error) {
	f, err := os.OpenFile(file, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	head := make([]byte, len(script{}.head))
	n, err := f.Read(head)
	if errors.Is(err, io.EOF) {
		err = nil // an empty file
	}
	return head[:n], err
}

package agent

import (
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"codebeaker/runtime/agent/wire"
)

// complaint is what a process that cannot become its program says to the
// program's user, as Exec does: a line on standard error, all of it made
// beforehand.
type complaint struct {
	directory, program string   // up to the error
	errors             []string // errorTexts
	// path is the program's where it may be a directory; nil where the name has no
	// slash.
	path *byte
	// parts is a vector for writev(2). It has no pointers, since those are not to be
	// written in a process that was forked from one that may collect garbage.
	parts [3][2]uintptr
}

// errorTexts returns the texts of the system's errors, by number.
func errorTexts() []string {
	texts := make([]string, unix.EHWPOISON+1) // the last
	for i := range texts {
		texts[i] = unix.Errno(i).Error()
	}
	return texts
}

func newComplaint(spec *wire.Program, errors []string) (*complaint, error) {
	name := spec.Args[0]
	if spec.Line && isLine(spec.Args) {
		name = lastShell // what failed last
	}
	q := &complaint{directory: "codebeaker: working directory " + shown(spec.Dir) + ": ", program: "codebeaker: " + shown(name) + ": ", errors: errors}
	var err error
	if strings.Contains(name, "/") {
		q.path, err = unix.BytePtrFromString(name)
	}
	return q, err
}

// say writes the line, in the process, which has a fresh stream with room for it. why
// takes the place of the error's text; "" for that.
// What holds for become holds for it.
//
//go:noinline
//go:norace
//go:nosplit
//go:nocheckptr
//nolint:gosec // the kernel reads what these point to, all of it in q or constant
func (q *complaint) say(stage wire.Stage, errno unix.Errno, why string) {
	first, text := q.program, "failed"
	if stage == wire.StageDirectory {
		first = q.directory
	} else if errno == unix.EACCES && q.path != nil {
		const flags = unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC
		at := unix.AT_FDCWD
		if _, _, e := unix.RawSyscall6(unix.SYS_OPENAT, uintptr(at), uintptr(unsafe.Pointer(q.path)), flags, 0, 0, 0); e == 0 {
			errno = unix.EISDIR
		}
	}
	if why != "" {
		text = why
	} else if stage == wire.StageExec && errno == unix.ENOENT {
		text = "not found"
	} else if uintptr(errno) < uintptr(len(q.errors)) {
		text = q.errors[errno]
	}
	const end = "\n"
	q.parts[0] = [2]uintptr{uintptr(unsafe.Pointer(unsafe.StringData(first))), uintptr(len(first))}
	q.parts[1] = [2]uintptr{uintptr(unsafe.Pointer(unsafe.StringData(text))), uintptr(len(text))}
	q.parts[2] = [2]uintptr{uintptr(unsafe.Pointer(unsafe.StringData(end))), uintptr(len(end))}
	_, _, _ = unix.RawSyscall(unix.SYS_WRITEV, 2, uintptr(unsafe.Pointer(&q.parts)), uintptr(len(q.parts)))
}

package shim

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/containerd/containerd/v2/pkg/shim"
	"golang.org/x/sys/unix"
)

// Family is the shims that one containerd started in one namespace.
type Family struct {
	// Runtime is a runtime's name, or the absolute path of a shim.
	Runtime string
	// Address is that of containerd's socket.
	Address   string
	Namespace string
}

// Memory is what the shims of a family have of the host's memory.
type Memory struct {
	Shims int
	// AnonymousBytes are each shim's own. FileBytes are of files, such as its
	// program, that it may share with other processes, and then count in each.
	AnonymousBytes, FileBytes int64
}

// Memory looks through the processes of the host. It takes a few microseconds
// for each of them, and waits for none.
func (f Family) Memory() (Memory, error) {
	var m Memory
	processes, err := os.ReadDir("/proc")
	if err != nil {
		return m, fmt.Errorf("list processes: %w", err)
	}
	users, err := os.Readlink("/proc/self/ns/user")
	if err != nil {
		return m, fmt.Errorf("find this process's user namespace: %w", err)
	}
	program := f.program()
	for _, p := range processes {
		dir := "/proc/" + p.Name()
		if c := p.Name()[0]; c < '0' || c > '9' || !f.has(dir, program, users) {
			continue
		}
		anonymous, file, err := resident(dir)
		switch {
		case errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH):
			continue // it has ended
		case err != nil:
			return m, fmt.Errorf("measure shim: %w", err)
		}
		m.Shims++
		m.AnonymousBytes += anonymous
		m.FileBytes += file
	}
	return m, nil
}

// program returns what says whether a path is that of the shim's program.
func (f Family) program() func(path string) bool {
	if !filepath.IsAbs(f.Runtime) {
		name := shim.BinaryName(f.Runtime)
		return func(path string) bool { return filepath.Base(path) == name }
	}
	want := f.Runtime
	if resolved, err := filepath.EvalSymlinks(want); err == nil {
		want = resolved
	}
	return func(path string) bool { return path == want }
}

// has says whether the process of a directory of /proc is of the family.
//
// What a process says of itself, such as its arguments, anybody can say; and to
// read them may wait for the process, as they are in its memory, behind a lock
// that it can hold for as long as it likes. So they are read last: of what runs
// the shim's program and is in this user namespace, in which no session is.
func (f Family) has(dir string, program func(string) bool, users string) bool {
	path, err := os.Readlink(dir + "/exe")
	// The program of a shim from before an upgrade is deleted.
	if err != nil || !program(strings.TrimSuffix(path, " (deleted)")) {
		return false
	}
	if ns, err := os.Readlink(dir + "/ns/user"); err != nil || ns != users {
		return false
	}
	text, err := os.ReadFile(dir + "/cmdline")
	return err == nil && f.started(strings.Split(strings.TrimSuffix(string(text), "\x00"), "\x00"))
}

// resident returns how much memory a process has, its own and that of files.
func resident(dir string) (anonymous, file int64, err error) {
	text, err := os.ReadFile(dir + "/statm")
	if err != nil {
		return 0, 0, err
	}
	var pages, all, shared int64 // proc_pid_statm(5)
	if _, err := fmt.Sscan(string(text), &pages, &all, &shared); err != nil {
		return 0, 0, fmt.Errorf("read %s/statm: %w", dir, err)
	}
	page := int64(os.Getpagesize())
	return (all - shared) * page, shared * page, nil
}

// started says whether arguments are those of a shim of the family that serves.
func (f Family) started(args []string) bool {
	if len(args) < 2 || !IsInvocation(args[1:]) || !serves(args) {
		return false
	}
	has := func(flag, value string) bool {
		for i, arg := range args {
			if arg == flag && i+1 < len(args) && args[i+1] == value {
				return true
			}
		}
		return false
	}
	return has("-address", f.Address) && has("-namespace", f.Namespace)
}

package agent

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Exit codes of a program that could not be started, as shells have them.
const (
	ExitNotExecutable = 126
	ExitNotFound      = 127
)

// RoleExec is the first argument of the exec role, RoleFiles that of the file
// helper's.
const (
	RoleExec  = "exec"
	RoleFiles = "files"
)

// RoleZygote is the first argument of what a shim that starts programs takes for
// the zygote: an interpreter and the modules that it loads follow. The agent has
// no such role.
const RoleZygote = "zygote"

// ExecArgs are the arguments of the exec role.
type ExecArgs struct {
	// Dir is the working directory; empty for the one that it has.
	Dir string
	// Line says that a name that is no program but a line of shell is run by a
	// shell (lineShells).
	Line bool
	// Terminal says that the standard streams are a terminal.
	Terminal bool
	// WaitStatus asks a shim that starts the program itself to report its status
	// as wait(2) gives it. The agent makes nothing of it.
	WaitStatus bool
	// Fork asks a shim that starts the program itself to have the container's
	// zygote fork it, where there is one. The agent makes nothing of it.
	Fork bool
	// Args are the program and its arguments.
	Args []string
}

// Format returns the arguments as ParseExec reads them.
func (e *ExecArgs) Format() []string {
	args := []string{"-dir", e.Dir}
	for _, f := range []struct {
		name string
		set  bool
	}{{"-line", e.Line}, {"-tty", e.Terminal}, {"-waitstatus", e.WaitStatus}, {"-fork", e.Fork}} {
		if f.set {
			args = append(args, f.name)
		}
	}
	return append(append(args, "--"), e.Args...)
}

// ParseExec reads
//
//	[-dir DIR] [-line] [-tty] [-waitstatus] [-fork] -- NAME [ARG ...]
func ParseExec(args []string) (*ExecArgs, error) {
	e := &ExecArgs{}
	flags := flag.NewFlagSet(RoleExec, flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.StringVar(&e.Dir, "dir", "", "")
	flags.BoolVar(&e.Line, "line", false, "")
	flags.BoolVar(&e.Terminal, "tty", false, "")
	flags.BoolVar(&e.Fork, "fork", false, "")
	flags.BoolVar(&e.WaitStatus, "waitstatus", false, "")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	if e.Args = flags.Args(); len(e.Args) == 0 {
		return nil, errors.New("no name of a program")
	}
	return e, nil
}

// Exec becomes the program that args name, which ParseExec reads. It returns
// only where it cannot, with the exit code to end with, after it wrote a line on
// stderr.
func Exec(args []string, stdin io.Reader, stderr io.Writer) int {
	fail := func(code int, format string, a ...any) int {
		fmt.Fprintf(stderr, "codebeaker: "+format+"\n", a...)
		return code
	}
	e, err := ParseExec(args)
	if err != nil {
		return fail(ExitNotExecutable, "exec: %v; usage: exec [-dir DIR] [-line] [-tty] -- NAME [ARG ...]", err)
	}
	argv := e.Args

	// The host's word that this process is in its cgroup. One byte, no more:
	// the rest is the program's.
	await := awaitByte
	if e.Terminal {
		await = awaitByteOnTerminal
	}
	if err := await(stdin); err != nil {
		return fail(ExitNotExecutable, "exec: the session ended before the program started")
	}
	if e.Dir != "" {
		if err := os.Chdir(e.Dir); err != nil {
			return fail(ExitNotExecutable, "working directory %s: %v", shown(e.Dir), cause(err))
		}
	}
	path, err := lookPath(argv[0], os.Getenv("PATH"))
	name := argv[0]
	if err == nil {
		err = unix.Exec(path, argv, os.Environ())
	}
	if errors.Is(err, unix.ENOEXEC) {
		err = runScript(path, argv, os.Environ())
	}
	if e.Line && isLine(argv) {
		name = lastShell
		for _, sh := range lineShells(argv[0]) {
			err = unix.Exec(sh.path, sh.argv, os.Environ())
		}
	}
	if errors.Is(err, unix.ENOENT) {
		why := "not found"
		if missing := whyMissing(path); path != "" && name == argv[0] && missing != "" {
			why = missing
		}
		return fail(ExitNotFound, "%s: %s", shown(name), why)
	}
	return fail(ExitNotExecutable, "%s: %v", shown(name), cause(err))
}

func awaitByte(stdin io.Reader) error {
	_, err := io.ReadFull(stdin, make([]byte, 1))
	return err
}

// TerminalReady is what the agent writes when its terminal prints nothing of
// what comes in, and the byte that it waits for can be sent. The program has
// the terminal as it was before.
const TerminalReady = "\x06" // ACK

func awaitByteOnTerminal(stdin io.Reader) error {
	const fd = 0
	was, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return err
	}
	quiet := *was
	quiet.Lflag &^= unix.ECHO | unix.ICANON | unix.ISIG
	quiet.Iflag &^= unix.ICRNL
	quiet.Oflag &^= unix.OPOST
	quiet.Cc[unix.VMIN], quiet.Cc[unix.VTIME] = 1, 0
	if err := unix.IoctlSetTermios(fd, unix.TCSETS, &quiet); err != nil {
		return err
	}
	if _, err := unix.Write(fd, []byte(TerminalReady)); err != nil {
		return err
	}
	return errors.Join(awaitByte(stdin), unix.IoctlSetTermios(fd, unix.TCSETS, was))
}

// lookPath finds the file that a name stands for: itself where it has a slash,
// and otherwise the first executable of that name in the directories of path.
// The error wraps ENOENT where there is none.
func lookPath(name, path string) (string, error) {
	if name == "" {
		return "", unix.ENOENT
	}
	if strings.Contains(name, "/") {
		return name, executable(name)
	}
	var denied error
	for _, dir := range filepath.SplitList(path) {
		file := filepath.Join(dir, name)
		if !strings.HasPrefix(file, "/") {
			file = "./" + file
		}
		err := executable(file)
		if err == nil {
			return file, nil
		}
		if !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ENOTDIR) {
			denied = err
		}
	}
	if denied != nil {
		return "", denied
	}
	return "", unix.ENOENT
}

func executable(file string) error {
	info, err := os.Stat(file)
	if err != nil {
		return err
	}
	if info.IsDir() {
		return unix.EISDIR
	}
	return unix.Access(file, unix.X_OK)
}

// shown is a name as it is shown to people, who have it in full.
func shown(name string) string {
	const most = 256 // bytes
	if len(name) <= most {
		return name
	}
	return strings.ToValidUTF8(name[:most], "") + "…"
}

// cause strips what was being done from an error of package os.
func cause(err error) error {
	if pe := (*os.PathError)(nil); errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

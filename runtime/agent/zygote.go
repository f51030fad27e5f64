package agent

import (
	_ "embed"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"codebeaker/runtime/agent/wire"
	"codebeaker/runtime/frame"
)

// zygote is an interpreter with its modules loaded that forks itself into
// programs, which then need not start one: 10 of the 14 ms that a Python program
// takes. The shim asks for it as for any program, and it ends like one; there is
// at most one in a container.
//
// A program that may be forked is made by the zygote as a child of the agent, in
// its cgroup from its first instruction (clone3 with CLONE_PARENT and
// CLONE_INTO_CGROUP). It does what become does, in the same order, over the same
// gate, and so all that the agent and the shim do with a program is the same.
// Where the zygote is not there, cannot be asked or finds that an interpreter
// that is started would be another one than itself, the agent starts the program
// as if there were no zygote. One that was asked and does not answer may have made
// the process: the agent ends the zygote and says that the start failed, and the
// shim sees that process end before it asks for another, without the zygote.
//
// What a program that was forked can tell from one that was started: sys.modules
// has more from the beginning; all programs of a container have the hash seed and
// the addresses of the zygote; /proc/self/cmdline has spaces in the place of NULs
// and may be cut, and /proc/self/environ and maps are the zygote's; at its end,
// __del__ sees sys.is_finalizing() false, and what only the preloaded modules
// refer to is not finalized. Handlers of pthread_atfork are not called: a module
// in C that needs them should not be preloaded, and one that starts threads
// cannot be.
//
// What a program of the session could do to it. The zygote is root, as the agent
// is, and not dumpable: nobody can signal it, trace it or open what /proc has of
// it. The interpreter is found in directories of root alone, runs isolated with an
// environment that the host gives it, and loads modules from directories of root alone; it looks
// at no path, environment or file of a program's before it has forked and become
// the program's user. The socket and all other descriptors are closed before a
// program is one that others may look into. Programs see how its memory is laid
// out, which is then the same in all of them, and what they write there is
// theirs alone.
//
// What it could do if it were taken over: it has the agent's user and the
// agent's capabilities, to become another user, and no more; it has not the
// agent's socket. What it answers is a number and a descriptor, which the shim
// believes as little as it does when they are the agent's own.
type zygote struct {
	program     *program
	interpreter string
	fd          int
	// greeting is the wait for what it says first.
	greeting sync.WaitGroup

	mu sync.Mutex
	// ready says that it takes requests; it does not after it failed one.
	ready bool
}

const (
	// zygoteBoot is what the interpreter is started with: all else comes over
	// the socket.
	zygoteBoot = `import _socket, posix, sys
sock = _socket.socket(fileno=int(sys.argv[1]))
try:
    exec(sock.recv(1 << 16), {"sock": sock})
except BaseException as e:
    print(type(e).__name__, e, file=sys.stderr)
    posix._exit(1)
`
	// zygotePath is where interpreters are looked for.
	zygotePath = "/usr/local/bin:/usr/bin:/bin"
	// zygoteSeconds bounds how long it may take to fork. Everything else waits
	// meanwhile.
	zygoteSeconds = 1
)

//go:embed zygote.py
var zygoteScript []byte

// newZygote prepares the program to become the zygote. It returns the
// descriptor that is for the interpreter, which is the caller's.
func newZygote(p *program) (_ *zygote, theirs int, err error) {
	interpreter, err := findInterpreter(p.spec.Args[0])
	if err != nil {
		return nil, -1, err
	}
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, -1, err
	}
	z := &zygote{program: p, interpreter: interpreter, fd: fds[0]}
	modules := append([]byte(strings.Join(p.spec.Args[1:], "\x00")), 0) // not empty
	for _, packet := range [][]byte{zygoteScript, modules} {
		if err := unix.Sendmsg(z.fd, packet, nil, nil, unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT); err != nil {
			closeAll(fds[:])
			return nil, -1, err
		}
	}
	p.spec.Args = []string{interpreter, "-I", "-S", "-B", "-u", "-i"}
	for _, kv := range p.spec.Env {
		if n, ok := strings.CutPrefix(kv, "PYTHON_CPU_COUNT="); ok { // which -I keeps it from reading
			p.spec.Args = append(p.spec.Args, "-X", "cpu_count="+n)
		}
	}
	p.spec.Args = append(p.spec.Args, "-c", zygoteBoot, strconv.Itoa(fds[1]))
	p.spec.Env = append(p.spec.Env, "HOME=/", "LANG=C.UTF-8")
	p.spec.Dir = "/"
	return z, fds[1], nil
}

// findInterpreter finds a program that none but root can have put where it is.
func findInterpreter(name string) (string, error) {
	if strings.Contains(name, "/") {
		return "", unix.EINVAL
	}
	for _, dir := range filepath.SplitList(zygotePath) {
		file := filepath.Join(dir, name)
		real, err := filepath.EvalSymlinks(file)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return "", err
		}
		for _, link := range []string{file, real} {
			if err := checkRoots(link); err != nil {
				return "", err
			}
		}
		return file, nil
	}
	return "", unix.ENOENT
}

// checkRoots is EPERM where others than root can change a file or what its path
// leads through.
func checkRoots(file string) error {
	for {
		var st unix.Stat_t
		if err := unix.Stat(file, &st); err != nil {
			return err
		}
		if st.Uid != 0 || st.Mode&0o022 != 0 {
			return unix.EPERM
		}
		if file == "/" {
			return nil
		}
		file = filepath.Dir(file)
	}
}

// greet waits until it has loaded its modules, or is gone.
func (z *zygote) greet() {
	// A read that blocked would keep a P, of which there are as many as others who
	// block, from them.
	fd, err := unix.FcntlInt(uintptr(z.fd), unix.F_DUPFD_CLOEXEC, 0)
	if err == nil {
		err = unix.SetNonblock(fd, true)
	}
	if err != nil {
		return
	}
	f := os.NewFile(uintptr(fd), "zygote")
	n, err := f.Read(make([]byte, 1))
	f.Close()
	if n != 1 || err != nil {
		return
	}
	timeout := unix.Timeval{Sec: zygoteSeconds}
	err = errors.Join(
		unix.SetNonblock(z.fd, false), // it is the same file
		unix.SetsockoptTimeval(z.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout),
	)
	z.mu.Lock()
	defer z.mu.Unlock()
	z.ready = err == nil
}

// suits says whether the program's name means the zygote's interpreter.
func (z *zygote) suits(spec *wire.Program) bool {
	for _, file := range candidates(spec.Args[0], lookupEnv(spec.Env, "PATH")) {
		if file == z.interpreter {
			return true
		}
		var st unix.Stat_t
		err := unix.Stat(file, &st)
		if !strings.HasPrefix(file, "/") || !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ENOTDIR) {
			return false
		}
	}
	return false
}

// errDeclined is a zygote that is not for the program, or cannot be asked. It has
// made no process.
var errDeclined = errors.New("the zygote is not for this program")

// fork has the zygote make the program's process. The descriptors stay the
// caller's. After an error other than errDeclined nobody knows whether there is a
// process.
func (z *zygote) fork(spec *wire.Program, fds []int) (pid, pidfd int, err error) {
	z.mu.Lock()
	defer z.mu.Unlock()
	if !z.ready || spec.Terminal || !z.suits(spec) {
		return 0, -1, errDeclined
	}
	asked := *spec
	asked.Env = environ(spec.Env, passwdPath, spec.UID)
	body, err := asked.Append(nil)
	if err != nil || len(body) > wire.MaxMessage {
		return 0, -1, errDeclined
	}
	if err := unix.Sendmsg(z.fd, body, unix.UnixRights(fds...), nil, unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT); err != nil {
		z.ready = false // it has ended, or is about to
		return 0, -1, fmt.Errorf("%w: %w", errDeclined, err)
	}
	if pid, pidfd, err = z.answer(); err != nil && !errors.Is(err, errDeclined) {
		z.ready = false
	}
	return pid, pidfd, err
}

// answer reads what the zygote made: a number, 0 for nothing, and its pidfd.
func (z *zygote) answer() (pid, pidfd int, err error) {
	var b [9]byte
	oob := make([]byte, unix.CmsgSpace(4))
	n, oobn, _, _, err := unix.Recvmsg(z.fd, b[:], oob, unix.MSG_CMSG_CLOEXEC)
	for errors.Is(err, unix.EINTR) {
		n, oobn, _, _, err = unix.Recvmsg(z.fd, b[:], oob, unix.MSG_CMSG_CLOEXEC)
	}
	if err != nil {
		return 0, -1, err
	}
	fds, err := frame.Rights(oob[:oobn])
	pid = int(int32(binary.NativeEndian.Uint32(b[:])))
	switch {
	case err == nil && n == 8 && pid > 0 && len(fds) == 1:
		return pid, fds[0], nil
	case err == nil && n == 8 && pid == 0 && len(fds) == 0:
		return 0, -1, errDeclined
	}
	closeAll(fds)
	return 0, -1, fmt.Errorf("%d bytes from the zygote: %w", n, frame.ErrProtocol)
}

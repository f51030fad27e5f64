package agent

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"codebeaker/runtime/agent/wire"
	"codebeaker/runtime/frame"
)

// readyZygote returns a zygote that takes requests for the interpreter sh, and
// its end of the socket.
func readyZygote(tb testing.TB) (*zygote, int) {
	tb.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		tb.Fatal(err)
	}
	z := &zygote{interpreter: "/bin/sh", fd: fds[0]}
	if err := unix.Sendmsg(fds[1], []byte{0}, nil, nil, 0); err != nil {
		tb.Fatal(err)
	}
	z.greet()
	tb.Cleanup(func() { closeAll(fds[:]) })
	return z, fds[1]
}

func forkable() *wire.Program { return &wire.Program{Args: []string{"/bin/sh", "file"}, Fork: true} }

func TestZygotesAnswerIsANumberAndItsPidfd(t *testing.T) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	for name, tc := range map[string]struct {
		packet string
		files  int
		want   error
	}{
		"a process":                {"\x07\x00\x00\x00\x00\x00\x00\x00", 1, nil},
		"nothing":                  {"\x00\x00\x00\x00\x00\x00\x00\x00", 0, errDeclined},
		"an error":                 {"\x00\x00\x00\x00\x0c\x00\x00\x00", 0, errDeclined},
		"a process without pidfd":  {"\x07\x00\x00\x00\x00\x00\x00\x00", 0, frame.ErrProtocol},
		"nothing with a file":      {"\x00\x00\x00\x00\x00\x00\x00\x00", 1, frame.ErrProtocol},
		"two files":                {"\x07\x00\x00\x00\x00\x00\x00\x00", 2, frame.ErrProtocol},
		"a number below 0":         {"\xff\xff\xff\xff\x00\x00\x00\x00", 1, frame.ErrProtocol},
		"too little":               {"\x07\x00\x00\x00", 1, frame.ErrProtocol},
		"too much":                 {"\x07\x00\x00\x00\x00\x00\x00\x00\x00", 1, frame.ErrProtocol},
		"a packet that is too big": {strings.Repeat("\x07", 100), 1, frame.ErrProtocol},
	} {
		t.Run(name, func(t *testing.T) {
			z, theirs := readyZygote(t)
			var oob []byte
			if tc.files > 0 {
				oob = unix.UnixRights(slices.Repeat([]int{int(null.Fd())}, tc.files)...)
			}
			if err := unix.Sendmsg(theirs, []byte(tc.packet), oob, nil, 0); err != nil {
				t.Fatal(err)
			}
			pid, pidfd, err := z.fork(forkable(), []int{0, 1, 2})
			if !errors.Is(err, tc.want) || (err == nil) != (pid == 7) || (err == nil) != (pidfd >= 0) {
				t.Errorf("got %d, %d, %v; want %v", pid, pidfd, err, tc.want)
			}
			closeFD(pidfd)
			if of := err == nil || errors.Is(err, errDeclined); z.ready != of {
				t.Errorf("it is asked again: %v", z.ready)
			}
			// What it is asked is the program with its files.
			buf := make([]byte, wire.MaxMessage)
			oob = make([]byte, unix.CmsgSpace(4*wire.MaxFDs))
			n, oobn, _, _, err := unix.Recvmsg(theirs, buf, oob, unix.MSG_CMSG_CLOEXEC)
			if err != nil {
				t.Fatal(err)
			}
			fds, err := frame.Rights(oob[:oobn])
			closeAll(fds)
			if p, perr := wire.ParseProgram(buf[:n]); err != nil || perr != nil || !slices.Equal(p.Args, forkable().Args) || len(fds) != 3 {
				t.Errorf("it was asked for %+v with %d files: %v, %v", p, len(fds), err, perr)
			}
		})
	}
}

func TestZygoteThatDoesNotAnswerIsAskedNoMore(t *testing.T) {
	z, _ := readyZygote(t)
	if _, _, err := z.fork(forkable(), []int{0, 1, 2}); !errors.Is(err, unix.EAGAIN) || z.ready {
		t.Errorf("a silent one: %v, ready %v", err, z.ready)
	}
	var theirs int
	z, theirs = readyZygote(t)
	if err := unix.Shutdown(theirs, unix.SHUT_RDWR); err != nil {
		t.Fatal(err)
	}
	if _, _, err := z.fork(forkable(), []int{0, 1, 2}); !errors.Is(err, errDeclined) || z.ready {
		t.Errorf("one that has ended: %v, ready %v", err, z.ready)
	}
}

func TestZygoteIsForItsInterpreterAlone(t *testing.T) {
	dir := t.TempDir()
	own, other := filepath.Join(dir, "bin"), filepath.Join(dir, "other")
	for _, d := range []string{own, other} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range []string{filepath.Join(own, "python3"), filepath.Join(other, "python3")} {
		if err := os.WriteFile(f, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	z := &zygote{interpreter: filepath.Join(own, "python3"), ready: true}
	for _, tc := range []struct {
		name, path string
		want       bool
	}{
		{"python3", own, true},
		{"python3", dir + "/none:" + own + "/python3:" + own + ":" + other, true},
		{"python3", other + ":" + own, false},
		{"python3", "relative:" + own, false},
		{"python3", dir + "/none", false},
		{"python3", "", false},
		{"python", own, false},
		{filepath.Join(own, "python3"), "", true},
		{filepath.Join(other, "python3"), own, false},
	} {
		if got := z.suits(&wire.Program{Args: []string{tc.name}, Env: []string{"PATH=" + tc.path}}); got != tc.want {
			t.Errorf("%s in %s: %v", tc.name, tc.path, got)
		}
	}
	for name, p := range map[string]*wire.Program{
		"a terminal":        {Args: []string{z.interpreter}, Terminal: true},
		"one that is large": {Args: []string{z.interpreter, strings.Repeat("x", wire.MaxMessage)}},
	} {
		if _, _, err := z.fork(p, nil); !errors.Is(err, errDeclined) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestInterpreterIsRoots has the zygote run nothing that a program could have
// put there.
func TestInterpreterIsRoots(t *testing.T) {
	if file, err := findInterpreter("sh"); err != nil || file != "/usr/bin/sh" && file != "/bin/sh" {
		t.Errorf("sh is %q, %v", file, err)
	}
	for name, want := range map[string]error{"/bin/sh": unix.EINVAL, "no-such-program": unix.ENOENT} {
		if file, err := findInterpreter(name); !errors.Is(err, want) {
			t.Errorf("%s is %q, %v; want %v", name, file, err, want)
		}
	}
	dir := t.TempDir() // below /tmp, into which all may write
	file := filepath.Join(dir, "python3")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := checkRoots(file); !errors.Is(err, unix.EPERM) {
		t.Errorf("%s: %v", file, err)
	}
}

func TestThereIsOneZygote(t *testing.T) {
	s, _ := pair(t, nil)
	p := func() *program { return &program{spec: &wire.Program{Args: []string{"sh", "module"}, Zygote: true}} }
	first := p()
	theirs, err := s.claimZygote(first)
	if err != nil {
		t.Fatal(err)
	}
	closeFD(theirs)
	if _, err := s.claimZygote(p()); !errors.Is(err, unix.EBUSY) {
		t.Errorf("a second one: %v", err)
	}
	s.forget(p()) // which it is not
	if s.zygoteOf(first) == nil {
		t.Error("the zygote was forgotten with another program")
	}
	s.forget(first)
	theirs, err = s.claimZygote(p())
	if err != nil {
		t.Errorf("one after the first: %v", err)
	}
	closeFD(theirs)
	s.forget(s.zygote.program)
}

// The agent reads these.
func FuzzZygotesAnswers(f *testing.F) {
	f.Add([]byte("\x07\x00\x00\x00\x00\x00\x00\x00"), uint8(1))
	null, err := os.Open(os.DevNull)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, packet []byte, files uint8) {
		z, theirs := readyZygote(t)
		var rights []byte
		if n := int(files) % 5; n > 0 {
			rights = unix.UnixRights(slices.Repeat([]int{int(null.Fd())}, n)...)
		}
		if len(packet) == 0 || unix.Sendmsg(theirs, packet, rights, nil, unix.MSG_DONTWAIT) != nil {
			return
		}
		pid, pidfd, err := z.fork(forkable(), []int{0})
		if (err == nil) != (pid > 0 && pidfd >= 0) {
			t.Errorf("%x is %d, %d, %v", packet, pid, pidfd, err)
		}
		closeFD(pidfd)
	})
}

// lateZygote gives an agent a zygote that answers as f does, which gets what it was
// asked for. Its process is one that does nothing.
func lateZygote(t *testing.T, s *starter, f func(theirs int, fds []int)) (pid int) {
	t.Helper()
	z, theirs := readyZygote(t)
	pid, err := syscall.ForkExec("/bin/sleep", []string{"sleep", "1000"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	z.program = &program{id: 2, spec: &wire.Program{}}
	s.children.mu.Lock()
	s.children.add(pid, z.program)
	s.children.mu.Unlock()
	s.mu.Lock()
	s.zygote = z
	s.mu.Unlock()
	asked := make(chan struct{})
	go func() {
		defer close(asked)
		oob := make([]byte, unix.CmsgSpace(4*wire.MaxFDs))
		_, oobn, _, _, err := unix.Recvmsg(theirs, make([]byte, wire.MaxMessage), oob, unix.MSG_CMSG_CLOEXEC)
		if err != nil {
			t.Error(err)
			return
		}
		fds, err := frame.Rights(oob[:oobn])
		if err != nil {
			t.Error(err)
		}
		f(theirs, fds)
	}()
	t.Cleanup(func() { <-asked })
	return pid
}

// A zygote that was asked and says nothing may have made the process, or not. There
// is no second one beside it.
func TestProgramThatTheZygoteWasAskedForIsNotMadeTwice(t *testing.T) {
	for name, then := range map[string]func(theirs int){
		"it hangs":   func(int) {},
		"it ends":    func(theirs int) { _ = unix.Shutdown(theirs, unix.SHUT_RDWR) },
		"it mumbles": func(theirs int) { _ = unix.Sendmsg(theirs, []byte("what?"), nil, nil, 0) },
	} {
		t.Run(name, func(t *testing.T) {
			s, shim := agentOf(t)
			null, err := unix.Open(os.DevNull, unix.O_RDWR|unix.O_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer closeFD(null)
			// The process that it made before it fell silent.
			made := make(chan int, 1)
			pid := lateZygote(t, s, func(theirs int, fds []int) {
				gate := fds[len(fds)-1]
				closeAll(fds[:len(fds)-1])
				var report [wire.ReportLen]byte
				if _, err := unix.Write(gate, report[:]); err != nil {
					t.Error(err)
				}
				made <- gate
				then(theirs)
			})
			gate := ask(t, shim, 1, forkable(), null, null, null)
			want := wire.Message{Kind: wire.Failed, ID: 1, Argument: uint32(wire.StageFork), Detail: uint32(wire.ErrZygoteSilent)}
			if m := hear(t, shim); m != want {
				t.Errorf("heard %+v", m)
			}
			closeFD(<-made)
			if report := reported(t, gate); report == nil || *report != (wire.Report{}) {
				t.Errorf("the process that it made reports %+v", report)
			}
			if report := reported(t, gate); report != nil {
				t.Errorf("another process reports %+v", report)
			}
			// It makes nothing any more.
			var status unix.Siginfo
			if err := unix.Waitid(unix.P_PID, pid, &status, unix.WEXITED|unix.WNOWAIT|unix.WNOHANG, nil); err != nil || status.Signo != int32(unix.SIGCHLD) {
				t.Errorf("the zygote is there: %v", err)
			}
			s.children.reap()
			if m := hear(t, shim); m.Kind != wire.Exited {
				t.Errorf("heard %+v", m)
			}
		})
	}
}

// What it was never asked for it did not make.
func TestProgramIsStartedWhereTheZygoteCannotBeAsked(t *testing.T) {
	s, shim := agentOf(t)
	z, theirs := readyZygote(t)
	z.program = &program{spec: &wire.Program{}}
	if err := unix.Shutdown(theirs, unix.SHUT_RDWR); err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	s.zygote = z
	s.mu.Unlock()
	null, err := unix.Open(os.DevNull, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer closeFD(null)
	gate := run(t, shim, 1, forkable(), null, null, null)
	if err := unix.Shutdown(gate, unix.SHUT_RDWR); err != nil {
		t.Fatal(err)
	}
	ended(t, s)
}

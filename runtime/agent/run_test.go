package agent

import (
	"io"
	"os"
	goruntime "runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"codebeaker/runtime/agent/wire"
	"codebeaker/runtime/frame"
)

// agentOf starts an agent that launches programs, and returns it and the shim's
// end of its socket.
func agentOf(t *testing.T) (*starter, int) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can become another user, as the agent does with every program")
	}
	s, shim := pair(t, nil)
	s.launch, s.slack = s.run, 54321
	served := make(chan error, 1)
	go func() { served <- s.serve() }()
	t.Cleanup(func() {
		_ = unix.Shutdown(shim, unix.SHUT_RDWR) // the agent's end
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	if m := hear(t, shim); m.Kind != wire.Hello {
		t.Fatalf("heard %+v", m)
	}
	return s, shim
}

// hear returns the agent's next message, without what came with it.
func hear(t *testing.T, shim int) wire.Message {
	t.Helper()
	buf, oob := make([]byte, wire.MaxMessage), make([]byte, unix.CmsgSpace(4*wire.MaxFDs))
	n, oobn, _, _, err := unix.Recvmsg(shim, buf, oob, unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	fds, err := frame.Rights(oob[:oobn])
	closeAll(fds)
	if err != nil {
		t.Fatal(err)
	}
	m, _, err := wire.Parse(buf[:n])
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// run has the agent make a program's process, with these streams, and returns
// the gate at which it waits.
func run(t *testing.T, shim int, id uint32, p *wire.Program, stdin, stdout, stderr int) (gate int) {
	t.Helper()
	gate = ask(t, shim, id, p, stdin, stdout, stderr)
	if m := hear(t, shim); m.Kind != wire.Ready || m.ID != id {
		t.Fatalf("heard %+v", m)
	}
	if report := reported(t, gate); report == nil || *report != (wire.Report{}) {
		t.Fatalf("it reports %+v", report)
	}
	return gate
}

// ask asks the agent for a program, and returns the gate at which its process
// waits.
func ask(t *testing.T, shim int, id uint32, p *wire.Program, stdin, stdout, stderr int) (gate int) {
	t.Helper()
	gates, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeFD(gates[0]) })
	p.UID, p.GID = uint32(os.Getuid()), uint32(os.Getgid())
	err = unix.Sendmsg(shim, start(t, id, p), unix.UnixRights(stdin, stdout, stderr, gates[1]), nil, 0)
	closeFD(gates[1])
	if err != nil {
		t.Fatal(err)
	}
	return gates[0]
}

// reported returns what the process says at its gate, nil at the gate's end.
func reported(t *testing.T, gate int) *wire.Report {
	t.Helper()
	var packet [wire.ReportLen]byte
	n, err := unix.Read(gate, packet[:])
	if err != nil {
		t.Fatal(err)
	}
	if n == 0 {
		return nil
	}
	r, err := wire.ParseReport(packet[:n])
	if err != nil {
		t.Fatal(err)
	}
	return &r
}

// ended waits until all programs of the agent's have ended, and has them reaped.
func ended(t *testing.T, s *starter) {
	t.Helper()
	s.children.mu.Lock()
	for pid := range s.children.programs {
		if err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil); err != nil {
			t.Error(err)
		}
	}
	s.children.mu.Unlock()
	s.children.reap()
}

// An agent has many programs at one time. What one of them no longer has, the
// next may have got under the same number.
func TestEndOfAProgramClosesNothingOfOthers(t *testing.T) {
	s, shim := agentOf(t)
	var stdin [2]int
	if err := unix.Pipe2(stdin[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	null, err := unix.Open(os.DevNull, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer closeFD(null)
	gate := run(t, shim, 2, &wire.Program{Args: []string{"/bin/cat"}}, stdin[0], null, null)
	closeFD(stdin[0])
	if _, err := unix.Write(gate, []byte{1}); err != nil {
		t.Fatal(err)
	}
	if report := reported(t, gate); report != nil {
		t.Fatalf("it reports %+v", report)
	}
	var others []int
	for range 64 {
		fd, err := unix.FcntlInt(uintptr(null), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		others = append(others, fd)
	}
	defer closeAll(others)
	closeFD(stdin[1])
	ended(t, s)
	if m := hear(t, shim); m.Kind != wire.Exited || m.Argument != 0 {
		t.Errorf("heard %+v", m)
	}
	for _, fd := range others {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil {
			t.Errorf("descriptor %d: %v", fd, err)
		}
	}
}

// Nothing of a program is left in the agent when it is over.
func TestProgramsLeaveNothingInTheAgent(t *testing.T) {
	s, shim := agentOf(t)
	null, err := unix.Open(os.DevNull, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer closeFD(null)
	once := func(id uint32) (files, goroutines int) {
		t.Helper()
		gate := run(t, shim, id, &wire.Program{Args: []string{"/bin/true"}, Soft: true}, null, null, null)
		if _, err := unix.Write(gate, []byte{1}); err != nil {
			t.Fatal(err)
		}
		if report := reported(t, gate); report != nil {
			t.Fatalf("it reports %+v", report)
		}
		if err := unix.Shutdown(gate, unix.SHUT_RDWR); err != nil {
			t.Fatal(err)
		}
		ended(t, s)
		if m := hear(t, shim); m.Kind != wire.Exited {
			t.Fatalf("heard %+v", m)
		}
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(entries) - int(id), goruntime.NumGoroutine() // run keeps the gate's other end
	}
	files, goroutines := once(1)
	for id := range uint32(50) {
		f, g := once(2 + id)
		s.children.mu.Lock()
		programs := len(s.children.programs)
		s.children.mu.Unlock()
		if f > files || g > goroutines || programs > 0 {
			t.Fatalf("after %d programs there are %d files, %d goroutines and %d programs; after one %d and %d", id+2, f, g, programs, files, goroutines)
		}
	}
}

// A process that is not let go, and one whose program is not there.
func TestProgramsThatDoNotRunAreReapedAndSayWhy(t *testing.T) {
	null, err := unix.Open(os.DevNull, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer closeFD(null)
	dir := t.TempDir()
	file := func(name, content string) string {
		name = dir + "/" + name
		if err := os.WriteFile(name, []byte(content), 0o755); err != nil {
			t.Fatal(err)
		}
		return name
	}
	binary, windows, lost := file("binary", "\x7fELF\x00\x01"), file("windows", "#!/bin/sh\r\ntrue\r\n"), file("lost", "#!/no/such\n")
	for name, tc := range map[string]struct {
		program wire.Program
		leave   bool
		report  *wire.Report // after it was let go
		line    string
		status  uint32
	}{
		"the gate is closed": {program: wire.Program{Args: []string{"/bin/cat"}}, leave: true},
		"not found": {
			program: wire.Program{Args: []string{"/missing"}}, status: ExitNotFound << 8,
			report: &wire.Report{Stage: wire.StageExec, Errno: unix.ENOENT},
		},
		"soft, not found": {
			program: wire.Program{Args: []string{"/missing"}, Soft: true}, status: ExitNotFound << 8,
			line: "codebeaker: /missing: not found\n",
		},
		"soft, a directory": {
			program: wire.Program{Args: []string{"/etc"}, Soft: true}, status: ExitNotExecutable << 8,
			line: "codebeaker: /etc: is a directory\n",
		},
		"soft, not executable": {
			program: wire.Program{Args: []string{"/etc/passwd"}, Soft: true}, status: ExitNotExecutable << 8,
			line: "codebeaker: /etc/passwd: permission denied\n",
		},
		"soft, too long a name": {
			program: wire.Program{Args: []string{"/" + strings.Repeat("x", 300)}, Soft: true}, status: ExitNotExecutable << 8,
			line: "codebeaker: /" + strings.Repeat("x", 255) + "…: file name too long\n",
		},
		"soft, a script without its first line": {
			program: wire.Program{Args: []string{file("script", "echo $0 $1 $2 >&2\nexit 5\n"), "a", "b c"}, Soft: true}, status: 5 << 8,
			line: dir + "/script a b c\n",
		},
		"soft, an empty file": {program: wire.Program{Args: []string{file("empty", "")}, Soft: true}},
		"soft, a binary file": {
			program: wire.Program{Args: []string{binary}, Soft: true}, status: ExitNotExecutable << 8,
			line: "codebeaker: " + binary + ": exec format error\n",
		},
		"soft, the line ends of Windows": {
			program: wire.Program{Args: []string{windows}, Soft: true}, status: ExitNotFound << 8,
			line: "codebeaker: " + windows + ": " + windowsScript + "\n",
		},
		"soft, no interpreter": {
			program: wire.Program{Args: []string{lost}, Soft: true}, status: ExitNotFound << 8,
			line: "codebeaker: " + lost + ": " + noInterpreter + "\n",
		},
		"soft, no working directory": {
			program: wire.Program{Args: []string{"/bin/cat"}, Dir: "/missing", Soft: true}, status: ExitNotExecutable << 8,
			line: "codebeaker: working directory /missing: no such file or directory\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, shim := agentOf(t)
			var stderr [2]int
			if err := unix.Pipe2(stderr[:], unix.O_CLOEXEC); err != nil {
				t.Fatal(err)
			}
			defer closeFD(stderr[0])
			gate := run(t, shim, 1, &tc.program, null, null, stderr[1])
			closeFD(stderr[1])
			if tc.leave {
				if err := unix.Shutdown(gate, unix.SHUT_RDWR); err != nil {
					t.Fatal(err)
				}
			} else {
				if _, err := unix.Write(gate, []byte{1}); err != nil {
					t.Fatal(err)
				}
				if got := reported(t, gate); (got == nil) != (tc.report == nil) || got != nil && *got != *tc.report {
					t.Errorf("it reports %+v", got)
				}
			}
			ended(t, s)
			if m := hear(t, shim); m.Kind != wire.Exited || !tc.leave && m.Argument != tc.status {
				t.Errorf("heard %+v", m)
			}
			line := make([]byte, 1<<10)
			n, err := unix.Read(stderr[0], line)
			if err != nil || string(line[:n]) != tc.line {
				t.Errorf("it says %q, %v", line[:n], err)
			}
		})
	}
}

// What the agent has for itself no program begins with.
func TestProgramsBeginWithNoSignalBlockedAndTheUsualTimerSlack(t *testing.T) {
	s, shim := agentOf(t)
	null, err := unix.Open(os.DevNull, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer closeFD(null)
	var stdout [2]int
	if err := unix.Pipe2(stdout[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	read := os.NewFile(uintptr(stdout[0]), "stdout")
	defer read.Close()
	gate := run(t, shim, 1, &wire.Program{Args: []string{"/bin/cat", "/proc/self/status", "/proc/self/timerslack_ns"}}, null, stdout[1], null)
	closeFD(stdout[1])
	if _, err := unix.Write(gate, []byte{1}); err != nil {
		t.Fatal(err)
	}
	said, err := io.ReadAll(read)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"\nSigBlk:\t0000000000000000\n", "\n54321\n"} {
		if !strings.Contains(string(said), want) {
			t.Errorf("no %q in\n%s", want, said)
		}
	}
	ended(t, s)
}

package agent

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"codebeaker/runtime/agent/wire"
)

// agentOf starts an agent that launches programs, and returns it, the shim's end
// of its socket, and what is closed when the launched one was forgotten.
func agentOf(t *testing.T) (*starter, int, <-chan struct{}) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can become another user, as the agent does with every program")
	}
	forgotten := make(chan struct{})
	s, shim := pair(t, nil)
	s.launch = func(p *program, fds []int) error {
		defer close(forgotten)
		return s.run(p, fds)
	}
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
	return s, shim, forgotten
}

// hear returns the agent's next message, without what came with it.
func hear(t *testing.T, shim int) wire.Message {
	t.Helper()
	buf, oob := make([]byte, wire.MaxMessage), make([]byte, unix.CmsgSpace(4*wire.MaxFDs))
	n, oobn, _, _, err := unix.Recvmsg(shim, buf, oob, unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	fds, err := rights(oob[:oobn])
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

// An agent has many programs at one time. What one of them no longer has, the
// next may have got under the same number.
func TestEndOfAProgramClosesNothingOfOthers(t *testing.T) {
	s, shim, forgotten := agentOf(t)
	var stdin [2]int
	if err := unix.Pipe2(stdin[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	null, err := unix.Open(os.DevNull, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer closeFD(null)
	packet := start(t, 2, &wire.Program{Args: []string{"/bin/cat"}, UID: uint32(os.Getuid()), GID: uint32(os.Getgid())})
	err = unix.Sendmsg(shim, packet, unix.UnixRights(stdin[0], null, null), nil, 0)
	closeFD(stdin[0])
	if err != nil {
		t.Fatal(err)
	}
	if m := hear(t, shim); m.Kind != wire.Ready {
		t.Fatalf("heard %+v", m)
	}
	if err := unix.Sendmsg(shim, wire.Message{Kind: wire.Go, ID: 2}.Append(nil), nil, nil, 0); err != nil {
		t.Fatal(err)
	}
	if m := hear(t, shim); m.Kind != wire.Running {
		t.Fatalf("heard %+v", m)
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
	s.children.mu.Lock()
	for pid := range s.children.programs {
		if err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil); err != nil {
			t.Error(err)
		}
	}
	s.children.mu.Unlock()
	s.children.reap()
	if m := hear(t, shim); m.Kind != wire.Exited || m.Argument != 0 {
		t.Errorf("heard %+v", m)
	}
	<-forgotten
	for _, fd := range others {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil {
			t.Errorf("descriptor %d: %v", fd, err)
		}
	}
}

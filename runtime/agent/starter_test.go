package agent

import (
	"errors"
	"io"
	"os"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"codebeaker/runtime/agent/wire"
)

// pair returns an agent that launches nothing and the shim's end of its socket.
func pair(t *testing.T, launch func(*program, []int) error) (*starter, int) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeAll(fds[:]) })
	s := newStarter(fds[0])
	s.launch = launch
	return s, fds[1]
}

func start(t *testing.T, id uint32, p *wire.Program) []byte {
	t.Helper()
	body, err := p.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	return append(wire.Message{Kind: wire.Start, ID: id, Argument: uint32(len(body))}.Append(nil), body...)
}

func TestAgentEndsWhereTheShimBreaksTheProtocol(t *testing.T) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	p := &wire.Program{Args: []string{"x"}}
	for name, tc := range map[string]struct {
		packet []byte
		files  int
	}{
		"too few streams":            {start(t, 1, p), 3},
		"too many streams":           {start(t, 1, p), 5},
		"a file that is not there":   {wire.Message{Kind: wire.Start, ID: 1, Argument: 9, Detail: wire.InFile}.Append(nil), 0},
		"a file that is too short":   {wire.Message{Kind: wire.Start, ID: 1, Argument: 9, Detail: wire.InFile}.Append(nil), 1},
		"what agents say":            {wire.Message{Kind: wire.Ready, ID: 1}.Append(nil), 0},
		"what agents say, and files": {wire.Message{Kind: wire.Ready, ID: 1}.Append(nil), 1},
		"more files than there are":  {start(t, 1, p), wire.MaxFDs + 1},
		"a program that is not one":  {append(wire.Message{Kind: wire.Start, ID: 1, Argument: 1}.Append(nil), 0xff), 0},
		"a packet that is too large": {make([]byte, wire.MaxMessage+2), 0},
	} {
		t.Run(name, func(t *testing.T) {
			s, shim := pair(t, func(*program, []int) error {
				t.Error("a program was started")
				return nil
			})
			var rights []byte
			if tc.files > 0 {
				rights = unix.UnixRights(slices.Repeat([]int{int(null.Fd())}, tc.files)...)
			}
			if err := unix.Sendmsg(shim, tc.packet, rights, nil, 0); err != nil {
				t.Fatal(err)
			}
			if err := s.serve(); err == nil {
				t.Error("the agent goes on")
			}
		})
	}
}

func TestAgentEndsWithTheShim(t *testing.T) {
	s, shim := pair(t, nil)
	if err := unix.Shutdown(shim, unix.SHUT_RDWR); err != nil {
		t.Fatal(err)
	}
	if err := s.serve(); err != nil && !errors.Is(err, unix.EPIPE) {
		t.Error(err)
	}
}

func TestProgramInAFileIsRead(t *testing.T) {
	launched := make(chan *program, 1)
	s, shim := pair(t, func(p *program, fds []int) error {
		closeAll(fds)
		launched <- p
		return nil
	})
	p := &wire.Program{Args: []string{"x"}, Env: []string{"LARGE=y"}, Terminal: true}
	body, err := p.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write(body); err != nil {
		t.Fatal(err)
	}
	packet := wire.Message{Kind: wire.Start, ID: 7, Argument: uint32(len(body)), Detail: wire.InFile}.Append(nil)
	if err := unix.Sendmsg(shim, packet, unix.UnixRights(int(f.Fd()), int(f.Fd())), nil, 0); err != nil {
		t.Fatal(err)
	}
	if err := unix.Shutdown(shim, unix.SHUT_WR); err != nil {
		t.Fatal(err)
	}
	if err := s.serve(); err != nil {
		t.Fatal(err)
	}
	if got := <-launched; got.id != 7 || !slices.Equal(got.spec.Env, p.Env) {
		t.Errorf("launched %+v", got.spec)
	}
}

func FuzzShimsMessages(f *testing.F) {
	f.Add(wire.Message{Kind: wire.Exited, ID: 1}.Append(nil), uint8(0))
	body, err := (&wire.Program{Args: []string{"x"}}).Append(nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(append(wire.Message{Kind: wire.Start, ID: 1, Argument: uint32(len(body))}.Append(nil), body...), uint8(4))
	null, err := os.Open(os.DevNull)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, packet []byte, files uint8) {
		s, shim := pair(t, func(p *program, fds []int) error {
			if len(fds) != p.spec.FDs() || len(p.spec.Args) == 0 {
				t.Errorf("launched %+v with %d files", p.spec, len(fds))
			}
			closeAll(fds)
			return nil
		})
		var rights []byte
		if n := int(files) % (wire.MaxFDs + 2); n > 0 {
			rights = unix.UnixRights(slices.Repeat([]int{int(null.Fd())}, n)...)
		}
		if len(packet) == 0 || unix.Sendmsg(shim, packet, rights, nil, unix.MSG_DONTWAIT) != nil {
			return
		}
		if err := unix.Shutdown(shim, unix.SHUT_WR); err != nil {
			t.Fatal(err)
		}
		if err := s.serve(); errors.Is(err, io.EOF) {
			t.Error("the end of the socket is no error")
		}
	})
}

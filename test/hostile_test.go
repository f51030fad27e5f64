package test

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	agentwire "codebeaker/runtime/agent/wire"
	"codebeaker/runtime/shim"
)

// hostileAgent is what this binary is where it is started as the agent of a
// session: one that somebody took over. What it does the program's environment
// says.
func hostileAgent(args []string) int {
	if len(args) < 3 {
		return 2 // it is not to start programs
	}
	fd, err := strconv.Atoi(args[2])
	if err != nil {
		return 2
	}
	if len(args) > 3 { // or it would not come far
		if err := confineSelf(args[3]); err != nil {
			return 2
		}
	}
	say := func(m agentwire.Message, fds ...int) {
		var rights []byte
		if len(fds) > 0 {
			rights = unix.UnixRights(fds...)
		}
		_ = unix.Sendmsg(fd, m.Append(nil), rights, nil, 0)
	}
	self, err := unix.PidfdOpen(os.Getpid(), 0)
	if err != nil {
		return 2
	}
	null, err := unix.Open(os.DevNull, unix.O_RDWR, 0)
	if err != nil {
		return 2
	}
	say(agentwire.Message{Kind: agentwire.Hello, Argument: agentwire.Version})
	buf, oob := make([]byte, agentwire.MaxMessage), make([]byte, unix.CmsgSpace(4*agentwire.MaxFDs))
	for {
		n, oobn, _, _, err := unix.Recvmsg(fd, buf, oob, 0)
		if err != nil || n == 0 {
			return 0
		}
		m, body, err := agentwire.Parse(buf[:n])
		if err != nil || m.Kind != agentwire.Start {
			continue
		}
		p, err := agentwire.ParseProgram(body)
		if err != nil {
			return 2
		}
		gate, err := lastFile(oob[:oobn])
		if err != nil {
			return 2
		}
		how := ""
		for _, kv := range p.Env {
			if value, ok := strings.CutPrefix(kv, "HOSTILE="); ok {
				how = value
			}
		}
		switch how {
		case "noise":
			_ = unix.Sendmsg(fd, slices.Repeat([]byte{0xff}, 1000), nil, nil, 0)
		case "elsewhere": // not in the program's cgroup
			say(agentwire.Message{Kind: agentwire.Ready, ID: m.ID}, self)
			_, _ = unix.Write(gate, make([]byte, agentwire.ReportLen))
		case "no pidfd":
			say(agentwire.Message{Kind: agentwire.Ready, ID: m.ID}, null)
			_, _ = unix.Write(gate, make([]byte, agentwire.ReportLen))
		case "noise at the gate":
			say(agentwire.Message{Kind: agentwire.Ready, ID: m.ID}, self)
			_, _ = unix.Write(gate, slices.Repeat([]byte{0xff}, 1000))
		case "another":
			say(agentwire.Message{Kind: agentwire.Exited, ID: m.ID + 1})
		case "hurry":
			say(agentwire.Message{Kind: agentwire.Exited, ID: m.ID})
		case "many files":
			say(agentwire.Message{Kind: agentwire.Ready, ID: m.ID}, null, null, null, null, null, null, null, null)
			_, _ = unix.Write(gate, make([]byte, agentwire.ReportLen))
		}
	}
}

// lastFile returns the last descriptor that came with a packet.
func lastFile(oob []byte) (int, error) {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil || len(messages) != 1 {
		return -1, errors.Join(err, unix.EINVAL)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) == 0 {
		return -1, errors.Join(err, unix.EINVAL)
	}
	return fds[len(fds)-1], nil
}

// confineSelf puts the filter in force that is in a file.
func confineSelf(fd string) error {
	text, err := os.ReadFile("/proc/self/fd/" + fd)
	if err != nil {
		return err
	}
	program := unix.SockFprog{Len: uint16(len(text) / unix.SizeofSockFilter), Filter: (*unix.SockFilter)(unsafe.Pointer(&text[0]))}
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&program)))
	if errno != 0 {
		return errno
	}
	return nil
}

func TestHostileAgentHarmsItsSessionAlone(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	s := private(t, "--runtime", shim.Name, "--agent", self)
	for _, how := range []string{"noise", "elsewhere", "no pidfd", "noise at the gate", "another", "hurry", "many files"} {
		t.Run(how, func(t *testing.T) {
			b := s.session(t, object{"env": object{"HOSTILE": how}})
			o, err := b.try(object{"type": "execute_shell", "commandName": "true"})
			if err == nil {
				t.Errorf("a program ran: %+v", o)
			}
			s.wantNoSessions(t)
		})
	}
	eventually(t, func() error {
		left, err := s.remains()
		left = slices.DeleteFunc(left, func(l string) bool {
			return !strings.Contains(l, "cb-") // the server itself
		})
		if err == nil && len(left) > 0 {
			err = fmt.Errorf("left behind:\n%s", strings.Join(left, "\n"))
		}
		return err
	})
}

func TestSilentAgentHoldsNobody(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	s := private(t, "--runtime", shim.Name, "--agent", self)
	asks := func(b *sandbox) <-chan error {
		answer := make(chan error, 1)
		w := &sandbox{t: t, c: s.dial(t), id: b.id}
		go func() {
			_, err := w.try(object{"type": "execute_shell", "commandName": "true"})
			answer <- err
		}()
		k := newTaskOf(t, s, b.info.ContainerID)
		eventually(t, func() error { // the shim waits for the agent
			// Its processes are told as well while it does.
			if _, err := k.Pids(k.ctx); err != nil {
				return err
			}
			if _, err := k.LoadProcess(k.ctx, "e1", nil); err != nil {
				return fmt.Errorf("load process: %w", err)
			}
			return nil
		})
		return answer
	}
	t.Run("close", func(t *testing.T) {
		b := s.session(t, object{"env": object{"HOSTILE": "silence"}})
		answer := asks(b)
		begun := time.Now()
		b.close()
		if err := <-answer; err == nil {
			t.Error("a program ran")
		}
		if d := time.Since(begun).Seconds(); d > scaled(5*time.Second) {
			t.Errorf("it took %.1f s", d)
		}
	})
	t.Run("kill", func(t *testing.T) {
		b := s.session(t, object{"env": object{"HOSTILE": "silence"}})
		answer := asks(b)
		k := newTaskOf(t, s, b.info.ContainerID)
		p, err := k.LoadProcess(k.ctx, "e1", nil)
		if err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		if err := p.Kill(k.ctx, unix.SIGKILL); err != nil {
			t.Error(err)
		}
		if err := <-answer; err == nil {
			t.Error("a program ran")
		}
		if d := time.Since(begun).Seconds(); d > scaled(5*time.Second) {
			t.Errorf("it took %.1f s", d)
		}
	})
	t.Run("time", func(t *testing.T) {
		b := s.session(t, object{"env": object{"HOSTILE": "silence"}})
		answer := asks(b)
		begun := time.Now()
		if err := <-answer; err == nil {
			t.Error("a program ran")
		}
		if d := time.Since(begun).Seconds(); d > scaled(20*time.Second) {
			t.Errorf("it took %.1f s", d)
		}
	})
}

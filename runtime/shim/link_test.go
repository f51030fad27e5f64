package shim

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"codebeaker/runtime/agent/wire"
	"codebeaker/runtime/frame"
)

// fakeAgent is the other end of a link.
type fakeAgent struct {
	t    testing.TB
	link *link
	end  *os.File
	err  chan error // what serve returned
}

func newFakeAgent(tb testing.TB) *fakeAgent {
	tb.Helper()
	l, end, err := newLink()
	if err != nil {
		tb.Fatal(err)
	}
	a := &fakeAgent{t: tb, link: l, end: end, err: make(chan error, 1)}
	tb.Cleanup(func() {
		end.Close()
		<-l.ended
	})
	go func() { a.err <- l.serve() }()
	return a
}

func (a *fakeAgent) say(packet []byte, files ...int) {
	a.t.Helper()
	var rights []byte
	if len(files) > 0 {
		rights = unix.UnixRights(files...)
	}
	if err := unix.Sendmsg(int(a.end.Fd()), packet, rights, nil, unix.MSG_NOSIGNAL); err != nil {
		a.t.Fatal(err)
	}
}

// hear returns the next message of the shim and how many files it has.
func (a *fakeAgent) hear() (wire.Message, []byte, []*os.File) {
	a.t.Helper()
	buf, oob := make([]byte, wire.MaxMessage), make([]byte, unix.CmsgSpace(4*wire.MaxFDs))
	n, oobn, _, _, err := unix.Recvmsg(int(a.end.Fd()), buf, oob, unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		a.t.Fatal(err)
	}
	m, body, err := wire.Parse(buf[:n])
	if err != nil {
		a.t.Fatal(err)
	}
	fds, err := frame.Rights(oob[:oobn])
	if err != nil {
		a.t.Fatal(err)
	}
	return m, body, files(fds)
}

func (a *fakeAgent) start() *program {
	a.t.Helper()
	p, err := a.link.start(&wire.Program{Args: []string{"x"}, Terminal: true}, nil)
	if err != nil {
		a.t.Fatal(err)
	}
	a.hear()
	return p
}

func about(kind wire.Kind, id uint32) []byte { return wire.Message{Kind: kind, ID: id}.Append(nil) }

func TestProgramsGoThroughTheirStates(t *testing.T) {
	a := newFakeAgent(t)
	a.say(wire.Message{Kind: wire.Hello, Argument: wire.Version}.Append(nil))
	p, other := a.start(), a.start()
	a.say(about(wire.Ready, p.id), int(a.end.Fd()))
	r, err := p.next(t.Context())
	if err != nil || r.message.Kind != wire.Ready || len(r.files) != 1 {
		t.Fatalf("got %+v, %v", r, err)
	}
	r.close()
	a.say(wire.Message{Kind: wire.Exited, ID: p.id, Argument: 0x300}.Append(nil))
	var kinds []wire.Kind
	for r := range p.replies {
		kinds = append(kinds, r.message.Kind)
	}
	if !slices.Equal(kinds, []wire.Kind{wire.Exited}) {
		t.Errorf("got %v", kinds)
	}
	// The agent's end is that of all its programs.
	a.end.Close()
	if _, err := other.next(t.Context()); !errors.Is(err, errAgent) {
		t.Errorf("a program of an agent that ended: %v", err)
	}
	if err := <-a.err; err != nil {
		t.Errorf("the agent's end: %v", err)
	}
	if _, err := a.link.start(&wire.Program{Args: []string{"x"}}, nil); !errors.Is(err, errAgent) {
		t.Errorf("a program for an agent that ended: %v", err)
	}
}

func TestAgentOutOfTurnIsTheEnd(t *testing.T) {
	failed := wire.Message{Kind: wire.Failed, ID: 1, Argument: uint32(wire.StageExec), Detail: 2}.Append(nil)
	exited := wire.Message{Kind: wire.Exited, ID: 1}.Append(nil)
	hello := wire.Message{Kind: wire.Hello, Argument: wire.Version}.Append(nil)
	for name, tc := range map[string]struct {
		packets [][]byte
		files   int // of the last
	}{
		"another version":       {[][]byte{wire.Message{Kind: wire.Hello, Argument: wire.Version + 1}.Append(nil)}, 0},
		"a greeting too many":   {[][]byte{hello, hello}, 0},
		"a greeting with files": {[][]byte{hello}, 1},
		"an unknown program":    {[][]byte{about(wire.Ready, 2)}, 1},
		"ready twice":           {[][]byte{about(wire.Ready, 1), about(wire.Ready, 1)}, 1},
		"exited before ready":   {[][]byte{exited}, 0},
		"exited twice":          {[][]byte{about(wire.Ready, 1), exited, exited}, 0},
		"failed after ready":    {[][]byte{about(wire.Ready, 1), failed}, 0},
		"failed twice":          {[][]byte{failed, failed}, 0},
		"failed with a file":    {[][]byte{failed}, 1},
		"what shims say":        {[][]byte{append(wire.Message{Kind: wire.Start, ID: 1, Argument: 1}.Append(nil), 0)}, 0},
		"no message":            {[][]byte{{1, 2, 3}}, 0},
		"a packet too large":    {[][]byte{make([]byte, wire.MaxMessage+5)}, 0},
		"too many files":        {[][]byte{about(wire.Ready, 1)}, wire.MaxFDs + 1},
	} {
		t.Run(name, func(t *testing.T) {
			a := newFakeAgent(t)
			p := a.start()
			for i, packet := range tc.packets {
				var files []int
				if i == len(tc.packets)-1 && tc.files > 0 {
					files = slices.Repeat([]int{int(a.end.Fd())}, tc.files)
				}
				a.say(packet, files...)
			}
			if err := <-a.err; !errors.Is(err, frame.ErrProtocol) {
				t.Errorf("got %v", err)
			}
			for r := range p.replies { // it ends
				r.close()
			}
		})
	}
}

func TestLargeProgramGoesInASealedFile(t *testing.T) {
	a := newFakeAgent(t)
	want := strings.Repeat("x", wire.MaxMessage)
	if _, err := a.link.start(&wire.Program{Args: []string{want}, Terminal: true}, nil); err != nil {
		t.Fatal(err)
	}
	m, body, files := a.hear()
	if m.Detail != wire.InFile || body != nil || len(files) != 1 {
		t.Fatalf("heard %+v with %d bytes and %d files", m, len(body), len(files))
	}
	defer files[0].Close()
	content := make([]byte, m.Argument)
	if _, err := files[0].ReadAt(content, 0); err != nil {
		t.Fatal(err)
	}
	p, err := wire.ParseProgram(content)
	if err != nil || p.Args[0] != want {
		t.Errorf("read %v", err)
	}
	if _, err := files[0].WriteAt([]byte{0}, 0); err == nil {
		t.Error("the file can be changed")
	}
	if _, err := a.link.start(&wire.Program{Args: []string{strings.Repeat("x", wire.MaxStart)}}, nil); err == nil {
		t.Error("a program beyond all bounds was sent")
	}
}

func TestAgentThatDoesNotReadHoldsNobodyForLong(t *testing.T) {
	t.Parallel()
	a := newFakeAgent(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	p := &wire.Program{Args: []string{strings.Repeat("x", wire.MaxMessage/2)}, Terminal: true}
	for ctx.Err() == nil {
		if err := a.link.conn.SetWriteDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		_, _, err := a.link.conn.WriteMsgUnix(make([]byte, wire.MaxMessage/2), nil, nil)
		if err != nil {
			break // full
		}
	}
	started := time.Now()
	if _, err := a.link.start(p, nil); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	if d := time.Since(started); d > 3*sendTimeout {
		t.Errorf("it took %s", d)
	}
}

func FuzzAgentsMessages(f *testing.F) {
	f.Add(append(about(wire.Ready, 1), about(wire.Exited, 1)...), uint8(1))
	f.Add(wire.Message{Kind: wire.Failed, ID: 1, Argument: 3, Detail: 2}.Append(nil), uint8(0))
	f.Fuzz(func(t *testing.T, packets []byte, files uint8) {
		a := newFakeAgent(t)
		p := a.start()
		var rights []byte
		if n := int(files) % (wire.MaxFDs + 2); n > 0 {
			rights = unix.UnixRights(slices.Repeat([]int{int(a.end.Fd())}, n)...)
		}
		for chunk := range slices.Chunk(packets, 13) {
			if unix.Sendmsg(int(a.end.Fd()), chunk, rights, nil, unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT) != nil {
				break
			}
		}
		if err := unix.Shutdown(int(a.end.Fd()), unix.SHUT_RDWR); err != nil {
			t.Fatal(err)
		}
		for r := range p.replies {
			if len(r.files) > 0 && r.message.Kind != wire.Ready {
				t.Errorf("files with %+v", r.message)
			}
			r.close()
		}
	})
}

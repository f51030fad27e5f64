package direct

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/containerd/containerd/api/types"
	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"codebeaker/runtime/agent/wire"
	"codebeaker/runtime/frame"
)

func ask() *Request {
	return &Request{Container: "c", ID: "e1", OOMScore: -7, Raw: true, Program: wire.Program{UID: 1000, Args: []string{"echo"}, Env: []string{"A=b"}}}
}

func TestRequestComesBackAsItWasSent(t *testing.T) {
	for _, r := range []*Request{ask(), {Container: "c", ID: "e", OOMScore: 1000, Program: wire.Program{Args: []string{"x"}, Terminal: true}}} {
		b, err := r.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		got, err := ParseRequest(b)
		if err != nil || !reflect.DeepEqual(got, r) {
			t.Errorf("got %+v, %v; sent %+v", got, err, r)
		}
		for i := range b {
			if _, err := ParseRequest(b[:i]); !errors.Is(err, frame.ErrProtocol) {
				t.Fatalf("%d of %d bytes: %v", i, len(b), err)
			}
		}
	}
	for name, r := range map[string]*Request{
		"no container":   {ID: "e", Program: wire.Program{Args: []string{"x"}}},
		"no id":          {Container: "c", Program: wire.Program{Args: []string{"x"}}},
		"a long id":      {Container: "c", ID: strings.Repeat("x", maxID+1), Program: wire.Program{Args: []string{"x"}}},
		"no program":     {Container: "c", ID: "e"},
		"a NUL in there": {Container: "c", ID: "e", Program: wire.Program{Args: []string{"x\x00"}}},
	} {
		if _, err := r.Append(nil); !errors.Is(err, frame.ErrProtocol) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestMessagesComeBackAsTheyWereSent(t *testing.T) {
	for _, m := range []Message{
		{Kind: Start, ID: 1, Argument: 2, Body: []byte("ab")},
		{Kind: Start, ID: 1, Argument: MaxRequest, Detail: InFile},
		{Kind: Started, ID: 1, Argument: 4711},
		{Kind: Failed, ID: 1, Argument: uint32(codes.NotFound), Body: []byte("no")},
		{Kind: Exited, ID: 1, Argument: 1<<16 | 0x8b, Detail: 4096},
		{Kind: Forget, ID: 1},
		{Kind: Event, Body: []byte("e")},
	} {
		got, err := Parse(m.Append(nil))
		if err != nil || !reflect.DeepEqual(got, m) {
			t.Errorf("got %+v, %v; sent %+v", got, err, m)
		}
	}
	long := Message{Kind: Failed, ID: 1, Body: make([]byte, MaxMessage)}
	if got, err := Parse(long.Append(nil)); err != nil || len(got.Body) != maxText {
		t.Errorf("a long text: %d bytes, %v", len(got.Body), err)
	}
	for name, packet := range map[string][]byte{
		"nothing":                  nil,
		"half a header":            make([]byte, frame.HeaderLen-1),
		"an unknown kind":          Message{Kind: Event + 1, ID: 1}.Append(nil),
		"kind 0":                   Message{ID: 1}.Append(nil),
		"a length that is another": Message{Kind: Start, ID: 1, Argument: 9, Body: []byte("a")}.Append(nil),
		"a file that is too large": Message{Kind: Start, ID: 1, Argument: MaxRequest + 1, Detail: InFile}.Append(nil),
		"a body and a file":        Message{Kind: Start, ID: 1, Argument: 1, Detail: InFile, Body: []byte("a")}.Append(nil),
		"no process":               Message{Kind: Started, ID: 1}.Append(nil),
		"a body where none is":     Message{Kind: Exited, ID: 1, Body: []byte("a")}.Append(nil),
		"an event of a program":    Message{Kind: Event, ID: 1, Body: []byte("e")}.Append(nil),
		"no event":                 Message{Kind: Event}.Append(nil),
		"something to forget by":   Message{Kind: Forget, ID: 1, Argument: 1}.Append(nil),
		"a packet too large":       Message{Kind: Start, ID: 1, Argument: MaxMessage, Body: make([]byte, MaxMessage)}.Append(nil),
	} {
		if m, err := Parse(packet); !errors.Is(err, frame.ErrProtocol) {
			t.Errorf("%s: got %+v, %v", name, m, err)
		}
	}
}

func FuzzRequest(f *testing.F) {
	b, err := ask().Append(nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := ParseRequest(b)
		if err != nil {
			return
		}
		again, err := r.Append(nil)
		if err != nil || !bytes.Equal(again, b) {
			t.Errorf("%q is %+v, which is %q, %v", b, r, again, err)
		}
	})
}

// fakeShim is the other end of a client.
type fakeShim struct {
	t      testing.TB
	client *Client
	conn   *net.UnixConn
	events chan *types.Envelope // what the client published
}

func newFakeShim(t *testing.T) *fakeShim {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: path, Net: "unixpacket"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	events := make(chan *types.Envelope, 8)
	c, err := Dial(path, func(e *types.Envelope) { events <- e })
	if err != nil {
		t.Fatal(err)
	}
	conn, err := l.AcceptUnix()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close()
		conn.Close()
	})
	return &fakeShim{t, c, conn, events}
}

func (s *fakeShim) hear() (Message, []int) {
	s.t.Helper()
	buf, oob := make([]byte, MaxMessage), make([]byte, unix.CmsgSpace(4*MaxFDs))
	n, oobn, _, _, err := s.conn.ReadMsgUnix(buf, oob)
	if err != nil {
		s.t.Fatal(err)
	}
	m, err := Parse(buf[:n])
	if err != nil {
		s.t.Fatal(err)
	}
	var fds []int
	if messages, err := unix.ParseSocketControlMessage(oob[:oobn]); err == nil && len(messages) == 1 {
		if fds, err = unix.ParseUnixRights(&messages[0]); err != nil {
			s.t.Fatal(err)
		}
	}
	s.t.Cleanup(func() {
		for _, fd := range fds {
			_ = unix.Close(fd)
		}
	})
	return m, fds
}

func (s *fakeShim) say(m Message) {
	s.t.Helper()
	if _, err := s.conn.Write(m.Append(nil)); err != nil {
		s.t.Fatal(err)
	}
}

// began is what a start in the background came to.
type began struct {
	program *Program
	err     error
}

func (s *fakeShim) start(ctx context.Context, r *Request, terminal, input bool) (*Streams, <-chan began) {
	s.t.Helper()
	streams, err := NewStreams(terminal, input)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		if err := streams.Close(); err != nil {
			s.t.Error(err)
		}
	})
	c := make(chan began, 1)
	go func() {
		p, err := s.client.Start(ctx, r, streams)
		c <- began{p, err}
	}()
	return streams, c
}

func TestProgramIsToldFromStartToEnd(t *testing.T) {
	s := newFakeShim(t)
	_, starting := s.start(t.Context(), ask(), false, true)
	m, fds := s.hear()
	r, err := ParseRequest(m.Body)
	if err != nil || !reflect.DeepEqual(r, ask()) || len(fds) != 6 {
		t.Fatalf("heard %+v, %v, %d descriptors", r, err, len(fds))
	}
	s.say(Message{Kind: Started, ID: m.ID, Argument: 4711, Detail: Forked})
	b := <-starting
	if b.err != nil || b.program.pid != 4711 || !b.program.Forked() {
		t.Fatalf("got %+v", b)
	}
	s.say(Message{Kind: Exited, ID: m.ID, Argument: 3, Detail: 4})
	if exit, ok := <-b.program.Exit(); !ok || exit != (Exit{Status: 3, MaxRSS: 4}) {
		t.Errorf("exit: %+v, %v", exit, ok)
	}
	if err := b.program.Forget(); err != nil {
		t.Error(err)
	}
	if forget, _ := s.hear(); forget.Kind != Forget || forget.ID != m.ID {
		t.Errorf("heard %+v", forget)
	}
}

func TestFailureKeepsItsClassAndText(t *testing.T) {
	s := newFakeShim(t)
	_, starting := s.start(t.Context(), ask(), false, true)
	m, _ := s.hear()
	s.say(Message{Kind: Failed, ID: m.ID, Argument: uint32(codes.NotFound), Body: []byte("no such container")})
	if b := <-starting; !errdefs.IsNotFound(b.err) || !strings.Contains(b.err.Error(), "no such container") {
		t.Errorf("got %v", b.err)
	}
}

func TestLongRequestGoesInAFile(t *testing.T) {
	s := newFakeShim(t)
	long := ask()
	long.Program.Args = append(long.Program.Args, strings.Repeat("x", MaxMessage))
	_, starting := s.start(t.Context(), long, false, true)
	m, fds := s.hear()
	if m.Detail != InFile || len(fds) != 7 {
		t.Fatalf("heard %+v with %d descriptors", m, len(fds))
	}
	body := make([]byte, m.Argument)
	if _, err := unix.Pread(fds[6], body, 0); err != nil {
		t.Fatal(err)
	}
	if r, err := ParseRequest(body); err != nil || !reflect.DeepEqual(r, long) {
		t.Errorf("got %+v, %v", r, err)
	}
	s.say(Message{Kind: Started, ID: m.ID, Argument: 1})
	<-starting
}

func TestShimsEndIsThatOfAllThatItTells(t *testing.T) {
	for name, end := range map[string]func(*fakeShim){
		"its end":                   func(s *fakeShim) { s.conn.Close() },
		"what is no message":        func(s *fakeShim) { _, _ = s.conn.Write([]byte("?")) },
		"a program never asked for": func(s *fakeShim) { s.say(Message{Kind: Started, ID: 99, Argument: 1}) },
		"a program started twice":   func(s *fakeShim) { s.say(Message{Kind: Started, ID: 1, Argument: 1}) },
		"an end before the start":   func(s *fakeShim) { s.say(Message{Kind: Exited, ID: 2}) },
		"a server's message":        func(s *fakeShim) { s.say(Message{Kind: Forget, ID: 1}) },
	} {
		s := newFakeShim(t)
		_, first := s.start(t.Context(), ask(), false, true)
		m, _ := s.hear()
		s.say(Message{Kind: Started, ID: m.ID, Argument: 7})
		runs := <-first
		_, second := s.start(t.Context(), ask(), false, true)
		s.hear()
		end(s)
		if b := <-second; !errdefs.IsUnavailable(b.err) {
			t.Errorf("%s: a program that was to start: %v", name, b.err)
		}
		if status, ok := <-runs.program.Exit(); ok {
			t.Errorf("%s: a program that ran: %d", name, status)
		}
		if err := runs.program.Forget(); err != nil {
			t.Errorf("%s: forget: %v", name, err)
		}
		_, third := s.start(t.Context(), ask(), false, true)
		if b := <-third; !errdefs.IsUnavailable(b.err) {
			t.Errorf("%s: a program after that: %v", name, b.err)
		}
	}
}

func TestNobodyWaitsForAShimLongerThanTheyWant(t *testing.T) {
	s := newFakeShim(t)
	ctx, cancel := context.WithCancel(t.Context())
	_, starting := s.start(ctx, ask(), false, true)
	m, _ := s.hear()
	cancel()
	if b := <-starting; !errors.Is(b.err, context.Canceled) {
		t.Errorf("got %v", b.err)
	}
	if forget, _ := s.hear(); forget.Kind != Forget || forget.ID != m.ID {
		t.Errorf("heard %+v", forget)
	}
	// What it says of a program that was forgotten comes too late, and is no harm.
	s.say(Message{Kind: Started, ID: m.ID, Argument: 1})
	_, starting = s.start(t.Context(), ask(), false, true)
	m, _ = s.hear()
	s.say(Message{Kind: Started, ID: m.ID, Argument: 2})
	if b := <-starting; b.err != nil || b.program.pid != 2 {
		t.Errorf("the next one: %+v", b)
	}
}

func TestEventsComeInTheirOrder(t *testing.T) {
	s := newFakeShim(t)
	for _, topic := range []string{"/a", "/b"} {
		body, err := proto.Marshal(&types.Envelope{Topic: topic, Namespace: "n"})
		if err != nil {
			t.Fatal(err)
		}
		s.say(Message{Kind: Event, Body: body})
	}
	for _, topic := range []string{"/a", "/b"} {
		if e := <-s.events; e.GetTopic() != topic || e.GetNamespace() != "n" {
			t.Errorf("got %v; want %s", e, topic)
		}
	}
}

func TestStreamsAreConnected(t *testing.T) {
	for _, tc := range []struct {
		terminal, input bool
		fds             int
	}{{false, true, 6}, {false, false, 5}, {true, true, 4}} {
		s := newFakeShim(t)
		streams, starting := s.start(t.Context(), ask(), tc.terminal, tc.input)
		m, fds := s.hear()
		s.say(Message{Kind: Started, ID: m.ID, Argument: 1})
		<-starting
		if len(fds) != tc.fds {
			t.Fatalf("%+v: %d descriptors", tc, len(fds))
		}
		for i, fd := range fds[:tc.fds/2] {
			flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
			if err != nil || (flags&unix.O_NONBLOCK != 0) != tc.terminal {
				t.Errorf("%+v: the program's stream %d has flags %#x, %v", tc, i, flags, err)
			}
		}
		outputs := fds[1 : 1+(tc.fds-1)/2]
		for i, f := range []io.Reader{streams.Stdout, streams.Stderr}[:len(outputs)] {
			if _, err := unix.Write(outputs[i], []byte("out")); err != nil {
				t.Fatal(err)
			}
			b := make([]byte, 3)
			if _, err := io.ReadFull(f, b); err != nil || string(b) != "out" {
				t.Errorf("%+v: output %d: %q, %v", tc, i, b, err)
			}
			// The program's end is nobody's but the shim's.
			_ = unix.Close(outputs[i])
			outputs[i] = -1
			if n, err := f.Read(b); n != 0 || !errors.Is(err, io.EOF) {
				t.Errorf("%+v: output %d after its end: %d, %v", tc, i, n, err)
			}
		}
		b := make([]byte, 8)
		if !tc.input {
			if n, err := unix.Read(fds[0], b); n != 0 || err != nil {
				t.Errorf("%+v: an input that has ended: %d, %v", tc, n, err)
			}
			continue
		}
		if _, err := streams.Stdin.WriteString("in"); err != nil {
			t.Fatal(err)
		}
		if n, err := unix.Read(fds[0], b); err != nil || string(b[:n]) != "in" {
			t.Errorf("%+v: input: %q, %v", tc, b[:n], err)
		}
		// The shim keeps it from ending.
		streams.Stdin.Close()
		if n, err := unix.FcntlInt(uintptr(fds[len(fds)-1]), unix.F_GETFL, 0); err != nil || n&unix.O_ACCMODE != unix.O_WRONLY {
			t.Errorf("%+v: the shim's end of the input has flags %#x, %v", tc, n, err)
		}
	}
}

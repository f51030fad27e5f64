package rpc

import (
	"context"
	"fmt"
	goruntime "runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"codebeaker/session"
)

// gate is an Execute that records what starts and lets each command end when
// the test says so. The name of a command is its program.
type gate struct {
	started chan string

	mu   sync.Mutex
	ends map[string]chan struct{}
}

func newGate() *gate {
	return &gate{started: make(chan string, 1000), ends: map[string]chan struct{}{}}
}

func (g *gate) execute(ctx context.Context, _ string, cmd session.Command) (*session.Outcome, error) {
	name := cmd.(*session.Shell).Name
	g.started <- name
	select {
	case <-g.end(name):
		return fakeOutcome(cmd), nil
	case <-ctx.Done():
		return nil, fmt.Errorf("execute: %w", ctx.Err())
	}
}

func (g *gate) end(name string) chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ends[name] == nil {
		g.ends[name] = make(chan struct{})
	}
	return g.ends[name]
}

func (g *gate) release(names ...string) {
	for _, name := range names {
		close(g.end(name))
	}
}

func (g *gate) wantStarted(t *testing.T, names ...string) {
	t.Helper()
	var got []string
	for range names {
		got = append(got, receiveFrom(t, "a call starts", g.started))
	}
	slices.Sort(got)
	if slices.Sort(names); !slices.Equal(got, names) {
		t.Fatalf("started %q, want %q", got, names)
	}
}

func (g *gate) wantNoMore(t *testing.T) {
	t.Helper()
	select {
	case name := <-g.started:
		t.Errorf("%s started too early", name)
	default:
	}
}

func shell(id, sessionID, name string) string {
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":%q,"method":"session.execute",`+
		`"params":{"sessionId":%q,"command":{"type":"shell","command":%q}}}`, id, sessionID, name)
}

func (c *client) wantID(id string) {
	c.t.Helper()
	if r := c.receiveResponse(); string(r.ID) != `"`+id+`"` || r.Error != nil {
		c.t.Fatalf("got the response to %s (error %v), want to %s", r.ID, r.Error, id)
	}
}

func TestCallsOfOneSessionRunInOrder(t *testing.T) {
	g := newGate()
	c := startServer(t, Options{Sessions: &fakeSessions{execute: g.execute, close: func(context.Context, string) error {
		g.started <- "close"
		return nil
	}}}).dial(t)
	c.send(shell("a1", "A", "a1"))
	c.send(shell("a2", "A", "a2"))
	c.send(`{"jsonrpc":"2.0","id":"ax","method":"session.close","params":{"sessionId":"A"}}`)
	c.send(shell("b1", "B", "b1"))
	g.wantStarted(t, "a1", "b1") // another session passes

	for id, request := range map[string]string{ // and so does what names no session
		"list":   `{"jsonrpc":"2.0","id":"list","method":"session.list"}`,
		"init":   `{"jsonrpc":"2.0","id":"init","method":"initialize"}`,
		"lang":   `{"jsonrpc":"2.0","id":"lang","method":"language.list"}`,
		"create": `{"jsonrpc":"2.0","id":"create","method":"session.create","params":{"language":"go"}}`,
	} {
		c.send(request)
		c.wantID(id)
	}
	g.wantNoMore(t)
	g.release("b1")
	c.wantID("b1")
	g.wantNoMore(t)
	g.release("a1")
	c.wantID("a1")
	g.wantStarted(t, "a2")
	g.wantNoMore(t)
	g.release("a2")
	c.wantID("a2")
	c.wantID("ax")
}

func TestSessionsOfOtherConnectionsAreNotWaitedFor(t *testing.T) {
	g := newGate()
	s := startServer(t, Options{Sessions: &fakeSessions{execute: g.execute}})
	one, other := s.dial(t), s.dial(t)
	one.send(shell("1", "A", "one"))
	other.send(shell("2", "A", "other"))
	g.wantStarted(t, "one", "other")
	g.release("one", "other")
	one.wantID("1")
	other.wantID("2")
}

func TestBatchKeepsTheOrderOfASession(t *testing.T) {
	g := newGate()
	c := startServer(t, Options{Sessions: &fakeSessions{execute: g.execute}}).dial(t)
	c.send(shell("a0", "A", "a0"))
	g.wantStarted(t, "a0")
	notification := strings.Replace(shell("x", "A", "a2"), `"id":"x",`, "", 1)
	c.send("[" + strings.Join([]string{
		shell("a1", "A", "a1"), notification, shell("b1", "B", "b1"), `7`, shell("a3", "A", "a3"),
	}, ",") + "]")
	g.wantStarted(t, "b1")
	g.wantNoMore(t)
	g.release("a0", "b1")
	c.wantID("a0") // does not wait for the batch
	for _, name := range []string{"a1", "a2", "a3"} {
		g.wantStarted(t, name)
		g.wantNoMore(t)
		g.release(name)
	}
	text := c.receive()
	at := -1
	for _, want := range []string{`"id":"a1","result"`, `"id":"b1","result"`, `"id":null,"error"`, `"id":"a3","result"`} {
		i := strings.Index(text, want)
		if i < at || i < 0 {
			t.Errorf("%s is missing or out of place in %s", want, text)
		}
		at = i
	}
	if n := strings.Count(text, `"jsonrpc"`); n != 4 {
		t.Errorf("got %d responses, want 4", n)
	}
}

func TestReceivedRequestsAreCarriedOutWithoutTheClient(t *testing.T) {
	for _, how := range []string{"close frame", "lost connection"} {
		t.Run(how, func(t *testing.T) {
			g := newGate()
			s := startServer(t, Options{Sessions: &fakeSessions{execute: g.execute}})
			c := s.dial(t)
			c.send(shell("1", "A", "first"))
			c.send(shell("2", "A", "second"))
			g.wantStarted(t, "first")
			if how == "close frame" {
				_ = c.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(1000, ""), time.Now().Add(patience))
				c.wantClosed(1000)
			}
			_ = c.Conn.Close()
			eventually(t, "the server notices", func() bool {
				gone := true
				s.states(func(st *state) { gone = gone && st.gone })
				return gone
			})
			g.release("first")
			g.wantStarted(t, "second") // and not cancelled, as the gate would say
			if s.connections() != 1 {
				t.Error("the connection does not count while its calls run")
			}
			g.release("second")
			eventually(t, "the connection is forgotten", func() bool { return s.connections() == 0 })
		})
	}
}

func TestReaderWaitsForPendingRequests(t *testing.T) {
	g := newGate()
	s := startServer(t, Options{Sessions: &fakeSessions{execute: g.execute}, MaxPendingRequests: 4})
	c := s.dial(t)
	for i := range 10 {
		c.send(shell(fmt.Sprint(i), fmt.Sprint("session", i), fmt.Sprint("p", i)))
	}
	g.wantStarted(t, "p0", "p1", "p2", "p3")
	s.states(func(st *state) {
		if !st.full() || st.requests != 4 {
			t.Errorf("%d requests are pending, full is %v; want 4 and true", st.requests, st.full())
		}
	})
	g.wantNoMore(t)
	for i := range 10 { // no request was refused
		g.release(fmt.Sprint("p", i))
		c.wantID(fmt.Sprint(i))
	}
}

// However many calls wait behind one, another that waits for none is carried out.
func TestCallsThatWaitKeepTheReaderFromNothing(t *testing.T) {
	g := newGate()
	s := startServer(t, Options{Sessions: &fakeSessions{execute: g.execute}, MaxPendingRequests: 4})
	c := s.dial(t)
	const behind = 1000
	for i := range behind {
		c.send(shell(fmt.Sprint("a", i), "A", fmt.Sprint("p", i)))
	}
	c.send(shell("b", "B", "b"))
	g.wantStarted(t, "p0", "b")
	g.release("b")
	c.wantID("b")
	for i := range behind {
		g.release(fmt.Sprint("p", i))
		c.wantID(fmt.Sprint("a", i))
	}
	eventually(t, "nothing is counted any more", func() (idle bool) {
		s.states(func(st *state) { idle = st.requests == 0 && st.waiting == 0 && st.bytes == 0 })
		return idle
	})
}

func TestReaderWaitsForPendingBytes(t *testing.T) {
	g := newGate()
	s := startServer(t, Options{Sessions: &fakeSessions{execute: g.execute}, MaxPendingBytes: 3000 + 3*callBytes})
	c := s.dial(t)
	for i := range 4 {
		c.send(shell(fmt.Sprint(i), fmt.Sprint("session", i), fmt.Sprint("p", i)) + strings.Repeat(" ", 1000))
	}
	g.wantStarted(t, "p0", "p1", "p2")
	g.release("p0")
	c.wantID("0")
	g.wantStarted(t, "p3")
	g.release("p1", "p2", "p3")
	for range 3 {
		c.receive()
	}
}

// bigRead is an Execute that reads files of a size. Peak reports the most bytes
// of replies that the server held when one was read.
func bigRead(size int, peak func()) func(context.Context, string, session.Command) (*session.Outcome, error) {
	content := []byte(strings.Repeat("x", size))
	return func(context.Context, string, session.Command) (*session.Outcome, error) {
		peak()
		return &session.Outcome{Success: true, Result: &session.ReadFileResult{Content: content}}, nil
	}
}

func read(id int) string {
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":"%d","method":"session.execute",`+
		`"params":{"sessionId":"A","command":{"type":"read_file","path":"a"}}}`, id)
}

func TestThousandRequestsWithoutReading(t *testing.T) {
	const (
		size   = 16 << 10 // all replies together are more than the kernel takes
		bound  = 256 << 10
		number = 1000
	)
	var s *testServer
	var most int64
	s = startServer(t, Options{MaxQueuedBytes: bound, Sessions: &fakeSessions{execute: bigRead(size, func() {
		s.states(func(st *state) { most = max(most, st.queued) }) // one session, one call at a time
	})}})
	c := s.dial(t)
	for i := range number {
		c.send(read(i))
	}
	eventually(t, "the server waits for the client", func() bool {
		full := false
		s.states(func(st *state) { full = st.queued >= bound })
		return full
	})
	for i := range number {
		want := fmt.Sprintf(`{"jsonrpc":"2.0","id":"%d","result":`, i)
		if got := c.receive(); !strings.HasPrefix(got, want) {
			t.Fatalf("got %.100s, want %s", got, want)
		}
	}
	if most > bound+size+1000 {
		t.Errorf("the server held %d bytes of replies, the bound is %d", most, bound)
	}
}

func TestBatchReplyIsBounded(t *testing.T) {
	ran := 0
	s := startServer(t, Options{MaxQueuedBytes: 1 << 20, Sessions: &fakeSessions{
		execute: bigRead(256<<10, func() { ran++ }),
	}})
	c := s.dial(t)
	requests := []string{}
	for i := range 10 {
		requests = append(requests, read(i))
	}
	c.send("[" + strings.Join(requests, ",") + "]")
	text := c.receive()
	if ran != 4 || strings.Count(text, `"result":{"success"`) != 4 || strings.Count(text, `"code":-32004`) != 6 {
		t.Errorf("carried out %d, answered with %d results and %d errors; want 4, 4 and 6",
			ran, strings.Count(text, `"result":{"success"`), strings.Count(text, `"code":-32004`))
	}
}

func TestClientThatDoesNotReadIsDropped(t *testing.T) {
	s := startServer(t, Options{
		WriteTimeout: 100 * time.Millisecond, MaxQueuedBytes: 1 << 20,
		Sessions: &fakeSessions{execute: bigRead(1<<20, func() {})},
	})
	deaf, other := s.dial(t), s.dial(t)
	for i := range 24 {
		deaf.send(read(i))
	}
	eventually(t, "the deaf client is dropped", func() bool {
		other.send(`{"jsonrpc":"2.0","id":"o","method":"session.list"}`) // others do not notice
		other.wantID("o")
		return s.connections() == 1
	})
	if !strings.Contains(s.logs.String(), "does not read its replies") {
		t.Error("no log line says so")
	}
	s.states(func(st *state) {
		if st.gone || st.queued > 0 && len(st.outbox) > 0 {
			t.Errorf("the other connection has %d bytes queued, gone is %v", st.queued, st.gone)
		}
	})
}

func TestStateOfALostConnectionHoldsNoReplies(t *testing.T) {
	st := &state{maxRequests: 10, maxBytes: 100, maxQueued: 10, queues: map[string][]*call{}, calls: map[*call]struct{}{}}
	take := func(sessionID string) *call {
		f := &frame{size: 50, responses: make([][]byte, 1)}
		c := &call{frame: f, queue: sessionID, request: request{id: nullID()}}
		st.take(f, []*call{c})
		return c
	}
	a, b := take("A"), take("A")
	if started := st.start(); len(started) != 1 || started[0] != a || !st.full() {
		t.Fatalf("started %d, full is %v; want the first only, true", len(started), st.full())
	}
	st.finish(a, make([]byte, 20))
	if started := st.start(); len(started) != 0 {
		t.Error("a call started while replies wait for the client")
	}
	st.lose()
	if started := st.start(); len(started) != 1 || started[0] != b {
		t.Error("the second call does not start after the loss")
	}
	st.finish(b, make([]byte, 20))
	if st.requests != 0 || st.bytes != 0 || st.queued != 0 || len(st.outbox) != 0 || len(st.queues) != 0 {
		t.Errorf("something is left: %+v", st)
	}
}

func TestClosingLeavesNoGoroutine(t *testing.T) {
	before := goruntime.NumGoroutine()
	t.Run("life", func(t *testing.T) {
		s := startServer(t, Options{})
		for i := range 50 {
			c := s.dial(t)
			c.send(shell("1", "A", "x"))
			c.wantID("1")
			switch i % 3 {
			case 0: // the server closes
			case 1:
				_ = c.Conn.Close()
			default:
				_ = c.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(1000, ""), time.Now().Add(patience))
			}
		}
	})
	eventually(t, "as many goroutines as before", func() bool { return goruntime.NumGoroutine() <= before })
}

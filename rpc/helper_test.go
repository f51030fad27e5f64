package rpc

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"codebeaker/session"
)

// patience is how long a test waits for what must happen; nothing in a good
// run takes it.
const patience = 20 * time.Second

// fakeSessions answers from its functions, and with fixed values where there
// are none.
type fakeSessions struct {
	create    func(context.Context, session.CreateRequest) (session.Info, error)
	execute   func(context.Context, string, session.Command) (*session.Outcome, error)
	list      func(context.Context) ([]session.Info, error)
	close     func(context.Context, string) error
	languages func(context.Context) ([]session.Language, error)
}

// manager is what a *session.Manager is to a Server.
type manager interface {
	Sessions
	Commands
	Executions
	Catalogue
}

var created = time.Date(2025, 10, 27, 12, 0, 0, 0, time.UTC)

func fakeInfo(req session.CreateRequest) session.Info {
	info := session.Info{
		ID: "s1", ContainerID: "c1", Language: req.Language, CreatedAt: created,
		LastActivity: created.Add(15*time.Minute + 30*time.Second), State: session.StateActive, ExecutionCount: 5,
		IdleTimeout: 30 * time.Minute, MaxLifetime: 2 * time.Hour,
		Limits: session.Limits{MemoryBytes: 512 << 20, CPUs: 1, Pids: 256},
	}
	if req.IdleTimeout != 0 {
		info.IdleTimeout = req.IdleTimeout
	}
	if req.Limits.MemoryBytes != 0 {
		info.Limits.MemoryBytes = req.Limits.MemoryBytes
	}
	return info
}

func (f *fakeSessions) Create(ctx context.Context, req session.CreateRequest) (session.Info, error) {
	if f.create != nil {
		return f.create(ctx, req)
	}
	return fakeInfo(req), nil
}

func (f *fakeSessions) Execute(ctx context.Context, id string, cmd session.Command) (*session.Outcome, error) {
	if f.execute != nil {
		return f.execute(ctx, id, cmd)
	}
	return fakeOutcome(cmd), nil
}

func fakeOutcome(cmd session.Command) *session.Outcome {
	o := &session.Outcome{Success: true, Duration: 45 * time.Millisecond}
	switch c := cmd.(type) {
	case *session.WriteFile:
		o.Result = &session.WriteFileResult{Path: c.Path, Bytes: int64(len(c.Content))}
	case *session.ReadFile:
		o.Result = &session.ReadFileResult{Path: c.Path, Content: []byte("text\n")}
	case *session.Shell:
		o.Result = &session.ExecutionResult{
			ID: "e1", Stdout: []byte("20\n"), Duration: 12 * time.Millisecond, EndReason: session.EndExited,
			Usage: session.Usage{CPU: 9 * time.Millisecond, PeakMemoryBytes: 9437184, MaxRSSBytes: 8388608},
		}
	}
	return o
}

func (f *fakeSessions) List(ctx context.Context) ([]session.Info, error) {
	if f.list != nil {
		return f.list(ctx)
	}
	return nil, nil
}

func (f *fakeSessions) Close(ctx context.Context, id string) error {
	if f.close != nil {
		return f.close(ctx, id)
	}
	return nil
}

func (*fakeSessions) Get(context.Context, string) (session.Info, error) {
	return fakeInfo(session.CreateRequest{Language: "python"}), nil
}

func (f *fakeSessions) Touch(ctx context.Context, id string) (session.Info, error) {
	return f.Get(ctx, id)
}

func (*fakeSessions) Start(context.Context, string, session.Program, bool) (*session.Execution, error) {
	return nil, errors.New("the fake starts nothing")
}

func (*fakeSessions) Run(context.Context, session.RunRequest) (*session.Execution, error) {
	return nil, errors.New("the fake runs nothing")
}

func (*fakeSessions) Execution(context.Context, string) (*session.Execution, error) {
	return nil, session.ErrExecution
}

func (*fakeSessions) Attach(context.Context, string) (*session.Execution, error) {
	return nil, session.ErrExecution
}

func (*fakeSessions) Executions(context.Context, string) ([]session.ExecutionInfo, error) {
	return nil, nil
}

func (*fakeSessions) Closed(context.Context, string) (session.Reason, error) {
	return "", session.ErrNotFound
}

func (f *fakeSessions) Languages(ctx context.Context) ([]session.Language, error) {
	if f.languages != nil {
		return f.languages(ctx)
	}
	return []session.Language{{Name: "python", Aliases: []string{"py"}, Version: "3.13", Image: "img", Ready: true}}, nil
}

// testServer is a Server on a loopback port or on pipes.
type testServer struct {
	*Server
	http   *httptest.Server
	dialer websocket.Dialer
	logs   *logBuffer
}

// startServer starts a Server on a loopback port.
func startServer(t *testing.T, opts Options) *testServer {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return startServerOn(t, listener, opts)
}

// wantTaken waits until the server has taken a number of requests of its one
// connection.
func (s *testServer) wantTaken(t *testing.T, n int) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d requests are taken", n), func() bool {
		taken := 0
		s.states(func(st *state) { taken = st.requests })
		return taken == n
	})
}

// startServerOnPipes starts a Server for tests in a synctest bubble: of what
// they do nothing depends on how fast the machine is.
func startServerOnPipes(t *testing.T, opts Options) *testServer {
	t.Helper()
	pipes := &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
	s := startServerOn(t, pipes, opts)
	s.dialer.NetDialContext = pipes.dial
	return s
}

// startServerOn starts a Server and shuts it down, completely, after the test.
func startServerOn(t *testing.T, listener net.Listener, opts Options) *testServer {
	t.Helper()
	if opts.Sessions == nil {
		opts.Sessions = &fakeSessions{}
	}
	if all, ok := opts.Sessions.(manager); ok {
		opts.Commands, opts.Executions, opts.Catalogue = all, all, all
	}
	logs := &logBuffer{}
	opts.Log = slog.New(slog.NewTextHandler(logs, &slog.HandlerOptions{Level: slog.LevelDebug}))
	if opts.CloseTimeout == 0 {
		opts.CloseTimeout = time.Second
	}
	s := &testServer{Server: New(opts), logs: logs}
	s.started = created
	s.now = func() time.Time { return created.Add(18 * time.Minute) }
	s.http = &httptest.Server{Listener: listener, Config: &http.Server{Handler: s.Handler()}}
	s.http.Start()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), patience)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		s.http.Close()
		if t.Failed() {
			t.Logf("log:\n%s", logs)
		}
	})
	return s
}

func (s *testServer) url() string { return "ws" + strings.TrimPrefix(s.http.URL, "http") + Path }

// client is a WebSocket client whose every failure is the test's.
type client struct {
	*websocket.Conn
	t *testing.T
}

func (s *testServer) dial(t *testing.T) *client {
	t.Helper()
	ws, _, err := s.dialer.DialContext(t.Context(), s.url(), nil)
	if err != nil {
		t.Fatalf("dial: %v", err)
	}
	t.Cleanup(func() { _ = ws.Close() })
	return &client{ws, t}
}

func (c *client) send(text string) {
	c.t.Helper()
	_ = c.SetWriteDeadline(time.Now().Add(patience))
	if err := c.WriteMessage(websocket.TextMessage, []byte(text)); err != nil {
		c.t.Fatalf("send: %v", err)
	}
}

func (c *client) receive() string {
	c.t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(patience))
	kind, text, err := c.ReadMessage()
	if err != nil {
		c.t.Fatalf("receive: %v", err)
	}
	if kind != websocket.TextMessage {
		c.t.Fatalf("received a frame of type %d, want text", kind)
	}
	return string(text)
}

// response is a response as far as most tests look at it.
type response struct {
	ID     json.RawMessage
	Result json.RawMessage
	Error  *wireError
}

func (c *client) receiveResponse() response {
	c.t.Helper()
	var r response
	text := c.receive()
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		c.t.Fatalf("%v: %s", err, text)
	}
	return r
}

// wantClosed reads until the connection ends, which must be with a close frame
// of the code, and returns what came before it.
func (c *client) wantClosed(code int) []string {
	c.t.Helper()
	var texts []string
	for {
		_ = c.SetReadDeadline(time.Now().Add(patience))
		_, text, err := c.ReadMessage()
		if err == nil {
			texts = append(texts, string(text))
			continue
		}
		if !websocket.IsCloseError(err, code) {
			c.t.Errorf("connection ended with %v, want close code %d", err, code)
		}
		return texts
	}
}

// eventually waits for a condition that nothing signals.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	for !condition() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("never: %s", what)
		}
	}
}

// receiveFrom takes from a channel what must come.
func receiveFrom[T any](t *testing.T, what string, ch <-chan T) T {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	select {
	case v := <-ch:
		return v
	case <-deadline.C:
		t.Fatalf("never: %s", what)
		panic("unreachable")
	}
}

// states calls f with the state of every connection.
func (s *testServer) states(f func(*state)) {
	s.eachConn(func(c *conn) {
		c.mu.Lock()
		defer c.mu.Unlock()
		f(&c.state)
	})
}

func (s *testServer) connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.serving
}

// pipeListener listens for connections that no kernel buffers.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (l *pipeListener) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case l.conns <- far:
		return near, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	closeOnce(l.closed)
	return nil
}

func (l *pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }

type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

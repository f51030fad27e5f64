// Package clienttest is the other end of clients, for tests: a Server whose
// answers a test writes down, and a Proxy that cuts connections.
package clienttest

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/gorilla/websocket"
)

// Request is a request of a client.
type Request struct {
	ID     json.RawMessage `json:"id"`
	Method string          `json:"method"`
	Params json.RawMessage `json:"params"`
}

// Server answers the requests of clients as its handler says.
type Server struct {
	// URL is of its endpoint.
	URL string

	tb     testing.TB
	handle func(c *Conn, r Request)

	mu    sync.Mutex
	conns map[*Conn]bool
}

// NewServer starts a server that ends with the test. handle is called for one
// request of a connection after the other.
func NewServer(tb testing.TB, handle func(c *Conn, r Request)) *Server {
	tb.Helper()
	s := &Server{tb: tb, handle: handle, conns: map[*Conn]bool{}}
	h := httptest.NewServer(http.HandlerFunc(s.serve))
	s.URL = "ws" + strings.TrimPrefix(h.URL, "http") + "/ws/jsonrpc"
	tb.Cleanup(func() {
		s.Cut()
		h.Close()
	})
	return s
}

// Cut ends all connections without a goodbye.
func (s *Server) Cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		c.Cut()
	}
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	upgrader := websocket.Upgrader{}
	ws, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return // it was answered
	}
	c := &Conn{tb: s.tb, ws: ws, Done: make(chan struct{})}
	s.mu.Lock()
	s.conns[c] = true
	s.mu.Unlock()
	defer func() {
		close(c.Done)
		c.work.Wait()
		s.mu.Lock()
		delete(s.conns, c)
		s.mu.Unlock()
		_ = ws.Close()
	}()
	for {
		_, text, err := ws.ReadMessage()
		if err != nil {
			return
		}
		var request Request
		if err := json.Unmarshal(text, &request); err != nil {
			s.tb.Errorf("the client sent %q: %v", text, err)
			return
		}
		s.handle(c, request)
	}
}

// Conn is a client's connection.
type Conn struct {
	// Done is closed when nothing more is read from it.
	Done chan struct{}

	tb   testing.TB
	ws   *websocket.Conn
	work sync.WaitGroup

	mu sync.Mutex // serialises messages
}

// Go does something for the connection beside its requests.
func (c *Conn) Go(f func()) { c.work.Go(f) }

// Reply answers a request.
func (c *Conn) Reply(r Request, result any) {
	c.send(map[string]any{"jsonrpc": "2.0", "id": r.ID, "result": result})
}

// Refuse answers a request with an error.
func (c *Conn) Refuse(r Request, code int, text string) { c.RefuseWith(r, code, text, nil) }

// RefuseWith answers a request with an error that has data.
func (c *Conn) RefuseWith(r Request, code int, text string, data json.RawMessage) {
	c.send(map[string]any{"jsonrpc": "2.0", "id": r.ID, "error": map[string]any{"code": code, "message": text, "data": data}})
}

// Notify sends a notification. It returns false where the connection has ended.
func (c *Conn) Notify(method string, params map[string]any) bool {
	return c.send(map[string]any{"jsonrpc": "2.0", "method": method, "params": params})
}

func (c *Conn) send(message any) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ws.WriteJSON(message) == nil
}

// Cut ends the connection without a goodbye.
func (c *Conn) Cut() { c.ws.NetConn().Close() }

// Decode decodes the params of a request.
func Decode[T any](tb testing.TB, r Request) T {
	tb.Helper()
	var v T
	if err := json.Unmarshal(r.Params, &v); err != nil {
		tb.Errorf("decode params of %s: %v", r.Method, err)
	}
	return v
}

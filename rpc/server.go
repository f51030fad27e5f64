package rpc

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"codebeaker/session"
)

// Server is the front of the server. It is made by New.
type Server struct {
	// requests and replies are what messages and replies of all connections take.
	requests, replies *budget

	opts    Options
	methods map[string]method
	// unnamed is method.ended of requests that name no method that there is.
	unnamed  func(code int, took time.Duration)
	commands commands
	document documentText
	handler  http.Handler
	started  time.Time
	now      func() time.Time

	mu        sync.Mutex
	places    int    // taken by connections, those being made included
	serving   int    // those, and the ones whose client left
	connected uint64 // connections that were added
	conns     map[*conn]struct{}
	left      []*conn // those whose client left, the first one first
	calls     int     // taken and not ended, of all connections
	stopping  bool
	// idle is closed when stopping and no call is left, gone when no connection
	// is left either.
	idle, gone chan struct{}
}

// New returns a Server that carries out requests with what opts name. Whoever
// serves its Handler calls Shutdown in the end.
func New(opts Options) *Server {
	s := &Server{
		opts:     opts.withDefaults(),
		commands: newCommands(),
		now:      time.Now,
		conns:    map[*conn]struct{}{},
		idle:     make(chan struct{}),
		gone:     make(chan struct{}),
	}
	s.requests, s.replies = newBudget(s.opts.MaxHeldBytes/2), newBudget(s.opts.MaxHeldBytes/2)
	s.started = s.now()
	s.methods = s.methodTable()
	for name, m := range s.methods {
		m.ended = s.opts.Observer.Requests(name)
		s.methods[name] = m
	}
	s.unnamed = s.opts.Observer.Requests("")
	s.document = s.newDocument().encode()
	s.handler = s.routes()
	return s
}

// Handler serves /ws/jsonrpc, /health and /metrics. It goes on answering during a
// Shutdown, so the http.Server should be stopped after that.
func (s *Server) Handler() http.Handler { return s.handler }

// Shutdown takes no more requests and answers new ones with code -32008. It
// waits for the calls that were taken and for the executions and sessions whose
// end a client is to be told of, which others end meanwhile, and when ctx ends
// gives both up. Then it
// sends close code 1001 to every client and waits until all goroutines have
// ended. Calls that do not end within CloseTimeout of being cancelled are given
// up on, with an error.
func (s *Server) Shutdown(ctx context.Context) error {
	s.stop()
	var err error
	if !waitFor(s.idle, ctx.Done()) {
		err = fmt.Errorf("wait for running requests: %w", context.Cause(ctx))
		s.eachConn(func(c *conn) { c.giveUp(context.Canceled) })
		grace := time.NewTimer(s.opts.CloseTimeout)
		defer grace.Stop()
		waitFor(s.idle, grace.C)
	}

	s.eachConn(func(c *conn) { c.close(websocket.CloseGoingAway, "server is shutting down") })
	// A client has WriteTimeout for each piece of what is queued and CloseTimeout
	// to answer. Whoever takes longer than both is not waited for.
	grace := time.NewTimer(s.opts.WriteTimeout + s.opts.CloseTimeout)
	defer grace.Stop()
	if waitFor(s.gone, grace.C) {
		return err
	}
	s.eachConn((*conn).lost)
	last := time.NewTimer(s.opts.CloseTimeout)
	defer last.Stop()
	if waitFor(s.gone, last.C) {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return errors.Join(err, fmt.Errorf("%d requests went on after they were cancelled", s.calls))
}

// waitFor says whether done came before given up.
func waitFor[T any](done <-chan struct{}, giveUp <-chan T) bool {
	select {
	case <-done:
		return true
	case <-giveUp:
	}
	select { // both may have come
	case <-done:
		return true
	default:
		return false
	}
}

func (s *Server) eachConn(f func(*conn)) {
	s.mu.Lock()
	conns := slices.Collect(maps.Keys(s.conns))
	s.mu.Unlock()
	for _, c := range conns {
		f(c)
	}
}

func (s *Server) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.stopping {
		s.stopping = true
		s.signal()
	}
}

// signal tells a Shutdown how far things are. The caller holds mu and has just
// made one of its conditions true.
func (s *Server) signal() {
	if s.stopping && s.calls == 0 {
		closeOnce(s.idle)
		if s.serving == 0 {
			closeOnce(s.gone)
		}
	}
}

func closeOnce(ch chan struct{}) {
	select {
	case <-ch:
	default:
		close(ch)
	}
}

// beginCall counts a call, or says that no more are taken.
func (s *Server) beginCall() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopping {
		return false
	}
	s.calls++
	return true
}

// continueCall counts what goes on behind the call that the caller carries out.
// Whoever does it calls endCall, too.
func (s *Server) continueCall() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls++
}

func (s *Server) endCall() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls--
	s.signal()
}

// reserve takes a place for a connection, or says why there is none.
func (s *Server) reserve() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopping {
		return errors.New("the server is shutting down")
	}
	if s.places >= s.opts.MaxConnections {
		return fmt.Errorf("the server has its limit of %d connections; try again when others have closed",
			s.opts.MaxConnections)
	}
	s.places++
	s.serving++
	return nil
}

// unreserve gives the place back of a connection that was never made.
func (s *Server) unreserve() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.places--
	s.serving--
	s.signal()
}

// add lets a Shutdown reach a connection. It returns false where one came
// before.
func (s *Server) add(c *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conns[c] = struct{}{}
	s.connected++
	return !s.stopping
}

// leave gives back the place of a connection whose client left. Of more such
// connections than there may be others, the first ones are given up: what waits
// for them ends, and not what they started.
func (s *Server) leave(c *conn) {
	s.mu.Lock()
	s.places--
	s.left = append(s.left, c)
	var first *conn
	if len(s.left) > s.opts.MaxConnections {
		first = s.left[0]
		s.left = slices.Delete(s.left, 0, 1)
	}
	s.mu.Unlock()
	if first != nil {
		first.giveUp(session.ErrLeft)
	}
}

// remove forgets a connection that left, with all that it had.
func (s *Server) remove(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	if at := slices.Index(s.left, c); at >= 0 {
		s.left = slices.Delete(s.left, at, at+1)
	}
	s.serving--
	s.signal()
}

package rpc

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"codebeaker/session"
)

// shutdown calls Shutdown and returns when it has begun.
func (s *testServer) shutdown(ctx context.Context, t *testing.T) <-chan error {
	t.Helper()
	ended := make(chan error, 1)
	go func() { ended <- s.Shutdown(ctx) }()
	eventually(t, "the server is stopping", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.stopping
	})
	return ended
}

func TestShutdownDrains(t *testing.T) {
	g := newGate()
	s := startServer(t, Options{Sessions: &fakeSessions{execute: g.execute}})
	c := s.dial(t)
	c.send(shell("1", "A", "first"))
	c.send(shell("2", "A", "second"))
	g.wantStarted(t, "first")
	s.wantTaken(t, 2)
	ended := s.shutdown(t.Context(), t)

	c.send(listRequest)
	if r := c.receiveResponse(); r.Error == nil || r.Error.Code != codeCancelled {
		t.Errorf("a new request is answered with %+v, want code %d", r, codeCancelled)
	}
	if _, resp, err := websocket.DefaultDialer.DialContext(t.Context(), s.url(), nil); err == nil || resp.StatusCode != 503 {
		t.Errorf("a new connection: got %v, want status 503", err)
	}
	g.release("first")
	c.wantID("1")
	g.wantStarted(t, "second") // it was received
	g.release("second")
	c.wantID("2")
	c.wantClosed(websocket.CloseGoingAway)
	if err := receiveFrom(t, "Shutdown ends", ended); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	if n := s.connections(); n != 0 {
		t.Errorf("%d connections are left", n)
	}
}

func TestShutdownOutOfTimeCancels(t *testing.T) {
	g := newGate()
	s := startServer(t, Options{Sessions: &fakeSessions{execute: g.execute}})
	c := s.dial(t)
	c.send(shell("1", "A", "first"))
	c.send(shell("2", "A", "second"))
	g.wantStarted(t, "first")
	s.wantTaken(t, 2)
	ctx, cancel := context.WithCancel(t.Context())
	ended := s.shutdown(ctx, t)
	cancel()
	for range 2 {
		if r := c.receiveResponse(); r.Error == nil || r.Error.Code != codeCancelled {
			t.Errorf("got %+v, want code %d", r, codeCancelled)
		}
	}
	c.wantClosed(websocket.CloseGoingAway)
	if err := receiveFrom(t, "Shutdown ends", ended); !errors.Is(err, context.Canceled) {
		t.Errorf("Shutdown: got %v, want %v", err, context.Canceled)
	}
	g.wantNoMore(t)
}

func TestShutdownGivesUpOnStuckCalls(t *testing.T) {
	stuck, entered := make(chan struct{}), make(chan struct{})
	s := startServer(t, Options{
		CloseTimeout: 10 * time.Millisecond, WriteTimeout: 10 * time.Millisecond,
		Sessions: &fakeSessions{list: func(context.Context) ([]session.Info, error) {
			close(entered)
			<-stuck
			return nil, nil
		}},
	})
	c := s.dial(t)
	c.send(listRequest)
	receiveFrom(t, "the call runs", entered)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Shutdown(ctx); err == nil || errors.Is(err, context.Canceled) && s.connections() == 0 {
		t.Errorf("Shutdown: got %v with %d connections", err, s.connections())
	}
	close(stuck)
	if err := s.Shutdown(t.Context()); err != nil { // may be called again
		t.Errorf("second Shutdown: %v", err)
	}
}

func TestShutdownDoesNotWaitForClientsThatReadSlowly(t *testing.T) {
	for _, pace := range []time.Duration{time.Hour, 5 * time.Millisecond} {
		t.Run(pace.String(), func(t *testing.T) {
			s := startServer(t, Options{
				CloseTimeout: 100 * time.Millisecond, WriteTimeout: 400 * time.Millisecond,
				Sessions: &fakeSessions{execute: bigRead(16<<20, func() {})},
			})
			c := s.dial(t)
			if err := c.NetConn().(*net.TCPConn).SetReadBuffer(128 << 10); err != nil {
				t.Fatal(err)
			}
			for i := range 4 {
				c.send(read(i))
			}
			eventually(t, "the server waits for the client", func() bool {
				queued := int64(0)
				s.states(func(st *state) { queued = st.queued })
				return queued > 16<<20 // more than the kernel takes
			})
			ended := s.shutdown(t.Context(), t)
			tick := time.NewTicker(pace)
			defer tick.Stop()
			for piece := make([]byte, writePiece); ; {
				select {
				case <-tick.C:
					_, _ = c.NetConn().Read(piece)
					continue
				case err := <-ended:
					if err != nil {
						t.Errorf("Shutdown: %v", err)
					}
				}
				break
			}
		})
	}
}

func TestShutdownDeliversTheLastNotifications(t *testing.T) {
	st := startStage(t, nil, Options{})
	c := st.dial(t)
	s := c.session()
	e := c.start(s, "block")
	c.call("execution.attach", map[string]any{"executionId": e})
	c.wantAny(`stderr@0 "err"`, `stdout@0 "out"`)
	ended := st.shutdown(t.Context(), t)
	drain, cancel := context.WithCancel(t.Context())
	cancel() // programs that do not end are ended
	if err := st.manager.Shutdown(drain); err != nil {
		t.Error(err)
	}
	c.wantHeard("completed 137 session_closed", "ended shutdown")
	c.wantClosed(websocket.CloseGoingAway)
	if err := receiveFrom(t, "Shutdown ends", ended); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
}

func TestShutdownOutOfTimeGivesUpFollowing(t *testing.T) {
	st := startStage(t, nil, Options{})
	c := st.dial(t)
	e := c.start(c.session(), "block")
	c.call("execution.attach", map[string]any{"executionId": e})
	c.wantAny(`stderr@0 "err"`, `stdout@0 "out"`)
	ctx, cancel := context.WithCancel(t.Context())
	ended := st.shutdown(ctx, t)
	cancel()
	c.wantClosed(websocket.CloseGoingAway)
	if err := receiveFrom(t, "Shutdown ends", ended); !errors.Is(err, context.Canceled) {
		t.Errorf("Shutdown: got %v, want %v", err, context.Canceled)
	}
}

package rpc

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"codebeaker/session"
)

// told is an observer that writes down what it is told.
type told struct {
	mu   sync.Mutex
	list []string
}

func (o *told) Requests(method string) func(int, time.Duration) {
	return func(code int, took time.Duration) {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.list = append(o.list, fmt.Sprintf("%s %d %s", method, code, took))
	}
}

// take returns what it was told since the last call, sorted: the requests of a
// batch end in any order.
func (o *told) take() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	list := o.list
	o.list = nil
	slices.Sort(list)
	return list
}

func TestObserverIsToldOfEveryRequestBeforeTheClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &told{}
		c := startServerOnPipes(t, Options{Observer: o, Sessions: &fakeSessions{
			create: func(context.Context, session.CreateRequest) (session.Info, error) { panic("at once") },
			execute: func(_ context.Context, _ string, cmd session.Command) (*session.Outcome, error) {
				<-time.After(time.Second)
				return fakeOutcome(cmd), nil
			},
			close: func(context.Context, string) error { return session.ErrNotFound },
		}}).dial(t)
		const command = `"params":{"sessionId":"s1","command":{"type":"shell","command":"x"}}`
		for _, step := range []struct {
			message string
			told    []string
		}{
			{`{"jsonrpc":"2.0","id":1,"method":"initialize"}`, []string{"initialize 0 0s"}},
			{`{"jsonrpc":"2.0","id":1,"method":"no.such"}`, []string{" -32601 0s"}},
			{`not JSON`, []string{" -32700 0s"}},
			{`{"jsonrpc":"2.0","id":1,"method":"session.get"}`, []string{"session.get -32602 0s"}},
			{`{"jsonrpc":"2.0","id":1,"method":"session.create","params":{"language":"python"}}`, []string{"session.create -32603 0s"}},
			{
				`[{"jsonrpc":"2.0","method":"session.close","params":{"sessionId":"s1"}},{"jsonrpc":"2.0","id":1,"method":"language.list"}]`,
				[]string{"language.list 0 0s", "session.close -32001 0s"},
			},
			// The second waits for the first, which is part of what it took.
			{
				`[{"jsonrpc":"2.0","id":1,"method":"session.execute",` + command + `},{"jsonrpc":"2.0","id":2,"method":"session.execute",` + command + `}]`,
				[]string{"session.execute 0 1s", "session.execute 0 2s"},
			},
		} {
			c.send(step.message)
			c.receive()
			if got := o.take(); !slices.Equal(got, step.told) {
				t.Errorf("before the reply to %s it was told %q; want %q", step.message, got, step.told)
			}
		}
	})
}

func TestStatsCountWhatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate()
		s := startServerOnPipes(t, Options{Sessions: &fakeSessions{execute: g.execute}})
		first, c := s.dial(t), s.dial(t)
		is := func(when string, want Stats) {
			t.Helper()
			synctest.Wait()
			want.MaxHeldBytes = s.opts.MaxHeldBytes
			if got := s.Stats(); got != want {
				t.Errorf("%s: %+v; want %+v", when, got, want)
			}
		}
		is("connected", Stats{Connections: 2, Connected: 2})
		_ = first.Close()
		is("one has left", Stats{Connections: 1, Connected: 2})
		message := `{"jsonrpc":"2.0","id":1,"method":"session.execute","params":{"sessionId":"s1","command":{"type":"shell","command":"x"}}}`
		c.send(message)
		c.send(message)
		is("two requests", Stats{Connections: 1, Connected: 2, Pending: 2, PendingBytes: 2 * int64(len(message)+callBytes)})
		g.release("x")
		synctest.Wait()
		waiting := s.Stats()
		reply := int64(len(c.receive())) // the client read nothing so far
		if want := (Stats{Connections: 1, Connected: 2, Pending: 2, ReplyBytes: 2 * reply, HeldReplies: 2 * reply, MaxHeldBytes: s.opts.MaxHeldBytes}); waiting != want {
			t.Errorf("two replies: %+v; want %+v", waiting, want)
		}
		c.receive()
		is("all is read", Stats{Connections: 1, Connected: 2})
	})
}

func TestStatsCountNotificationsThatWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := startServerOnPipes(t, Options{MaxNotifiedBytes: 1})
		c := s.dial(t)
		synctest.Wait()
		var says sync.WaitGroup
		s.eachConn(func(c *conn) {
			for range 3 {
				says.Go(func() { c.say(t.Context(), &closedNote{"s1", session.ReasonIdle}) })
			}
		})
		synctest.Wait()
		stats := s.Stats()
		length := int64(len(c.receive()))
		if want := (Stats{Connections: 1, Connected: 1, NotifiedBytes: length, WaitingNotifications: 2, MaxHeldBytes: s.opts.MaxHeldBytes}); stats != want {
			t.Errorf("%+v; want %+v", stats, want)
		}
		c.receive()
		c.receive()
		says.Wait()
	})
}

func TestMetricsAreServedToWhoReads(t *testing.T) {
	metrics := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "up 1\n") })
	for _, test := range []struct {
		handler http.Handler
		method  string
		status  int
	}{
		{metrics, http.MethodGet, http.StatusOK},
		{metrics, http.MethodPost, http.StatusMethodNotAllowed},
		{nil, http.MethodGet, http.StatusNotFound},
	} {
		s := startServer(t, Options{Metrics: test.handler})
		req, err := http.NewRequestWithContext(t.Context(), test.method, s.http.URL+"/metrics", strings.NewReader(""))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != test.status || test.status == http.StatusOK && string(body) != "up 1\n" {
			t.Errorf("%s: %d %q, %v; want %d", test.method, resp.StatusCode, body, err, test.status)
		}
	}
}

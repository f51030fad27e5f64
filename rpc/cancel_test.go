package rpc

import (
	"context"
	"fmt"
	"testing"

	"codebeaker/session"
	"codebeaker/session/sessiontest"
)

// cancel ends a request and says whether it had no answer. The answers come in any
// order.
func (c *client) cancel(id string) (cancelled bool, answer heard) {
	c.t.Helper()
	c.request("cancel", "rpc.cancel", map[string]any{"id": id})
	for {
		switch h := c.hear(); string(h.ID) {
		case `"cancel"`:
			if cancelled = as[cancelResult](c, h).Cancelled; !cancelled || answer.ID != nil {
				return cancelled, answer
			}
		case `"` + id + `"`:
			if answer = h; cancelled {
				return cancelled, answer
			}
		case "":
		default:
			c.t.Fatalf("heard %s", h)
		}
	}
}

// wantCancelled ends a request that has no answer.
func (c *client) wantCancelled(id string) {
	c.t.Helper()
	if ok, answer := c.cancel(id); !ok || answer.Error == nil || answer.Error.Code != codeCancelled {
		c.t.Fatalf("cancelled is %v, and the request answers %s", ok, answer)
	}
}

func TestRequestsAreCancelled(t *testing.T) {
	st := startStage(t, nil, Options{})
	c := st.dial(t)
	s := c.session()
	endOf := func(t *testing.T, command string) session.EndReason {
		t.Helper()
		for _, e := range as[executionListResult](c, c.call("execution.list", nil)).Executions {
			if e.Command == command && e.EndReason != nil {
				return *e.EndReason
			}
		}
		t.Fatalf("%s has not ended", command)
		return ""
	}
	for _, stream := range []bool{false, true} {
		t.Run(fmt.Sprintf("a program, stream %v", stream), func(t *testing.T) {
			c.request("1", "session.execute", map[string]any{"sessionId": s, "command": program("block", nil), "stream": stream})
			st.wantTaken(t, 1)
			c.request("2", "session.execute", map[string]any{"sessionId": s, "command": program("exit", nil)})
			c.wantCancelled("2") // which waits behind the first
			c.wantCancelled("1")
			if r := endOf(t, "block"); r != session.EndCancelled {
				t.Errorf("the program ended as %s", r)
			}
			for _, e := range as[executionListResult](c, c.call("execution.list", nil)).Executions {
				if e.Command == "exit" {
					t.Error("what waited was carried out")
				}
			}
			if h := c.call("session.get", map[string]any{"sessionId": s}); h.Error != nil {
				t.Errorf("what follows in the session: %s", h)
			}
		})
	}
	t.Run("input", func(t *testing.T) {
		id := c.start(s, "block")
		c.request("1", "execution.input", map[string]any{"executionId": id, "data": "x"})
		c.request("2", "execution.input", map[string]any{"executionId": id, "data": "y"})
		c.wantCancelled("1")
		c.wantCancelled("2")
		if r := as[statusResult](c, c.call("execution.status", map[string]any{"executionId": id})); r.Status != statusText(session.StatusRunning) {
			t.Errorf("the program is %s", r.Status)
		}
	})
	t.Run("the creation of a session", func(t *testing.T) {
		before := len(st.Containers())
		release := st.HoldCreates()
		defer release()
		c.request("1", "session.create", map[string]any{"language": "python"})
		eventually(t, "the container is made", func() bool { return len(st.Containers()) > before })
		c.wantCancelled("1")
		eventually(t, "nothing of it is left", func() bool { return len(st.Containers()) == before })
	})
	t.Run("in a batch", func(t *testing.T) {
		c.send(fmt.Sprintf(`[{"jsonrpc":"2.0","id":1.5,"method":"session.execute","params":{"sessionId":%q,"command":{"type":"shell","command":"block"}}},
			{"jsonrpc":"2.0","id":"\u0061","method":"session.execute","params":{"sessionId":%q,"command":{"type":"shell","command":"block"}}},
			{"jsonrpc":"2.0","id":3,"method":"rpc.cancel","params":{"id":"a"}},
			{"jsonrpc":"2.0","method":"rpc.cancel","params":{"id":1.5}}]`, s, s))
		want := `[{"jsonrpc":"2.0","id":1.5,"error":{"code":-32008,"message":"the request was cancelled"}},` +
			`{"jsonrpc":"2.0","id":"\u0061","error":{"code":-32008,"message":"the request was cancelled"}},` +
			`{"jsonrpc":"2.0","id":3,"result":{"id":"a","cancelled":true}}]`
		if got := c.receive(); got != want {
			t.Errorf("got %s", got)
		}
	})
	t.Run("what is answered, or another's", func(t *testing.T) {
		c.request("1", "session.execute", map[string]any{"sessionId": s, "command": program("block", nil)})
		other := st.dial(t)
		for _, id := range []string{"1", "none"} {
			if ok, _ := other.cancel(id); ok {
				t.Errorf("another connection cancelled %s", id)
			}
		}
		c.wantCancelled("1")
		if ok, _ := c.cancel("1"); ok {
			t.Error("it is cancelled twice")
		}
	})
}

// late is a manager whose answers come when the test lets them.
type late struct {
	*session.Manager
	done, answer chan struct{}
}

func (m *late) wait() {
	m.done <- struct{}{}
	<-m.answer
}

func (m *late) Create(ctx context.Context, req session.CreateRequest) (session.Info, error) {
	info, err := m.Manager.Create(ctx, req)
	m.wait()
	return info, err
}

func (m *late) Start(ctx context.Context, id string, p session.Program, background bool) (*session.Execution, error) {
	e, err := m.Manager.Start(ctx, id, p, background)
	m.wait()
	return e, err
}

func (m *late) Run(ctx context.Context, req session.RunRequest) (*session.Execution, error) {
	e, err := m.Manager.Run(ctx, req)
	m.wait()
	return e, err
}

// What was done when the request is cancelled, but not told to the client, is taken
// back.
func TestWhatACancelledRequestDidIsTakenBack(t *testing.T) {
	host := sessiontest.NewHost()
	host.Programs = map[string]sessiontest.Program{"python3": sessiontest.StandardPrograms()["block"]}
	m := &late{host.Manager(nil), make(chan struct{}), make(chan struct{})}
	st := startServer(t, Options{Sessions: m})
	t.Cleanup(func() {
		if err := m.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
	info, err := m.Manager.Create(t.Context(), session.CreateRequest{Language: "python"})
	if err != nil {
		t.Fatal(err)
	}
	c := st.dial(t)
	for method, params := range map[string]map[string]any{
		"session.create":  {"language": "python"},
		"session.execute": {"sessionId": info.ID, "command": program("block", map[string]any{"background": true}), "stream": true},
		"execution.run":   {"language": "python", "code": "x"},
	} {
		c.request("1", method, params)
		receiveFrom(t, "it is done", m.done)
		c.request("2", "rpc.cancel", map[string]any{"id": "1"})
		if h := c.hear(); !as[cancelResult](c, h).Cancelled {
			t.Errorf("%s: got %s", method, h)
		}
		m.answer <- struct{}{}
		c.wantHeard(`"1" error -32008`)
	}
	eventually(t, "one session is left, in which nothing runs", func() bool {
		list, _ := m.List(t.Context())
		executions, _ := m.Executions(t.Context(), "")
		for _, e := range executions {
			if e.EndedAt.IsZero() {
				return false
			}
		}
		return len(list) == 1 && len(executions) == 2
	})
	c.call("session.list", nil) // and no notification
}

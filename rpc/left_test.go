package rpc

import (
	"fmt"
	"testing"
	"time"

	"codebeaker/session"
)

// leave has a client send a request and leave when the server has taken it.
func (st *stage) leave(t *testing.T, method string, params map[string]any) {
	t.Helper()
	before := st.Stats().Connected
	c := st.dial(t)
	c.request("1", method, params)
	eventually(t, "the request is taken", func() bool {
		st.mu.Lock()
		defer st.mu.Unlock()
		for other := range st.conns {
			other.mu.Lock()
			taken := other.ws.RemoteAddr().String() == c.LocalAddr().String() && other.state.requests == 1
			other.mu.Unlock()
			if taken {
				return st.connected > before
			}
		}
		return false
	})
	_ = c.Conn.Close()
}

// wantPlace waits until another client can connect.
func (st *stage) wantPlace(t *testing.T) *client {
	t.Helper()
	var c *client
	eventually(t, "there is a place for another client", func() bool {
		ws, resp, err := st.dialer.DialContext(t.Context(), st.url(), nil)
		if resp != nil {
			_ = resp.Body.Close()
		}
		if err == nil {
			c = &client{ws, t}
			t.Cleanup(func() { _ = ws.Close() })
		}
		return err == nil
	})
	return c
}

// Clients that give input to a program that does not read, and leave, leave nothing
// behind.
func TestInputOfAClientThatLeftIsGivenUp(t *testing.T) {
	const most = 4
	st := startStage(t, nil, Options{MaxConnections: most + 1, CloseTimeout: 20 * time.Millisecond})
	c := st.dial(t)
	id := c.start(c.session(), "block")
	for range 3 * most {
		_ = st.wantPlace(t).Conn.Close()
		st.leave(t, "execution.input", map[string]any{"executionId": id, "data": "for nobody"})
	}
	eventually(t, "nothing is left of them", func() bool { return st.connections() == 1 })
	if r := as[statusResult](c, c.call("execution.status", map[string]any{"executionId": id})); r.Status != statusText(session.StatusRunning) {
		t.Errorf("the program is %s", r.Status)
	}
}

// Clients that leave give up their places, and the programs that they wait for run
// on.
func TestProgramsOfClientsThatLeftRunOnWithoutAPlace(t *testing.T) {
	const most = 4
	for _, stream := range []bool{false, true} {
		t.Run(fmt.Sprintf("stream %v", stream), func(t *testing.T) {
			st := startStage(t, nil, Options{MaxConnections: most})
			id := st.dial(t).session()
			for range 3 * most {
				_ = st.wantPlace(t).Conn.Close()
				st.leave(t, "session.execute", map[string]any{"sessionId": id, "command": program("block", nil), "stream": stream})
			}
			c := st.wantPlace(t)
			all := as[executionListResult](c, c.call("execution.list", nil)).Executions
			for _, e := range all {
				if e.Status != session.StatusRunning {
					t.Errorf("a program is %s", e.Status)
				}
			}
			if len(all) != 3*most {
				t.Errorf("there are %d programs, want %d", len(all), 3*most)
			}
			eventually(t, "only so many are waited for", func() bool { return st.connections() <= 2*most })
		})
	}
}

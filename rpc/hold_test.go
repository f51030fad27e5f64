package rpc

import (
	"context"
	"strings"
	"testing"

	"codebeaker/session"
	"codebeaker/session/sessiontest"
)

// forgetful is a manager that forgets every execution as soon as it has ended:
// before its caller gets to know of it, too.
type forgetful struct {
	*session.Manager
	other string // a session
}

// crowdOut waits for the end of an execution and has it forgotten. The manager
// keeps one.
func (m *forgetful) crowdOut(ctx context.Context, e *session.Execution) {
	<-e.Done()
	if _, err := m.Manager.Execute(ctx, m.other, &session.Shell{Name: "fail"}); err != nil {
		panic(err)
	}
}

func (m *forgetful) Start(ctx context.Context, id string, p session.Program, background bool) (*session.Execution, error) {
	e, err := m.Manager.Start(ctx, id, p, background)
	if err == nil {
		m.crowdOut(context.WithoutCancel(ctx), e)
	}
	return e, err
}

func (m *forgetful) Run(ctx context.Context, req session.RunRequest) (*session.Execution, error) {
	e, err := m.Manager.Run(ctx, req)
	if err == nil {
		m.crowdOut(context.WithoutCancel(ctx), e)
	}
	return e, err
}

func (m *forgetful) Execution(ctx context.Context, id string) (*session.Execution, error) {
	e, err := m.Manager.Execution(ctx, id)
	if err == nil {
		m.crowdOut(context.WithoutCancel(ctx), e)
	}
	return e, err
}

func (m *forgetful) Attach(ctx context.Context, id string) (*session.Execution, error) {
	e, err := m.Manager.Attach(ctx, id)
	if err == nil {
		m.crowdOut(context.WithoutCancel(ctx), e)
	}
	return e, err
}

// However many others end meanwhile, whoever asked for an execution is told all
// that it printed.
func TestOutputIsKeptForWhoeverAskedForIt(t *testing.T) {
	host := sessiontest.NewHost()
	host.Programs = map[string]sessiontest.Program{"python3": func(p *sessiontest.Process) sessiontest.ExitStatus {
		_, _ = p.Stdout.Write([]byte("out"))
		return sessiontest.ExitStatus{}
	}}
	m := &forgetful{Manager: host.Manager(func(o *session.Options) { o.MaxKept = 1 })}
	s := startServer(t, Options{Sessions: m})
	t.Cleanup(func() {
		if err := m.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
	c := s.dial(t)
	m.other = c.session()
	id := c.session()

	t.Run("streamed", func(t *testing.T) {
		c.request("1", "session.execute", map[string]any{"sessionId": id, "command": program("exit", nil), "stream": true})
		c.wantHeard("started python")
		c.wantMixed(`stdout@0 "out"`, `stderr@0 "err"`, "completed 0 exited")
		if r := as[struct{ Result executionResult }](c, c.hear()).Result; r.Stdout != "out" || r.Stderr != "err" || r.Truncated.Stdout {
			t.Errorf("the reply has %+v", r.printed)
		}
	})
	t.Run("in the background", func(*testing.T) {
		background := program("exit", map[string]any{"background": true})
		c.request("1", "session.execute", map[string]any{"sessionId": id, "command": background, "stream": true})
		c.wantHeard(`reply "1"`, "started python")
		c.wantMixed(`stdout@0 "out"`, `stderr@0 "err"`, "completed 0 exited")
	})
	t.Run("run", func(*testing.T) {
		c.request("1", "execution.run", map[string]any{"language": "python", "code": "x"})
		c.wantHeard(`reply "1"`, "started python", `stdout@0 "out"`, "completed 0 exited", "ended closed")
	})
	for _, method := range []string{"execution.status", "execution.attach"} {
		t.Run(method, func(t *testing.T) {
			e, err := m.Manager.Start(t.Context(), id, &session.Shell{Name: "exit"}, true)
			if err != nil {
				t.Fatal(err)
			}
			<-e.Done()
			e.Release() // as nobody reads it any more
			h := c.call(method, map[string]any{"executionId": e.ID()})
			if method == "execution.attach" {
				c.wantMixed(`stdout@0 "out"`, `stderr@0 "err"`, "completed 0 exited")
			} else if !strings.Contains(string(h.Result), `"stdout":"out"`) {
				t.Errorf("got %s", h.Result)
			}
		})
	}
}

package rpc

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"codebeaker/session"
	"codebeaker/session/sessiontest"
)

// stage is a server whose sessions are real, on a host in memory.
type stage struct {
	*testServer
	*sessiontest.Host
	manager *session.Manager
}

func startStage(t *testing.T, programs map[string]sessiontest.Program, opts Options) *stage {
	t.Helper()
	st := &stage{Host: sessiontest.NewHost()}
	st.Programs = programs
	st.manager = st.Manager(nil)
	opts.Sessions = st.manager
	st.testServer = startServer(t, opts)
	st.now = time.Now
	t.Cleanup(func() { // before the server's, which waits for what is followed
		if err := st.manager.Shutdown(t.Context()); err != nil {
			t.Errorf("Shutdown of sessions: %v", err)
		}
	})
	return st
}

// heard is a message from the server.
type heard struct {
	ID     json.RawMessage
	Method string
	Params struct {
		ExecutionID, SessionID, Stream, Text, Encoding, Error, EndReason, Language, Reason string
		Offset, From, To                                                                   int64
		ExitCode                                                                           *int
		Timeout                                                                            bool
	}
	Result json.RawMessage
	Error  *wireError
}

// String tells the message in short, without what varies.
func (h heard) String() string {
	p := h.Params
	switch h.Method {
	case "":
		if h.Error != nil {
			return fmt.Sprintf("%s error %d", h.ID, h.Error.Code)
		}
		return "reply " + string(h.ID)
	case "execution.started":
		return "started " + p.Language
	case "execution.output":
		return fmt.Sprintf("%s@%d %q", p.Stream, p.Offset, p.Text)
	case "execution.completed":
		return fmt.Sprintf("completed %d %s", *p.ExitCode, p.EndReason)
	case "session.closed":
		return "ended " + p.Reason
	default:
		return h.Method + " " + p.Error
	}
}

func (c *client) hear() heard {
	c.t.Helper()
	var h heard
	text := c.receive()
	if err := json.Unmarshal([]byte(text), &h); err != nil {
		c.t.Fatalf("%v: %s", err, text)
	}
	return h
}

// wantHeard hears messages, which have to be these.
func (c *client) wantHeard(want ...string) {
	c.t.Helper()
	for _, w := range want {
		if got := c.hear().String(); got != w {
			c.t.Fatalf("heard %s, want %s", got, w)
		}
	}
}

// wantMixed hears messages, which have to be these, in any order but that of the
// last.
func (c *client) wantMixed(want ...string) {
	c.t.Helper()
	if last := c.wantAny(want...); last != want[len(want)-1] {
		c.t.Fatalf("heard %q last, want %q", last, want[len(want)-1])
	}
}

// wantAny hears messages, which have to be these in any order, and returns the
// last.
func (c *client) wantAny(want ...string) (last string) {
	c.t.Helper()
	var got []string
	for range want {
		last = c.hear().String()
		got = append(got, last)
	}
	want = slices.Clone(want)
	slices.Sort(got)
	if slices.Sort(want); !slices.Equal(got, want) {
		c.t.Fatalf("heard %q, want %q", got, want)
	}
	return last
}

// call sends a request and returns what comes with the reply of its id, which is
// the next message.
func (c *client) call(method string, params map[string]any) heard {
	c.t.Helper()
	c.request("call", method, params)
	h := c.hear()
	if string(h.ID) != `"call"` {
		c.t.Fatalf("heard %s, want the reply to %s", h, method)
	}
	return h
}

func (c *client) request(id, method string, params map[string]any) {
	c.t.Helper()
	text, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": id, "method": method, "params": params})
	if err != nil {
		c.t.Fatal(err)
	}
	c.send(string(text))
}

// as decodes a result.
func as[T any](c *client, h heard) T {
	c.t.Helper()
	var v T
	if h.Error != nil {
		c.t.Fatalf("got %v", h.Error)
	}
	if err := json.Unmarshal(h.Result, &v); err != nil {
		c.t.Fatalf("%v: %s", err, h.Result)
	}
	return v
}

// session makes a session.
func (c *client) session() string {
	c.t.Helper()
	return as[createResult](c, c.call("session.create", map[string]any{"language": "python"})).SessionID
}

// program is a command that runs a program.
func program(name string, more map[string]any) map[string]any {
	command := map[string]any{"type": "shell", "command": name}
	maps.Copy(command, more)
	return command
}

// start runs a program in the background and returns the execution.
func (c *client) start(sessionID, name string) string {
	c.t.Helper()
	h := c.call("session.execute", map[string]any{"sessionId": sessionID, "command": program(name, map[string]any{"background": true})})
	result := as[struct{ Result backgroundResult }](c, h)
	if result.Result.Status != session.StatusRunning || result.Result.ExecutionID == "" {
		c.t.Fatalf("got %s", h.Result)
	}
	return result.Result.ExecutionID
}

// steps is a program that prints what comes from the channel, to stderr where it
// begins with "!", and ends with it.
func steps(texts <-chan string) sessiontest.Program {
	return func(p *sessiontest.Process) sessiontest.ExitStatus {
		for {
			select {
			case text, ok := <-texts:
				if !ok {
					return sessiontest.ExitStatus{}
				}
				if rest, isErr := strings.CutPrefix(text, "!"); isErr {
					_, _ = io.WriteString(p.Stderr, rest)
				} else {
					_, _ = io.WriteString(p.Stdout, text)
				}
			case <-p.Killed():
				return sessiontest.ExitStatus{}
			}
		}
	}
}

func TestStreamedOutputComesWhileTheProgramRunsAndBeforeTheReply(t *testing.T) {
	texts := make(chan string)
	c := startStage(t, map[string]sessiontest.Program{"steps": steps(texts)}, Options{}).dial(t)
	s := c.session()
	c.request("1", "session.execute", map[string]any{"sessionId": s, "command": program("steps", nil), "stream": true})
	c.wantHeard("started python")
	texts <- "é\n"
	c.wantHeard(`stdout@0 "é\n"`)
	texts <- "!oh"
	c.wantHeard(`stderr@0 "oh"`)
	texts <- "\xff"
	texts <- "\xff"
	h := c.hear()
	text, err := base64.StdEncoding.DecodeString(h.Params.Text)
	if err != nil || h.Params.Encoding != "base64" || h.Params.Offset != 3 || text[0] != 0xff {
		t.Errorf("what is no text came as %+v", h.Params)
	}
	if len(text) == 1 {
		c.hear()
	}
	close(texts)
	c.wantHeard("completed 0 exited")
	result := as[struct{ Result executionResult }](c, c.hear()).Result
	if result.Stdout != base64.StdEncoding.EncodeToString([]byte("é\n\xff\xff")) || result.Stderr != "oh" {
		t.Errorf("got %+v", result)
	}
}

func TestReplyComesBeforeWhatFollowsIt(t *testing.T) {
	t.Run("execution.run", func(t *testing.T) {
		st := startStage(t, map[string]sessiontest.Program{"python3": steps(closed())}, Options{})
		c := st.dial(t)
		run := c.call("execution.run", map[string]any{"language": "py", "code": "print()"})
		if r := as[statusOnlyResult](c, run); r.Status != session.StatusQueued || r.ExecutionID == "" {
			t.Errorf("got %s", run.Result)
		}
		c.wantHeard("started python", "completed 0 exited", "ended closed")
	})
	t.Run("background", func(t *testing.T) {
		c := startStage(t, nil, Options{}).dial(t)
		s := c.session()
		c.request("1", "session.execute", map[string]any{
			"sessionId": s, "command": program("exit", map[string]any{"background": true}), "stream": true,
		})
		c.wantHeard("reply \"1\"", "started python")
		c.wantMixed(`stdout@0 "out"`, `stderr@0 "err"`, "completed 0 exited")
	})
	t.Run("attach in a batch", func(t *testing.T) {
		texts := make(chan string)
		c := startStage(t, map[string]sessiontest.Program{"steps": steps(texts)}, Options{}).dial(t)
		s := c.session()
		e := c.start(s, "steps")
		texts <- "one"
		c.send(fmt.Sprintf(`[{"jsonrpc":"2.0","id":1,"method":"execution.attach","params":{"executionId":%q}},
			{"jsonrpc":"2.0","id":2,"method":"session.execute","params":{"sessionId":%q,"command":{"type":"shell","command":"fail"}}}]`, e, s))
		if got := c.receive(); !strings.HasPrefix(got, `[{"jsonrpc":"2.0","id":1,"result"`) || !strings.Contains(got, `"exitCode":3`) {
			t.Errorf("got %s, want the reply to the batch", got)
		}
		c.wantHeard(`stdout@0 "one"`)
		close(texts)
		c.wantHeard("completed 0 exited")
	})
}

func TestReplyToABatchComesBeforeWhatItsRunBrings(t *testing.T) {
	texts := make(chan string)
	st := startStage(t, map[string]sessiontest.Program{"python3": steps(closed()), "steps": steps(texts)}, Options{})
	c, other := st.dial(t), st.dial(t)
	s := c.session()
	c.send(fmt.Sprintf(`[{"jsonrpc":"2.0","id":1,"method":"execution.run","params":{"language":"python","code":"x"}},
		{"jsonrpc":"2.0","id":2,"method":"session.execute","params":{"sessionId":%q,"command":{"type":"shell","command":"steps"}}}]`, s))
	eventually(t, "the run has ended", func() bool {
		all := as[executionListResult](other, other.call("execution.list", nil)).Executions
		return slices.ContainsFunc(all, func(e listedExecution) bool { return e.Status == session.StatusCompleted })
	})
	close(texts)
	if got := c.receive(); !strings.HasPrefix(got, "[") {
		t.Errorf("got %s before the reply", got)
	}
	c.wantHeard("started python", "completed 0 exited", "ended closed")
}

// slowEnd is a manager that is slow to say that it gives up waiting.
type slowEnd struct {
	*session.Manager
	waiting, release chan struct{}
}

func (m *slowEnd) Closed(ctx context.Context, _ string) (session.Reason, error) {
	close(m.waiting)
	<-m.release
	return "", ctx.Err()
}

func TestConnectionIsNotForgottenBeforeWhatItFollows(t *testing.T) {
	host := sessiontest.NewHost()
	m := &slowEnd{host.Manager(nil), make(chan struct{}), make(chan struct{})}
	st := startServer(t, Options{Sessions: m})
	t.Cleanup(func() {
		if err := m.Manager.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
	c := st.dial(t)
	e := c.start(c.session(), "block")
	c.call("execution.attach", map[string]any{"executionId": e})
	receiveFrom(t, "the end of the session is waited for", m.waiting)
	_ = c.Conn.Close()
	other := st.dial(t)
	eventually(t, "the first connection is lost", func() bool {
		gone := 0
		st.states(func(s *state) {
			if s.gone {
				gone++
			}
		})
		return gone == 1
	})
	for range 20 {
		other.call("session.list", nil)
	}
	if n := st.connections(); n != 2 {
		t.Errorf("%d connections, want 2 while something of the first runs", n)
	}
	close(m.release)
	eventually(t, "it is forgotten", func() bool { return st.connections() == 1 })
}

// closed is a channel with nothing in it.
func closed() chan string {
	ch := make(chan string)
	close(ch)
	return ch
}

func TestAttachReplaysFromAnOffsetAndFollows(t *testing.T) {
	texts := make(chan string)
	st := startStage(t, map[string]sessiontest.Program{"steps": steps(texts)}, Options{})
	c := st.dial(t)
	s := c.session()
	e := c.start(s, "steps")
	texts <- "0123456789"
	texts <- "!err"
	other := st.dial(t) // one that was not there before
	attach := func(c *client, params map[string]any) attachResult {
		params["executionId"] = e
		return as[attachResult](c, c.call("execution.attach", params))
	}
	eventually(t, "both streams are kept", func() bool {
		list := as[executionListResult](c, c.call("execution.list", map[string]any{"sessionId": s})).Executions
		return len(list) == 1 && list[0].Stdout.End == 10 && list[0].Stderr.End == 3
	})
	if r := attach(other, map[string]any{"stdoutOffset": 4}); r.StdoutOffset != 4 || r.StderrOffset != 0 ||
		r.Status != session.StatusRunning || r.SessionID != s {
		t.Errorf("got %+v", r)
	}
	got := []string{other.hear().String(), other.hear().String()}
	slices.Sort(got)
	if want := []string{`stderr@0 "err"`, `stdout@4 "456789"`}; !slices.Equal(got, want) {
		t.Errorf("heard %q, want %q", got, want)
	}
	if r := attach(c, map[string]any{"stdoutOffset": 99, "stderrOffset": 99}); r.StdoutOffset != 10 || r.StderrOffset != 3 {
		t.Errorf("behind the end: got %+v", r)
	}
	texts <- "ab"
	c.wantHeard(`stdout@10 "ab"`)
	other.wantHeard(`stdout@10 "ab"`)
	close(texts)
	c.wantHeard("completed 0 exited")
	other.wantHeard("completed 0 exited")
	// After its end it is replayed as far as it is kept.
	if r := attach(c, map[string]any{"stderrOffset": 3}); r.Status != session.StatusCompleted {
		t.Errorf("got %+v", r)
	}
	c.wantHeard(`stdout@0 "0123456789ab"`, "completed 0 exited")
}

func TestSecondAttachTakesOver(t *testing.T) {
	texts := make(chan string)
	c := startStage(t, map[string]sessiontest.Program{"steps": steps(texts)}, Options{}).dial(t)
	e := c.start(c.session(), "steps")
	for i := range 3 {
		c.call("execution.attach", map[string]any{"executionId": e, "stdoutOffset": i})
		texts <- "x"
		c.wantHeard(fmt.Sprintf(`stdout@%d "x"`, i)) // once
	}
	c.send(fmt.Sprintf(`[{"jsonrpc":"2.0","id":1,"method":"execution.attach","params":{"executionId":%q}},
		{"jsonrpc":"2.0","id":2,"method":"execution.attach","params":{"executionId":%q}}]`, e, e))
	c.receive()
	c.wantHeard(`stdout@0 "xxx"`)
	close(texts)
	c.wantHeard("completed 0 exited")
	c.call("session.list", nil) // and nothing came between
}

func TestDetachEndsTheNotificationsAndNotTheProgram(t *testing.T) {
	texts := make(chan string)
	st := startStage(t, map[string]sessiontest.Program{"steps": steps(texts)}, Options{})
	c := st.dial(t)
	s := c.session()
	c.request("1", "session.execute", map[string]any{"sessionId": s, "command": program("steps", nil), "stream": true})
	started := c.hear()
	texts <- "a"
	c.wantHeard(`stdout@0 "a"`)
	for _, want := range []bool{true, false} {
		r := as[detachResult](c, c.call("execution.detach", map[string]any{"executionId": started.Params.ExecutionID}))
		if r.Detached != want || r.Status != session.StatusRunning {
			t.Errorf("got %+v, want detached %v", r, want)
		}
	}
	texts <- "b"
	close(texts)
	h := c.hear() // still waits for the end
	if result := as[struct{ Result executionResult }](c, h).Result; string(h.ID) != `"1"` || result.Stdout != "ab" {
		t.Errorf("heard %s with %+v, want the reply", h, result)
	}
}

func TestSessionClosedComesLastAndBeforeTheReplyToClose(t *testing.T) {
	st := startStage(t, nil, Options{})
	c := st.dial(t)
	s := c.session()
	c.request("1", "session.execute", map[string]any{
		"sessionId": s, "command": program("block", map[string]any{"background": true}), "stream": true,
	})
	c.wantHeard("reply \"1\"", "started python")
	c.wantAny(`stderr@0 "err"`, `stdout@0 "out"`)
	c.request("2", "session.close", map[string]any{"sessionId": s})
	c.wantHeard("completed 137 session_closed", "ended closed", "reply \"2\"")

	// Where what it is told waits for a reply itself, nothing waits for ever.
	s = c.session()
	e := c.start(s, "block")
	c.call("execution.attach", map[string]any{"executionId": e})
	c.wantAny(`stderr@0 "err"`, `stdout@0 "out"`)
	c.send(fmt.Sprintf(`[{"jsonrpc":"2.0","id":1,"method":"execution.attach","params":{"executionId":%q}},
		{"jsonrpc":"2.0","id":2,"method":"session.close","params":{"sessionId":%q}},
		{"jsonrpc":"2.0","id":3,"method":"session.get","params":{"sessionId":%q}}]`, e, s, s))
	for text := ""; !strings.HasPrefix(text, "["); {
		text = c.receive() // what comes before it depends on which of the two was first
	}
	for _, want := range []string{"stderr@0", "stdout@0"} {
		if got := c.hear().String(); !strings.HasPrefix(got, "std") {
			t.Errorf("heard %s, want %s", got, want)
		}
	}
	c.wantHeard("completed 137 session_closed", "ended closed")
}

func TestSessionClosedIsToldToThoseWhoFollowedThere(t *testing.T) {
	st := startStage(t, nil, Options{})
	c, other, idle := st.dial(t), st.dial(t), st.dial(t)
	s := c.session()
	e := c.start(s, "block")
	other.call("execution.attach", map[string]any{"executionId": e})
	other.wantAny(`stderr@0 "err"`, `stdout@0 "out"`)
	c.call("session.close", map[string]any{"sessionId": s})
	other.wantHeard("completed 137 session_closed", "ended closed")
	idle.call("session.list", nil)
	c.call("session.list", nil) // it was not told either
}

func TestExecutionThatNeverRuns(t *testing.T) {
	st := startStage(t, nil, Options{})
	st.FailCreates(fmt.Errorf("secret /var/lib/x"))
	c := st.dial(t)
	e := as[statusOnlyResult](c, c.call("execution.run", map[string]any{"language": "python", "code": "print()"})).ExecutionID
	c.wantHeard("execution.error internal error")
	r := as[statusResult](c, c.call("execution.status", map[string]any{"executionId": e}))
	if r.Status != statusText(session.StatusFailed) || r.ExitCode != nil || r.Error == nil || *r.Error != "internal error" {
		t.Errorf("got %+v", r)
	}
}

func TestExecutionRunNamesItsOwnFields(t *testing.T) {
	c := startStage(t, nil, Options{}).dial(t)
	for field, value := range map[string]any{"packages": []string{"-x"}, "memoryLimit": 1, "cpuLimit": 1e9, "timeout": -1} {
		params := map[string]any{"language": "python", "code": "print()"}
		params[field] = value
		h := c.call("execution.run", params)
		if h.Error == nil || h.Error.Code != codeInvalidParams || h.Error.Data["field"] != field || strings.Contains(h.Error.Message, "command.") {
			t.Errorf("%s: got %v", field, h.Error)
		}
	}
}

func TestExecutionStatus(t *testing.T) {
	texts := make(chan string)
	st := startStage(t, map[string]sessiontest.Program{"steps": steps(texts)}, Options{})
	c := st.dial(t)
	status := func(id string) statusResult {
		t.Helper()
		return as[statusResult](c, c.call("execution.status", map[string]any{"executionId": id}))
	}
	if r := status("nobody"); r.Status != statusNotFound || r.ExitCode != nil {
		t.Errorf("got %+v", r)
	}
	s := c.session()
	e := c.start(s, "steps")
	texts <- "so far"
	eventually(t, "the status shows what was printed", func() bool { return status(e).Stdout == "so far" })
	if r := status(e); r.Status != "running" || r.ExitCode != nil || r.SessionID != s || r.EndReason != nil {
		t.Errorf("got %+v", r)
	}
	close(texts)
	eventually(t, "it has ended", func() bool { return status(e).Status == "completed" })
	if r := status(e); *r.ExitCode != 0 || *r.EndReason != session.EndExited || r.Timeout || r.Stdout != "so far" || r.Error != nil {
		t.Errorf("got %+v", r)
	}
	late := as[struct{ Result executionResult }](c, c.call("session.execute", map[string]any{
		"sessionId": s, "command": program("block", map[string]any{"timeout": 0.01}),
	}))
	if r := status(late.Result.ExecutionID); r.Status != "completed" || !r.Timeout || *r.EndReason != session.EndTimeout || *r.Signal != "SIGKILL" {
		t.Errorf("after its time limit: %+v", r)
	}
}

func TestControlOfAnExecution(t *testing.T) {
	st := startStage(t, map[string]sessiontest.Program{
		"sizes": func(p *sessiontest.Process) sessiontest.ExitStatus {
			select {
			case size := <-p.Sizes():
				fmt.Fprintf(p.Stdout, "%dx%d", size.Rows, size.Columns)
			case <-p.Killed():
			}
			return sessiontest.ExitStatus{}
		},
	}, Options{})
	c := st.dial(t)
	s := c.session()
	on := func(e string, more map[string]any) map[string]any {
		all := map[string]any{"executionId": e}
		maps.Copy(all, more)
		return all
	}
	follow := func(e string) {
		t.Helper()
		c.call("execution.attach", on(e, nil))
	}

	cat := c.start(s, "cat")
	follow(cat)
	c.request("in", "execution.input", on(cat, map[string]any{"data": "é"}))
	for range 2 {
		if h := c.hear(); h.Method == "" {
			if r := as[inputResult](c, h); r.Bytes != 2 {
				t.Errorf("got %+v", r)
			}
		} else if h.String() != `stdout@0 "é"` {
			t.Errorf("heard %s", h)
		}
	}
	c.request("in", "execution.input", on(cat, map[string]any{"data": "Cg==", "encoding": "base64", "eof": true}))
	c.wantAny("reply \"in\"", `stdout@2 "\n"`, "completed 0 exited")
	if h := c.call("execution.input", on(cat, map[string]any{"data": "x"})); h.Error == nil || h.Error.Code != codeState || h.Error.Data["status"] != "completed" {
		t.Errorf("input after the end: got %v", h)
	}
	if h := c.call("execution.signal", on(cat, map[string]any{"signal": "TERM"})); h.Error == nil || h.Error.Code != codeState {
		t.Errorf("signal after the end: got %v", h)
	}

	e := c.start(s, "signal")
	follow(e)
	if h := c.call("execution.signal", on(e, map[string]any{"signal": "SIGNOPE"})); h.Error == nil || h.Error.Code != codeInvalidParams {
		t.Errorf("got %v", h)
	}
	c.request("sig", "execution.signal", on(e, map[string]any{"signal": "TERM"}))
	c.wantAny("reply \"sig\"", `stdout@0 "terminated\n"`, "completed 143 signaled")

	e = c.start(s, "block")
	follow(e)
	c.wantAny(`stderr@0 "err"`, `stdout@0 "out"`)
	if h := c.call("execution.resize", on(e, map[string]any{"rows": 2, "cols": 3})); h.Error == nil || h.Error.Code != codeState {
		t.Errorf("resize without a terminal: got %v", h)
	}
	c.request("cancel", "execution.cancel", on(e, nil))
	c.wantAny("reply \"cancel\"", "completed 137 cancelled")

	h := c.call("session.execute", map[string]any{
		"sessionId": s, "command": program("sizes", map[string]any{"background": true, "tty": true}),
	})
	e = as[struct{ Result backgroundResult }](c, h).Result.ExecutionID
	follow(e)
	c.request("size", "execution.resize", on(e, map[string]any{"rows": 2, "cols": 3}))
	c.wantAny("reply \"size\"", `stdout@0 "2x3"`, "completed 0 exited")

	for method, params := range map[string]map[string]any{
		"attach": nil, "detach": nil, "input": {"data": ""}, "signal": {"signal": 15}, "cancel": nil, "resize": {"rows": 1, "cols": 1},
	} {
		h := c.call("execution."+method, on("nobody", params))
		if h.Error == nil || h.Error.Code != codeNoExecution {
			t.Errorf("%s of nobody: got %v", method, h)
		}
	}
}

func TestInputsOfOneExecutionKeepTheirOrderAndHoldNothingElseUp(t *testing.T) {
	read := make(chan struct{})
	st := startStage(t, map[string]sessiontest.Program{
		"late": func(p *sessiontest.Process) sessiontest.ExitStatus {
			select {
			case <-read:
				_, _ = io.Copy(p.Stdout, p.Stdin)
			case <-p.Killed():
			}
			return sessiontest.ExitStatus{}
		},
	}, Options{})
	c := st.dial(t)
	e := c.start(c.session(), "late")
	const n = 50
	for i := range n {
		c.request("in", "execution.input", map[string]any{"executionId": e, "data": fmt.Sprintln(i), "eof": i == n-1})
	}
	c.call("execution.status", map[string]any{"executionId": e}) // passes
	close(read)
	for range n {
		c.wantHeard(`reply "in"`)
	}
	var want strings.Builder
	for i := range n {
		fmt.Fprintln(&want, i)
	}
	eventually(t, "it has read all", func() bool {
		r := as[statusResult](c, c.call("execution.status", map[string]any{"executionId": e}))
		if r.Status == "completed" && r.Stdout != want.String() {
			t.Fatalf("it read %q", r.Stdout)
		}
		return r.Status == "completed"
	})
}

func TestExecutionsDoNotWaitForTheirSession(t *testing.T) {
	st := startStage(t, nil, Options{})
	c := st.dial(t)
	s := c.session()
	c.request("1", "session.execute", map[string]any{"sessionId": s, "command": program("block", nil), "stream": true})
	e := c.hear().Params.ExecutionID
	c.wantAny(`stderr@0 "err"`, `stdout@0 "out"`)
	for method, params := range map[string]map[string]any{
		"execution.status": {"executionId": e}, "execution.list": {"sessionId": s}, "session.list": nil, "execution.detach": {"executionId": e},
	} {
		if h := c.call(method, params); h.Error != nil {
			t.Errorf("%s: %v", method, h.Error)
		}
	}
	c.request("get", "session.get", map[string]any{"sessionId": s}) // waits
	c.request("cancel", "execution.cancel", map[string]any{"executionId": e})
	c.wantMixed(`reply "cancel"`, `reply "1"`, `reply "get"`)
}

func TestFollowedExecutionsAreBounded(t *testing.T) {
	st := startStage(t, nil, Options{MaxFollowed: 2})
	c := st.dial(t)
	s := c.session()
	for i := range 3 {
		e := c.start(s, "signal")
		h := c.call("execution.attach", map[string]any{"executionId": e})
		if refused := h.Error != nil && h.Error.Code == codeLimit; refused != (i == 2) {
			t.Errorf("attach %d: got %v", i, h)
		}
		if i == 1 {
			c.call("execution.attach", map[string]any{"executionId": e}) // no further one
		}
	}
}

func TestProgramGoesOnWithoutItsClient(t *testing.T) {
	texts := make(chan string)
	st := startStage(t, map[string]sessiontest.Program{"steps": steps(texts)}, Options{})
	c := st.dial(t)
	s := c.session()
	c.request("1", "session.execute", map[string]any{"sessionId": s, "command": program("steps", nil), "stream": true})
	e := c.hear().Params.ExecutionID
	texts <- "one"
	c.wantHeard(`stdout@0 "one"`)
	_ = c.Conn.Close()
	texts <- "two"
	again := st.dial(t)
	again.call("execution.attach", map[string]any{"executionId": e, "stdoutOffset": 3})
	again.wantHeard(`stdout@3 "two"`)
	close(texts)
	again.wantHeard("completed 0 exited")
	eventually(t, "the first connection is forgotten", func() bool { return st.connections() == 1 })
}

// UnmarshalText lets tests read results.
func (t *wireTime) UnmarshalText(text []byte) error {
	at, err := time.Parse(time.RFC3339, string(text))
	*t = wireTime(at)
	return err
}

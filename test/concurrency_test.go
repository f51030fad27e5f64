package test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/gorilla/websocket"

	"codebeaker/rpc/client"
	"codebeaker/runtime/engine"
)

const (
	manyConnections = 50
	manySessions    = 200
	// aliveSessions is how many of them are there at one time.
	aliveSessions = 12
)

// crowd is many clients of one server, who must never get what is another's.
type crowd struct {
	st    *stack
	alive chan struct{} // a place for each session
	calls atomic.Int64

	mu       sync.Mutex
	sessions map[string]string // whose each is
	errs     []error
}

func (c *crowd) failed(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.errs = append(c.errs, err)
}

// member is one of them, with one connection. Its ids are those of all others,
// too.
type member struct {
	crowd *crowd
	name  string
	conn  *websocket.Conn

	writing sync.Mutex
	mu      sync.Mutex
	next    int
	waiting map[string]chan message // by id
	notes   map[string][]note       // by execution
	ended   map[string]chan struct{}
	mine    map[string]bool // sessions, and executions that it followed
	err     error
	reading sync.WaitGroup
}

func (c *crowd) join(ctx context.Context, name string) (*member, error) {
	conn, resp, err := websocket.DefaultDialer.DialContext(ctx, c.st.url, nil)
	if err != nil {
		return nil, err
	}
	resp.Body.Close()
	m := &member{
		crowd: c, name: name, conn: conn,
		waiting: map[string]chan message{}, notes: map[string][]note{}, ended: map[string]chan struct{}{}, mine: map[string]bool{},
	}
	m.reading.Go(m.read)
	return m, nil
}

func (m *member) leave() {
	m.conn.Close()
	m.reading.Wait()
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.waiting) > 0 {
		m.crowd.failed(fmt.Errorf("%s: %d requests were not answered", m.name, len(m.waiting)))
	}
	for execution, notes := range m.notes {
		if execution != "" && !m.mine[execution] { // session.closed names none
			m.crowd.failed(fmt.Errorf("%s: told of an execution that is not its own: %+v", m.name, notes))
		}
	}
}

// read gives each answer to who asked, by its id alone.
func (m *member) read() {
	for {
		_, text, err := m.conn.ReadMessage()
		if err != nil {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.err = err
			for _, w := range m.waiting {
				close(w)
			}
			return
		}
		all := []json.RawMessage{text}
		if text[0] == '[' {
			if err := json.Unmarshal(text, &all); err != nil {
				m.crowd.failed(fmt.Errorf("%s: %w in %.100s", m.name, err, text))
			}
		}
		for _, one := range all {
			m.take(one)
		}
	}
}

func (m *member) take(text []byte) {
	var got struct {
		message
		ID json.RawMessage
	}
	if err := json.Unmarshal(text, &got); err != nil {
		m.crowd.failed(fmt.Errorf("%s: %w in %.100s", m.name, err, text))
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if got.Method == "" {
		w, ok := m.waiting[string(got.ID)]
		if !ok {
			m.crowd.failed(fmt.Errorf("%s: an answer to %s, which was not asked: %.200s", m.name, got.ID, text))
			return
		}
		delete(m.waiting, string(got.ID))
		w <- got.message
		return
	}
	n := got.Params
	if n.SessionID != "" && !m.mine[n.SessionID] && got.Method != "execution.started" {
		m.crowd.failed(fmt.Errorf("%s: told of a session that is not its own: %.200s", m.name, text))
	}
	if got.Method == "execution.started" {
		m.mine[n.SessionID] = true // of execution.run; its execution is looked at later
	}
	m.notes[n.ExecutionID] = append(m.notes[n.ExecutionID], n)
	if got.Method == "execution.completed" || got.Method == "execution.error" {
		close(m.end(n.ExecutionID))
	}
}

// end returns what is closed at the end of an execution. The caller holds mu.
func (m *member) end(executionID string) chan struct{} {
	if m.ended[executionID] == nil {
		m.ended[executionID] = make(chan struct{})
	}
	return m.ended[executionID]
}

// question is a request that is under way.
type question struct {
	method string
	answer chan message
}

// encode makes a request and has its answer waited for. Every other id is a
// text.
func (m *member) encode(method string, params object) (object, question) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.next++
	var id any = m.next
	if m.next%2 == 0 {
		id = fmt.Sprintf("request %d", m.next)
	}
	key, err := json.Marshal(id)
	if err != nil {
		m.crowd.failed(err)
	}
	q := question{method, make(chan message, 1)}
	m.waiting[string(key)] = q.answer
	m.crowd.calls.Add(1)
	return object{"jsonrpc": "2.0", "id": id, "method": method, "params": params}, q
}

func (m *member) send(what any) error {
	m.writing.Lock()
	defer m.writing.Unlock()
	return m.conn.WriteJSON(what)
}

func (m *member) ask(method string, params object) (question, error) {
	request, q := m.encode(method, params)
	return q, m.send(request)
}

// result waits for the answer to a question.
func (q question) result(into any) error {
	select {
	case got, ok := <-q.answer:
		switch {
		case !ok:
			return fmt.Errorf("%s: the connection ended", q.method)
		case got.Error != nil:
			return fmt.Errorf("%s: %w", q.method, got.Error)
		}
		return json.Unmarshal(got.Result, into)
	case <-time.After(2 * patience):
		return fmt.Errorf("%s: no answer", q.method)
	}
}

// check is what the answer to a question has to be.
type check struct {
	question
	right func(result json.RawMessage, err error) bool
}

func (c check) do() error {
	var result json.RawMessage
	err := c.result(&result)
	if !c.right(result, err) {
		return fmt.Errorf("%s was answered with %.300s, %w", c.method, result, errors.Join(err, errors.New("which is not what was asked")))
	}
	return nil
}

// with says that an answer has a text.
func with(text string) func(json.RawMessage, error) bool {
	return func(result json.RawMessage, err error) bool {
		return err == nil && strings.Contains(string(result), text)
	}
}

// without says that an answer is an error with a code and a text.
func without(code int, text string) func(json.RawMessage, error) bool {
	return func(_ json.RawMessage, err error) bool {
		no := (*client.Error)(nil)
		return errors.As(err, &no) && no.Code == code && strings.Contains(no.Message+string(no.Data), text)
	}
}

// session lives through a session of mixed calls, most of which are sent without
// waiting for an answer. Nonce is in everything of it, and nowhere else.
func (m *member) session(nonce string) error {
	q, err := m.ask("session.create", object{"language": "javascript", "env": object{"NONCE": nonce}})
	if err != nil {
		return err
	}
	var info sessionInfo
	if err := q.result(&info); err != nil {
		return err
	}
	id := info.SessionID
	m.mu.Lock()
	m.mine[id] = true
	m.mu.Unlock()
	m.crowd.mu.Lock()
	other, taken := m.crowd.sessions[id]
	m.crowd.sessions[id] = nonce
	m.crowd.mu.Unlock()
	if taken {
		return fmt.Errorf("the session %s is that of %s, too", id, other)
	}
	execute := func(command object, more object) (string, object) {
		command["id"] = nonce
		params := object{"sessionId": id, "command": command}
		maps.Copy(params, more)
		return "session.execute", params
	}
	var checks []check
	var problems []error
	plan := func(right func(json.RawMessage, error) bool) func(method string, params object) {
		return func(method string, params object) {
			q, err := m.ask(method, params)
			problems = append(problems, err)
			checks = append(checks, check{q, right})
		}
	}
	file := "dir/" + nonce
	plan(with(`"bytes":` + fmt.Sprint(len(nonce))))(execute(object{"type": "write_file", "path": file, "content": nonce}, nil))
	plan(with(`"content":"` + nonce + `"`))(execute(object{"type": "read_file", "path": file}, nil))
	plan(with(`"stdout":"` + nonce + ` a-` + nonce + `\n"`))(execute(shell("echo $NONCE $A", object{"env": object{"A": "a-" + nonce}}), nil))
	streamed := len(checks)
	plan(with(`"stdout":"` + nonce + `"`))(execute(shell("cat", object{"stdin": nonce}), object{"stream": true}))
	plan(with(`"stdout":"code ` + nonce + ` x-` + nonce + `\n"`))(execute(object{"type": "execute_code", "code": "echo code $NONCE $1", "args": []string{"x-" + nonce}}, nil))
	plan(with(`"name":"` + nonce + `"`))(execute(object{"type": "list_directory", "path": "dir"}, nil))
	plan(without(-32007, "none-"+nonce))(execute(object{"type": "read_file", "path": "none-" + nonce}, nil))
	plan(without(-32601, "none."+nonce))("none."+nonce, object{})
	plan(with(`"sessionId":"`+id+`"`))("session.get", object{"sessionId": id})
	plan(with(`"sessionId":"`+id+`"`))("session.list", object{})
	plan(with(`"stderr":"` + nonce + `\n"`))(execute(shell("cat "+file+" >&2; echo >&2; exit 3", nil), nil))
	batch, all := []object{}, []check{}
	for _, command := range []object{
		{"type": "read_file", "path": file}, shell("echo batch $NONCE", nil), shell("env", nil),
	} {
		request, q := m.encode(execute(command, nil))
		batch, all = append(batch, request), append(all, check{q, with(nonce)})
	}
	problems = append(problems, m.send(batch))
	checks = append(checks, all...)
	for i, c := range checks {
		if i == streamed {
			right := c.right
			c.right = func(result json.RawMessage, err error) bool {
				var done outcome
				_ = json.Unmarshal(result, &done)
				problems = append(problems, m.told(done.Result.ExecutionID, nonce))
				return right(result, err)
			}
		}
		problems = append(problems, c.do())
	}
	problems = append(problems, m.background(id, nonce))
	checks = nil
	plan(with(`"sessionId":"`+id+`"`))("session.close", object{"sessionId": id})
	plan(without(-32001, "session"))(execute(object{"type": "read_file", "path": file}, nil))
	for _, c := range checks {
		problems = append(problems, c.do())
	}
	if err := errors.Join(problems...); err != nil {
		return fmt.Errorf("session of %s: %w", nonce, err)
	}
	return nil
}

// background has a program print what it is sent, and follows it.
func (m *member) background(sessionID, nonce string) error {
	q, err := m.ask("session.execute", object{"sessionId": sessionID, "stream": true, "command": shell("cat", object{"background": true})})
	if err != nil {
		return err
	}
	var started startedExecution
	if err := q.result(&started); err != nil {
		return err
	}
	id := started.Result.ExecutionID
	var inputs []question
	for i, part := range []string{nonce[:5], nonce[5:]} {
		q, err := m.ask("execution.input", object{"executionId": id, "data": part, "eof": i == 1})
		if err != nil {
			return err
		}
		inputs = append(inputs, q)
	}
	for _, q := range inputs {
		var typed struct{ ExecutionID string }
		if err := q.result(&typed); err != nil {
			return err
		} else if typed.ExecutionID != id {
			return fmt.Errorf("execution.input of %s was answered for %s", id, typed.ExecutionID)
		}
	}
	return m.told(id, nonce)
}

// run has a program run in a session of its own.
func (m *member) run(nonce string) error {
	q, err := m.ask("execution.run", object{"language": "js", "code": "printf %s " + nonce})
	if err != nil {
		return err
	}
	var queued struct{ ExecutionID string }
	if err := q.result(&queued); err != nil {
		return err
	}
	return m.told(queued.ExecutionID, nonce)
}

// told waits for the end of an execution and sees that a text, and nothing else,
// came of it.
func (m *member) told(executionID, text string) error {
	m.mu.Lock()
	end := m.end(executionID)
	m.mu.Unlock()
	select {
	case <-end:
	case <-time.After(2 * patience):
		return fmt.Errorf("execution %s does not end", executionID)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mine[executionID] = true
	var got string
	for _, n := range m.notes[executionID] {
		got += n.Text + n.Error
	}
	if got != text {
		return fmt.Errorf("of execution %s came %q; want %q", executionID, got, text)
	}
	return nil
}

// newShellStack starts a server with a javascript whose programs are shell.
func newShellStack(t *testing.T) *stack {
	t.Helper()
	s := unstarted(t)
	archive := writeArchive(t, busyboxLayer(t, map[string]string{"bin/node": "#!/bin/sh\nexec sh \"$@\"\n"}))
	if err := s.images(t.Context(), "import", "javascript", archive); err != nil {
		t.Fatal(err)
	}
	if err := s.start(); err != nil {
		t.Fatal(err)
	}
	e, err := engine.Dial(context.WithoutCancel(t.Context()), engine.SocketPath(s.state), engine.DefaultNamespace)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return &stack{server: server{dir: s.dir, root: s.root, state: s.state, parent: s.parent, url: s.url, base: s.base, cmd: s.cmd}, engine: e}
}

func TestManyClientsGetTheirOwnAnswers(t *testing.T) {
	st := newShellStack(t)
	ctx := namespaces.WithNamespace(t.Context(), st.engine.Client().DefaultNamespace())
	c := &crowd{st: st, alive: make(chan struct{}, aliveSessions), sessions: map[string]string{}}
	visit := func(name string, sessions int) {
		m, err := c.join(ctx, name)
		if err != nil {
			c.failed(err)
			return
		}
		defer m.leave()
		for n := range sessions {
			nonce := fmt.Sprintf("%s-session-%d", name, n)
			c.alive <- struct{}{}
			if n == sessions-1 {
				err = m.run(nonce)
			} else {
				err = m.session(nonce)
			}
			<-c.alive
			if err != nil {
				c.failed(fmt.Errorf("%s: %w", name, err))
				return
			}
		}
	}
	unused, err := st.count(ctx)
	if err != nil {
		t.Fatal(err)
	}
	visit("first", 2) // what is made once and kept
	collect(ctx, t, st.engine.Client())
	var before census
	eventually(t, func() (err error) {
		// Only files of the process may have become more.
		if before, err = st.count(ctx); err == nil {
			unused.files = before.files
			err = left(unused, before)
		}
		return err
	})
	calls, began := c.calls.Load(), time.Now()
	var everybody sync.WaitGroup
	for n := range manyConnections {
		everybody.Go(func() { visit(fmt.Sprintf("client-%d", n), manySessions/manyConnections) })
	}
	everybody.Wait()
	took := time.Since(began)
	t.Logf("%d connections, %d sessions, %d at one time, %d calls in %s", manyConnections, manySessions, aliveSessions,
		c.calls.Load()-calls, took.Round(time.Millisecond))
	if err := errors.Join(c.errs...); err != nil {
		t.Error(err)
	}
	eventually(t, func() error {
		collect(ctx, t, st.engine.Client()) // the last sessions may be removed only now
		after, err := st.count(ctx)
		if err != nil {
			return err
		}
		return left(before, after)
	})
}

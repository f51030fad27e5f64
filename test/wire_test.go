package test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/gorilla/websocket"

	"codebeaker/rpc/client"
)

// message is a message of the server: the reply to a request, or a notification.
type message struct {
	ID     *int
	Result json.RawMessage
	Error  *client.Error
	Method string
	Params note
}

// note has the params of all notifications.
type note struct {
	ExecutionID, SessionID, Language string
	Stream, Text, Encoding           string
	Offset                           int64
	ExitCode                         int
	DurationMs                       int64
	Timeout                          bool
	EndReason                        string
	Error, Reason                    string
	From, To                         int64
}

// content returns the bytes that an execution.output brings.
func (n note) content() ([]byte, error) {
	switch n.Encoding {
	case "utf-8":
		// What is no UTF-8 is read as U+FFFD, which no test prints.
		if strings.ContainsRune(n.Text, utf8.RuneError) {
			return nil, fmt.Errorf("%s at %d has a character cut in two", n.Stream, n.Offset)
		}
		return []byte(n.Text), nil
	case "base64":
		return base64.StdEncoding.DecodeString(n.Text)
	default:
		return nil, fmt.Errorf("%s at %d has the encoding %q", n.Stream, n.Offset, n.Encoding)
	}
}

// wire is a connection that keeps all that the server sends, in its order. It
// shares no code with the product but the reading of frames.
type wire struct {
	t    *testing.T
	conn *websocket.Conn
	ids  int

	mu       sync.Mutex
	messages []message
	err      error         // why there are no more
	changed  chan struct{} // closed at the next message
}

// wire connects to the server until the test ends.
func (s *server) wire(t *testing.T) *wire {
	t.Helper()
	w := s.deafWire(t)
	w.listen()
	return w
}

// deafWire is wire for who does not read before listen.
func (s *server) deafWire(t *testing.T) *wire {
	t.Helper()
	w := &wire{t: t, conn: s.raw(t), changed: make(chan struct{})}
	if err := w.conn.SetReadDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *wire) listen() {
	var reading sync.WaitGroup
	reading.Go(w.read)
	w.t.Cleanup(func() {
		w.conn.Close()
		reading.Wait()
	})
}

func (w *wire) read() {
	for {
		var m message
		_, text, err := w.conn.ReadMessage()
		if err == nil {
			err = json.Unmarshal(text, &m)
		}
		w.mu.Lock()
		if err != nil {
			w.err = err
		} else {
			w.messages = append(w.messages, m)
		}
		close(w.changed)
		w.changed = make(chan struct{})
		w.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// seen returns what has arrived.
func (w *wire) seen() []message {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.messages)
}

// until waits for a message and returns it with its place among all.
func (w *wire) until(what string, is func(message) bool) (message, int) {
	w.t.Helper()
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	for from := 0; ; {
		w.mu.Lock()
		messages, changed, err := w.messages, w.changed, w.err
		w.mu.Unlock()
		for ; from < len(messages); from++ {
			if is(messages[from]) {
				return messages[from], from
			}
		}
		if err != nil {
			w.t.Fatalf("waiting for %s: %v", what, err)
		}
		select {
		case <-changed:
		case <-timeout.C:
			w.t.Fatalf("after %s still no %s; %d messages, the last ones %+v", patience, what, len(messages), messages[max(0, len(messages)-5):])
		}
	}
}

// send sends a request and returns its id.
func (w *wire) send(method string, params object) int {
	w.t.Helper()
	w.ids++
	if err := w.conn.WriteJSON(object{"jsonrpc": "2.0", "id": w.ids, "method": method, "params": params}); err != nil {
		w.t.Fatalf("send %s: %v", method, err)
	}
	return w.ids
}

// reply waits for the reply to a request and returns its place among all
// messages. The result goes to result, which may be nil; a reply that says no is
// an error.
func (w *wire) reply(id int, result any) (int, error) {
	w.t.Helper()
	m, at := w.until(fmt.Sprintf("reply to request %d", id), func(m message) bool { return m.ID != nil && *m.ID == id })
	if m.Error != nil {
		return at, m.Error
	}
	if result != nil {
		if err := json.Unmarshal(m.Result, result); err != nil {
			w.t.Fatalf("reply to request %d: %v in %s", id, err, m.Result)
		}
	}
	return at, nil
}

// ask is send and reply.
func (w *wire) ask(method string, params object, result any) error {
	w.t.Helper()
	_, err := w.reply(w.send(method, params), result)
	return err
}

// call is ask where no is no answer.
func (w *wire) call(method string, params object, result any) {
	w.t.Helper()
	if err := w.ask(method, params, result); err != nil {
		w.t.Fatalf("%s %v: %v", method, params, err)
	}
}

// notice waits for a notification about an execution or a session.
func (w *wire) notice(method, about string) (note, int) {
	w.t.Helper()
	m, at := w.until(method+" of "+about, func(m message) bool {
		return m.Method == method && (m.Params.ExecutionID == about || method == "session.closed" && m.Params.SessionID == about)
	})
	return m.Params, at
}

// printed waits until an execution's stdout on this connection, from offset on,
// is text; anything else that it is fails the test.
func (w *wire) printed(executionID string, from int64, text string) {
	w.t.Helper()
	w.until(fmt.Sprintf("output %q", text), func(message) bool {
		got := w.output(executionID, "stdout", from)
		if n := min(len(got), len(text)); string(got[:n]) != text[:n] {
			w.t.Fatalf("stdout from %d is %q; want %q", from, got, text)
		}
		return len(got) >= len(text)
	})
}

// output joins what arrived of a stream of an execution, which has to follow
// without a gap from an offset on.
func (w *wire) output(executionID, stream string, from int64) []byte {
	w.t.Helper()
	var all []byte
	for _, m := range w.seen() {
		if m.Method != "execution.output" || m.Params.ExecutionID != executionID || m.Params.Stream != stream {
			continue
		}
		if at := from + int64(len(all)); m.Params.Offset != at {
			w.t.Fatalf("%s goes on at %d; want %d", stream, m.Params.Offset, at)
		}
		content, err := m.Params.content()
		if err != nil {
			w.t.Fatal(err)
		}
		all = append(all, content...)
	}
	return all
}

// finished waits for the end of an execution that the connection follows.
func (w *wire) finished(executionID string) note {
	w.t.Helper()
	n, _ := w.notice("execution.completed", executionID)
	return n
}

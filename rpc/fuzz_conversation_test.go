package rpc

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"net"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/gorilla/websocket"

	"codebeaker/session"
	"codebeaker/session/sessiontest"
)

// FuzzConversation sends messages, of which every line of text is one, as frames
// that are cut at every step bytes, all of them before anything has to be read.
// However they are mixed, each request with an id gets exactly one answer with
// it, what is no request gets one with null, and nothing else is answered. Where
// cut is true the client is lost in the middle of a frame at last; the server
// then has to get rid of everything that it began.
func FuzzConversation(f *testing.F) {
	for _, conversation := range conversations {
		var sent []string
		for line := range strings.Lines(conversation.text) {
			if text, ok := strings.CutPrefix(line, "> "); ok {
				sent = append(sent, strings.TrimSpace(text))
			}
		}
		f.Add([]byte(strings.Join(sent, "\n")), uint8(len(sent)), false)
	}
	for example := range strings.SplitSeq(specification, "-->") {
		sent, _, _ := strings.Cut(example, "<--")
		f.Add([]byte(strings.Join(strings.Fields(sent), " ")), uint8(1), true)
	}
	const (
		run    = `{"jsonrpc":"2.0","id":"run","method":"execution.run","params":{"language":"python","code":"x"}}`
		create = `{"jsonrpc":"2.0","id":7,"method":"session.create","params":{"language":"python"}}`
		status = `{"jsonrpc":"2.0","id":null,"method":"execution.status","params":{"executionId":"x"}}`
		attach = `{"jsonrpc":"2.0","method":"execution.attach","params":{"executionId":"x"}}`
	)
	f.Add([]byte(run+"\n["+run+","+create+","+attach+"]\n"+status), uint8(3), false)
	f.Add([]byte("["+status+",7,"+run+"]\n{}\n"+shell("a", "s", "yes")+"\n"+attach), uint8(200), true)
	f.Fuzz(func(t *testing.T, text []byte, step uint8, cut bool) {
		if len(text) > 1<<16 || bytes.Count(text, []byte("\n")) > 100 {
			return
		}
		st := &stage{Host: sessiontest.NewHost()}
		st.Programs = map[string]sessiontest.Program{"python3": sessiontest.StandardPrograms()["echo"]}
		st.manager = st.Manager(func(o *session.Options) { o.MaxSessions = 4 })
		st.testServer = startServerOnPipes(t, Options{Sessions: st.manager, MaxBatch: 8, MaxPendingRequests: 16})
		t.Cleanup(func() {
			if err := st.manager.Shutdown(t.Context()); err != nil {
				t.Errorf("Shutdown of sessions: %v", err)
			}
			if n := st.Left(); n > 0 {
				t.Errorf("%d things are left on the host", n)
			}
		})
		c := st.dial(t)
		want := map[string]int{} // answers with an id
		for message := range bytes.SplitSeq(text, []byte("\n")) {
			if !utf8.Valid(message) {
				continue // ends the connection
			}
			for _, e := range decodeMessage(message, 8).entries {
				if e.id != nil {
					want[string(e.id)]++
				}
			}
		}
		sent := make(chan error, 1)
		go func() { // the pipe has no room for what nobody reads
			for message := range bytes.SplitSeq(text, []byte("\n")) {
				if utf8.Valid(message) {
					if err := writeFrames(c.NetConn(), message, max(1, int(step))); err != nil {
						sent <- err
						return
					}
				}
			}
			if cut {
				_, _ = c.NetConn().Write([]byte{0x81, 0xfe, 0x10}) // a length that is cut
			}
			sent <- nil
		}()
		wantAnswers(t, c, want)
		if err := <-sent; err != nil {
			t.Fatal(err)
		}
		if cut {
			_ = c.Conn.Close()
			return
		}
		_ = c.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(1000, ""), time.Now().Add(patience))
		for _, more := range c.wantClosed(1000) {
			for _, id := range answered(t, more) {
				t.Errorf("answered %s once more: %s", id, more)
			}
		}
		if strings.Contains(st.logs.String(), "panic") {
			t.Errorf("log:\n%s", st.logs)
		}
	})
}

// wantAnswers receives until every id has as many answers as are wanted.
func wantAnswers(t *testing.T, c *client, want map[string]int) {
	t.Helper()
	left := 0
	for _, n := range want {
		left += n
	}
	for left > 0 {
		text := c.receive()
		for _, id := range answered(t, text) {
			if want[id]--; want[id] < 0 {
				t.Fatalf("nobody waits for this answer to %s: %s", id, text)
			}
			left--
		}
	}
}

// answered returns the ids of a message from the server, none for a
// notification.
func answered(t *testing.T, text string) []string {
	t.Helper()
	var list []map[string]json.RawMessage
	if !strings.HasPrefix(text, "[") {
		text = "[" + text + "]"
	} else if text == "[]" {
		t.Fatal("an empty batch")
	}
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	var ids []string
	for _, m := range list {
		_, hasResult := m["result"]
		_, hasError := m["error"]
		_, isNote := m["method"]
		id, hasID := m["id"]
		if string(m["jsonrpc"]) != `"2.0"` || isNote == hasID || !isNote && hasResult == hasError || isNote && len(list) > 1 {
			t.Fatalf("no message of JSON-RPC: %s", text)
		}
		if hasID {
			ids = append(ids, string(id))
		}
	}
	return ids
}

// writeFrames writes a text message as frames of at most step bytes.
func writeFrames(conn net.Conn, message []byte, step int) error {
	kind := byte(websocket.TextMessage)
	for first := true; first || len(message) > 0; first = false {
		piece := message[:min(step, len(message))]
		message = message[len(piece):]
		if len(message) == 0 {
			kind |= 0x80
		}
		header := []byte{kind, 0x80 | 126}
		header = binary.BigEndian.AppendUint16(header, uint16(len(piece)))
		if _, err := conn.Write(slices.Concat(header, make([]byte, 4), piece)); err != nil { // masked by zeros
			return err
		}
		kind = 0
	}
	return nil
}

package test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// raw connects without our client.
func (s *server) raw(t *testing.T) *websocket.Conn {
	t.Helper()
	conn, resp, err := websocket.DefaultDialer.DialContext(t.Context(), s.url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return conn
}

func TestBadInputIsRefusedAndHarmsNothing(t *testing.T) {
	s := private(t)
	b := s.session(t, nil)
	execute := func(command any) object { return object{"sessionId": b.id, "command": command} }
	for _, tc := range []struct {
		name, method string
		params       object
		code         int
		text         string
	}{
		{"language", "session.create", object{"language": "cobol"}, -32003, `"cobol" is unknown`},
		{"language without an image", "session.create", object{"language": "go"}, -32003, "codebeaker images"},
		{"no language", "session.create", object{}, -32602, "language"},
		{"mistyped language", "session.create", object{"language": 7}, -32602, "language"},
		{"little memory", "session.create", object{"language": "python", "memoryLimitMB": 1}, -32602, "memoryLimitMB"},
		{"mistyped memory", "session.create", object{"language": "python", "memoryLimitMB": "512"}, -32602, "memoryLimitMB"},
		{"negative pids", "session.create", object{"language": "python", "pidsLimit": -1}, -32602, "pidsLimit"},
		{"no time", "session.create", object{"language": "python", "idleTimeoutMinutes": 0}, -32602, "idleTimeoutMinutes"},
		{"environment", "session.create", object{"language": "python", "env": object{"A=B": "c"}}, -32602, "env"},
		{"method", "session.destroy", object{}, -32601, "session.destroy"},
		{"session", "session.execute", object{"sessionId": "none", "command": object{"type": "read_file", "path": "x"}}, -32001, "not found"},
		{"session to close", "session.close", object{"sessionId": "none"}, -32001, "not found"},
		{"no session", "session.close", object{}, -32602, "sessionId"},
		{"no command", "session.execute", object{"sessionId": b.id}, -32602, "command"},
		{"command", "session.execute", execute(object{"type": "format_disk"}), -32602, "format_disk"},
		{"no path", "session.execute", execute(object{"type": "read_file"}), -32602, "command.path"},
		{"mistyped arguments", "session.execute", execute(object{"type": "execute_shell", "commandName": "ls", "args": []any{"a", 2}}), -32602, "command.args[1]"},
		{"no program", "session.execute", execute(object{"type": "execute_shell"}), -32602, "commandName"},
		{"broken base64", "session.execute", execute(object{"type": "write_file", "path": "x", "content": "*", "encoding": "base64"}), -32602, "command.content"},
		{"negative timeout", "session.execute", execute(object{"type": "execute_shell", "commandName": "ls", "timeout": -1}), -32602, "command.timeout"},
		{"NUL", "session.execute", execute(object{"type": "execute_shell", "commandName": "echo", "args": []string{"a\x00b"}}), -32602, "command.args"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			refused(t, b.c.Call(t.Context(), tc.method, tc.params, nil), tc.code, tc.text)
		})
	}
	if got := b.sh("echo unharmed; ls").Stdout; got != "unharmed\n" {
		t.Errorf("the session printed %q", got)
	}
	var list struct{ Count int }
	if err := b.c.Call(t.Context(), "session.list", object{}, &list); err != nil || list.Count != 1 {
		t.Errorf("%d sessions, %v; the refused ones made some", list.Count, err)
	}
}

func TestBadFramesAreRefusedAndHarmNoOther(t *testing.T) {
	s := busybox(t)
	b := s.session(t, nil)
	answer := func(conn *websocket.Conn, text string) string {
		t.Helper()
		if err := conn.WriteMessage(websocket.TextMessage, []byte(text)); err != nil {
			t.Fatal(err)
		}
		_, message, err := conn.ReadMessage()
		if err != nil {
			t.Fatal(err)
		}
		return string(message)
	}
	conn := s.raw(t)
	if got := answer(conn, "print('hi')"); !strings.Contains(got, "-32700") {
		t.Errorf("no JSON was answered with %s", got)
	}
	if got := answer(conn, "[]"); !strings.Contains(got, "-32600") {
		t.Errorf("an empty batch was answered with %s", got)
	}
	closes := func(kind int, message []byte, code int) {
		t.Helper()
		conn := s.raw(t)
		_ = conn.WriteMessage(kind, message) // the server may hang up on it
		_, _, err := conn.ReadMessage()
		if !websocket.IsCloseError(err, code) {
			t.Errorf("%d bytes of kind %d: %v; want close code %d", len(message), kind, err, code)
		}
	}
	closes(websocket.BinaryMessage, []byte("{}"), websocket.CloseUnsupportedData)
	closes(websocket.TextMessage, []byte(`{"x":"`+strings.Repeat("x", 20<<20)+`"}`), websocket.CloseMessageTooBig)
	if got := b.sh("echo unharmed").Stdout; got != "unharmed\n" {
		t.Errorf("another client's session printed %q", got)
	}
}

func TestThousandRequestsWithoutReading(t *testing.T) {
	s := busybox(t)
	conn := s.raw(t)
	const n = 1000
	sent := make(chan error, 1)
	go func() {
		var errs []error
		for i := range n {
			errs = append(errs, conn.WriteMessage(websocket.TextMessage, fmt.Appendf(nil, `{"jsonrpc":"2.0","id":%d,"method":"session.list"}`, i)))
		}
		sent <- errors.Join(errs...)
	}()
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for range n {
		_, message, err := conn.ReadMessage()
		if err != nil {
			t.Fatalf("after %d answers: %v", len(seen), err)
		}
		_, id, _ := strings.Cut(string(message), `"id":`)
		seen[strings.FieldsFunc(id, func(r rune) bool { return r < '0' || r > '9' })[0]] = true
	}
	if len(seen) != n {
		t.Errorf("%d of %d requests were answered", len(seen), n)
	}
}

func TestBrowsersOriginIsRefusedUnlessAllowed(t *testing.T) {
	s := private(t, "--allow-origin", "https://app.example.com")
	for origin, status := range map[string]int{
		"": http.StatusSwitchingProtocols, "https://app.example.com": http.StatusSwitchingProtocols,
		"https://evil.example.com": http.StatusForbidden, "null": http.StatusForbidden, s.base: http.StatusForbidden,
	} {
		header := http.Header{}
		if origin != "" {
			header.Set("Origin", origin)
		}
		conn, resp, err := websocket.DefaultDialer.DialContext(t.Context(), s.url, header)
		if err == nil {
			conn.Close()
		}
		if resp == nil || resp.StatusCode != status {
			t.Errorf("origin %q: %v, %v; want %d", origin, resp, err, status)
		}
		if resp != nil {
			resp.Body.Close()
		}
	}
}

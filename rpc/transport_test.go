package rpc

import (
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

const listRequest = `{"jsonrpc":"2.0","id":1,"method":"session.list"}`

func TestRefusedFramesCloseWithTheirCode(t *testing.T) {
	large := make([]byte, 20<<20)
	for i := range large {
		large[i] = ' '
	}
	for _, test := range []struct {
		name string
		code int
		send func(*client) error
	}{
		{"binary", websocket.CloseUnsupportedData, func(c *client) error {
			return c.WriteMessage(websocket.BinaryMessage, []byte(listRequest))
		}},
		{"large binary", websocket.CloseUnsupportedData, func(c *client) error {
			return c.WriteMessage(websocket.BinaryMessage, large)
		}},
		{"20 MiB", websocket.CloseMessageTooBig, func(c *client) error {
			return c.WriteMessage(websocket.TextMessage, large)
		}},
		{"20 MiB in fragments", websocket.CloseMessageTooBig, func(c *client) error {
			w, err := c.NextWriter(websocket.TextMessage)
			if err != nil {
				return err
			}
			for piece := large; len(piece) > 0; piece = piece[1<<20:] {
				if _, err := w.Write(piece[:1<<20]); err != nil {
					return err
				}
			}
			return w.Close()
		}},
		{"a length that no message has", websocket.CloseMessageTooBig, func(c *client) error {
			_, err := c.NetConn().Write([]byte("\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00"))
			return err
		}},
		{"no UTF-8", websocket.CloseInvalidFramePayloadData, func(c *client) error {
			return c.WriteMessage(websocket.TextMessage, []byte("\"\xff\""))
		}},
		{"against the protocol", websocket.CloseProtocolError, func(c *client) error {
			_, err := c.NetConn().Write([]byte("\xf1\x80\x00\x00\x00\x00"))
			return err
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := startServer(t, Options{})
			c := s.dial(t)
			if err := test.send(c); err != nil {
				t.Fatalf("send: %v; the client must get to finish", err)
			}
			if texts := c.wantClosed(test.code); len(texts) > 0 {
				t.Errorf("got %q before the close frame", texts)
			}
			_ = c.Conn.Close()
			eventually(t, "the connection is gone", func() bool { return s.connections() == 0 })
		})
	}
}

func TestMessageAtTheLimitIsTaken(t *testing.T) {
	s := startServer(t, Options{MaxMessageBytes: 1 << 20})
	c := s.dial(t)
	c.send(listRequest + strings.Repeat("\n", 1<<20-len(listRequest)))
	if r := c.receiveResponse(); r.Error != nil {
		t.Errorf("got %v", r.Error)
	}
	c.send(listRequest + strings.Repeat("\n", 1<<20-len(listRequest)+1))
	c.wantClosed(websocket.CloseMessageTooBig)
}

func TestFragmentsMakeOneMessage(t *testing.T) {
	s := startServer(t, Options{})
	c := s.dial(t)
	// A character that is cut by the frames is none that is broken.
	text := `{"jsonrpc":"2.0","id":"é","method":"session.list"}`
	frames := []byte{}
	for i := range len(text) {
		first := byte(0)
		if i == 0 {
			first = websocket.TextMessage
		}
		if i == len(text)-1 {
			first |= 0x80
		}
		frames = append(frames, first, 0x81, 0, 0, 0, 0, text[i])
		if i == 5 {
			frames = append(frames, 0x80|websocket.PingMessage, 0x80, 0, 0, 0, 0) // may come between
		}
	}
	if _, err := c.NetConn().Write(frames); err != nil {
		t.Fatal(err)
	}
	if r := c.receiveResponse(); string(r.ID) != `"é"` {
		t.Errorf("got id %s", r.ID)
	}
}

func TestPingIsAnswered(t *testing.T) {
	s := startServer(t, Options{})
	c := s.dial(t)
	pongs := make(chan string, 1)
	c.SetPongHandler(func(data string) error {
		pongs <- data
		return nil
	})
	if err := c.WriteControl(websocket.PingMessage, []byte("x"), time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "pong", func() bool { // replies keep the client reading
		c.send(listRequest)
		c.receive()
		return len(pongs) > 0
	})
	if got := <-pongs; got != "x" {
		t.Errorf("got pong %q, want %q", got, "x")
	}
}

func TestOrigin(t *testing.T) {
	for _, test := range []struct {
		allowed []string
		origin  string
		want    int
	}{
		{nil, "", http.StatusSwitchingProtocols},
		{nil, "https://evil.example", http.StatusForbidden},
		{nil, "http://HOST", http.StatusForbidden}, // DNS rebinding looks the same
		{nil, "null", http.StatusForbidden},
		{[]string{"https://app.example"}, "https://app.example", http.StatusSwitchingProtocols},
		{[]string{"https://app.example/"}, "https://APP.example", http.StatusSwitchingProtocols},
		{[]string{"https://app.example"}, "http://app.example", http.StatusForbidden},
		{[]string{"https://app.example"}, "https://app.example.evil.example", http.StatusForbidden},
		{[]string{"*"}, "null", http.StatusSwitchingProtocols},
	} {
		t.Run(test.origin+strings.Join(test.allowed, ""), func(t *testing.T) {
			s := startServer(t, Options{AllowedOrigins: test.allowed})
			header := http.Header{}
			if test.origin != "" {
				host := strings.TrimPrefix(s.http.URL, "http://")
				header.Set("Origin", strings.Replace(test.origin, "HOST", host, 1))
			}
			ws, resp, err := websocket.DefaultDialer.DialContext(t.Context(), s.url(), header)
			if err == nil {
				defer ws.Close()
			}
			if resp == nil || resp.StatusCode != test.want {
				t.Fatalf("got %v (%v), want status %d", resp, err, test.want)
			}
			if body, _ := io.ReadAll(resp.Body); err != nil && !strings.Contains(string(body), "allowed origins") {
				t.Errorf("got body %q, want what to configure", body)
			}
		})
	}
}

func TestConnectionsAreBounded(t *testing.T) {
	s := startServer(t, Options{MaxConnections: 1})
	c := s.dial(t)
	_, resp, err := websocket.DefaultDialer.DialContext(t.Context(), s.url(), nil)
	if err == nil || resp.StatusCode != http.StatusServiceUnavailable {
		t.Fatalf("got %v, %v, want status 503", resp, err)
	}
	_ = c.Conn.Close()
	eventually(t, "the place is free", func() bool { return s.connections() == 0 })
	s.dial(t)
}

func TestHTTP(t *testing.T) {
	var broken atomic.Bool
	s := startServer(t, Options{Version: "1.2.3", Ready: func() error {
		if broken.Load() {
			return errors.New("containerd does not answer")
		}
		return nil
	}})
	do := func(method, path string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, path, nil))
		return w
	}
	for _, test := range []struct {
		method, path string
		broken       bool
		want         int
		status       string
	}{
		{"GET", "/health", false, 200, "Healthy"},
		{"HEAD", "/health", false, 200, "Healthy"},
		{"GET", "/health/ready", false, 200, "Healthy"},
		{"GET", "/health/live", false, 200, "Healthy"},
		{"GET", "/health", true, 503, "Unhealthy"},
		{"GET", "/health/ready", true, 503, "Unhealthy"},
		{"GET", "/health/live", true, 200, "Healthy"},
		{"POST", "/health", false, 405, ""},
		{"GET", Path, false, 426, ""},
		{"POST", Path, false, 405, ""},
		{"GET", "/", false, 404, ""},
		{"GET", "/health/x", false, 404, ""},
		{"GET", Path + "/", false, 404, ""},
	} {
		broken.Store(test.broken)
		w := do(test.method, test.path)
		if w.Code != test.want {
			t.Errorf("%s %s (broken %v): got %d, want %d", test.method, test.path, test.broken, w.Code, test.want)
		}
		if test.status == "" {
			continue
		}
		var h health
		if err := json.Unmarshal(w.Body.Bytes(), &h); err != nil {
			t.Fatal(err)
		}
		if h.Status != test.status || h.Version != "1.2.3" || h.UptimeSeconds != 18*60 || (h.Reason != "") != (test.want == 503) {
			t.Errorf("%s %s (broken %v): got %+v", test.method, test.path, test.broken, h)
		}
	}
	broken.Store(false)
	if err := s.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if w := do("GET", "/health/ready"); w.Code != 503 {
		t.Errorf("after Shutdown: got %d, want 503", w.Code)
	}
}

func TestLingerIsBounded(t *testing.T) {
	near, far := net.Pipe()
	defer far.Close()
	l := &link{Conn: near, idle: patience, write: patience}
	defer l.Close()
	l.startLinger(patience)
	go func() {
		for piece := make([]byte, 1<<20); ; {
			if _, err := far.Write(piece); err != nil {
				return
			}
		}
	}()
	n, err := io.Copy(io.Discard, l)
	if !errors.Is(err, errLinger) || n > lingerBytes+1<<20 {
		t.Errorf("read %d bytes, then %v; want about %d, then %v", n, err, lingerBytes, errLinger)
	}
}

package main

import (
	"errors"
	"io"
	"net"
	"net/http"
	"syscall"
	"testing"
	"time"
)

func TestDescriptorsAreLeftToSessions(t *testing.T) {
	for files, want := range map[uint64][2]int{
		1 << 20: {1024, 1280}, 1024: {205, 256}, 256: {52, 64}, 4: {1, 2}, 0: {1, 2},
	} {
		if webSockets, all := divide(files); webSockets != want[0] || all != want[1] {
			t.Errorf("of %d descriptors, %d are for WebSockets and %d for all connections; want %d", files, webSockets, all, want)
		}
	}
}

// Connections that do nothing end, and make room for others.
func TestIdleConnectionsMakeRoom(t *testing.T) {
	const most = 3
	l, err := listen(t.Context(), "127.0.0.1:0", most)
	if err != nil {
		t.Fatal(err)
	}
	s := newHTTPServer(http.NotFoundHandler())
	if s.ReadHeaderTimeout == 0 || s.IdleTimeout == 0 {
		t.Fatalf("a client that sends nothing has %s, and one that sends no more %s", s.ReadHeaderTimeout, s.IdleTimeout)
	}
	s.ReadHeaderTimeout, s.IdleTimeout = 50*time.Millisecond, 50*time.Millisecond
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	defer func() {
		s.Close()
		<-served
	}()
	dial := func() net.Conn {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	for range 4 * most {
		dial()
	}
	last := dial()
	if _, err := io.WriteString(last, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if err := last.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if n, err := last.Read(make([]byte, 12)); n == 0 || err != nil {
		t.Errorf("the last one read %d bytes, %v", n, err)
	}
	if _, err := io.Copy(io.Discard, last); err != nil { // until it is idle for too long
		t.Error(err)
	}
}

// A connection of the limited listener can be ended at once, without what its
// client has not read.
func TestLimitedConnectionsCanBeReset(t *testing.T) {
	l, err := listen(t.Context(), "127.0.0.1:0", 1)
	if err != nil {
		t.Fatal(err)
	}
	client, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	lingerer, ok := conn.(interface{ SetLinger(seconds int) error })
	if !ok {
		t.Fatalf("%T has no SetLinger", conn)
	}
	if err := errors.Join(lingerer.SetLinger(0), conn.Close(), conn.Close(), l.Close(), client.SetDeadline(time.Now().Add(time.Minute))); err == nil {
		t.Error("the connection was closed twice without an error")
	}
	if _, err := client.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the client was told %v", err)
	}
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a closed listener accepts: %v", err)
	}
}

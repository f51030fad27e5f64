package rpc

import (
	"bufio"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"
)

const (
	// writePiece is what a client has WriteTimeout to read.
	writePiece = 64 << 10
	// lingerBytes bounds what is read from a client that was sent a close frame
	// and goes on sending. It lets a client that is in the middle of a message
	// finish and find the frame: to close the socket at once would have its
	// kernel throw the frame away with a reset.
	lingerBytes = 64 << 20
)

var errLinger = errors.New("client went on sending after the close frame")

// link is the network connection below a WebSocket. Its deadlines are about
// progress: a large message over a slow network is no dead peer, and a peer
// that takes nothing is one however small the message.
type link struct {
	net.Conn
	idle  time.Duration // how long nothing may arrive or leave
	write time.Duration // how long writePiece may take

	// readErr is why reading ended; of the goroutine that reads.
	readErr error

	mu      sync.Mutex // orders deadlines
	linger  bool
	drained int64 // bytes read since linger
}

// Read fails when nothing has moved for the idle time.
func (l *link) Read(p []byte) (int, error) {
	l.moved()
	n, err := l.Conn.Read(p)
	if err == nil {
		l.mu.Lock()
		if l.linger {
			if l.drained += int64(n); l.drained > lingerBytes {
				err = errLinger
			}
		}
		l.mu.Unlock()
	}
	if err != nil {
		l.readErr = err
	}
	return n, err
}

// Write fails when the peer does not take the next piece in time.
func (l *link) Write(p []byte) (int, error) {
	written := 0
	for {
		piece := p[written:min(len(p), written+writePiece)]
		if err := l.Conn.SetWriteDeadline(time.Now().Add(l.write)); err != nil {
			return written, err
		}
		n, err := l.Conn.Write(piece)
		written += n
		if err != nil || written == len(p) {
			return written, err
		}
		l.moved()
	}
}

// SetWriteDeadline does nothing: Write sets its own.
func (l *link) SetWriteDeadline(time.Time) error { return nil }

// SetReadDeadline does nothing: Read sets its own.
func (l *link) SetReadDeadline(time.Time) error { return nil }

// moved says that the peer lives.
func (l *link) moved() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.linger {
		_ = l.Conn.SetReadDeadline(time.Now().Add(l.idle))
	}
}

// startLinger bounds what is read from now on, in time and bytes. It may be
// called while another goroutine reads.
func (l *link) startLinger(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.linger = true
	_ = l.Conn.SetReadDeadline(time.Now().Add(d))
}

// forget has the kernel drop, once the link is closed, what the peer has not
// taken.
func (l *link) forget() {
	if tcp, ok := l.Conn.(interface{ SetLinger(seconds int) error }); ok {
		_ = tcp.SetLinger(0)
	}
}

// hijacker puts a link between the HTTP connection and the WebSocket.
type hijacker struct {
	http.ResponseWriter
	link *link
}

// Hijack makes the link.
func (h *hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(h.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	h.link.Conn = conn
	return h.link, rw, nil
}

package client

import (
	"net"
	"time"
)

const (
	// writePiece is what a server has writeTimeout to read.
	writePiece   = 64 << 10
	writeTimeout = 30 * time.Second
)

// link is the network connection below a WebSocket. Its deadlines are about
// progress: a large message over a slow network is no dead server, and one that
// takes or sends nothing is, however small the message.
type link struct {
	net.Conn
	// established says that the handshake, which has a deadline of its own, is
	// over.
	established bool
}

// Read fails when nothing arrives for the idle time. The time runs only while
// somebody reads: who does not take what has come has not lost the server.
func (l *link) Read(p []byte) (int, error) {
	if l.established {
		if err := l.Conn.SetReadDeadline(time.Now().Add(idleTimeout)); err != nil {
			return 0, err
		}
	}
	return l.Conn.Read(p)
}

// Write fails when the server does not take the next piece in time.
func (l *link) Write(p []byte) (int, error) {
	written := 0
	for {
		piece := p[written:min(len(p), written+writePiece)]
		if l.established {
			if err := l.Conn.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
				return written, err
			}
		}
		n, err := l.Conn.Write(piece)
		written += n
		if err != nil || written == len(p) {
			return written, err
		}
	}
}

// SetWriteDeadline does nothing: Write sets its own.
func (l *link) SetWriteDeadline(time.Time) error { return nil }

// SetReadDeadline does nothing: Read sets its own.
func (l *link) SetReadDeadline(time.Time) error { return nil }

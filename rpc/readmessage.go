package rpc

import (
	"bytes"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

const (
	// shortMessage is the length up to which a message takes nothing of the budget.
	shortMessage = 64 << 10
	// messageChunk is in how large pieces a longer one is read: what has not come yet
	// takes no memory.
	messageChunk = 1 << 20
)

// errGone is a connection that closes before its message can be read.
var errGone = errors.New("the connection closes")

// readMessage reads up to limit bytes. The caller owes the budget of requests what
// readMessage held of it for the message.
func (c *conn) readMessage(r io.Reader, limit int64) (text []byte, held int64, err error) {
	const first = 4 << 10
	r = io.LimitReader(r, limit)
	text = make([]byte, first)
	n, err := io.ReadFull(r, text)
	if ended(err) {
		return bytes.Clone(text[:n]), 0, nil
	}
	if err != nil {
		return nil, 0, err
	}
	text = append(make([]byte, 0, shortMessage), text...)
	n, err = io.ReadFull(r, text[len(text):cap(text)])
	text = text[:len(text)+n]
	if ended(err) {
		return bytes.Clone(text), 0, nil // the most of them need much less
	}
	if err != nil {
		return nil, 0, err
	}
	return c.readLong(r, text, limit)
}

// ended says whether a message, and not the connection, ended while it was read.
func ended(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) }

// readLong reads the rest of a long message, which begins with head.
func (c *conn) readLong(r io.Reader, head []byte, limit int64) (_ []byte, held int64, retErr error) {
	budget := c.srv.requests
	taken, ok := budget.take(limit, c.closing)
	if !ok {
		return nil, 0, errGone
	}
	defer func() {
		if retErr != nil {
			budget.give(taken)
		}
	}()
	defer c.hurry()()
	chunks, size := [][]byte{head}, int64(len(head))
	for {
		chunk := make([]byte, min(messageChunk, limit-size+1)) // one more shows the end
		n, err := io.ReadFull(r, chunk)
		chunks, size = append(chunks, chunk[:n]), size+int64(n)
		if ended(err) {
			break
		}
		if err != nil {
			return nil, 0, err
		}
	}
	budget.add(size - taken)
	return bytes.Join(chunks, nil), size, nil
}

// hurry ends the connection if a long message is not read in time while others wait
// for the memory that it holds. The caller calls done when the message is read.
func (c *conn) hurry() (done func()) {
	read := make(chan struct{})
	var watch sync.WaitGroup
	watch.Go(func() { c.watchMessage(read) })
	return func() {
		close(read)
		watch.Wait()
	}
}

// watchMessage is hurry's goroutine. It ends when read is closed, or the connection.
func (c *conn) watchMessage(read <-chan struct{}) {
	tick := time.NewTicker(c.srv.opts.MessageTimeout)
	defer tick.Stop()
	for {
		select {
		case <-read:
			return
		case <-c.closing:
			return
		case <-tick.C:
		}
		if _, waiting := c.srv.requests.stats(); waiting == 0 || isClosed(read) {
			continue
		}
		c.log.Warn("client dropped: its message came too slowly while others waited", "timeout", c.srv.opts.MessageTimeout)
		c.close(websocket.ClosePolicyViolation, "the message came too slowly while others waited")
		return
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

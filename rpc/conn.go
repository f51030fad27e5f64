package rpc

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/gorilla/websocket"

	"codebeaker/session"
)

// conn is a connection. Its reader, its writer and its calls share state and
// nothing else.
type conn struct {
	srv  *Server
	ws   *websocket.Conn
	link *link
	log  *slog.Logger

	// cancel ends the context of the calls, and endWaits that of those which only
	// wait for the sake of the client.
	cancel, endWaits context.CancelCauseFunc
	// start prepares a call, and returns what carries it out on a goroutine of its
	// own; calls counts those.
	start func(*call) (run func())
	calls sync.WaitGroup

	// audience is what the client is told of unasked.
	audience *audience

	// replies bounds what the connection holds of the server's budget of replies: a
	// client that reads slowly leaves the most of it to others.
	replies *budget

	// closing is closed when messages are not taken any more.
	closing chan struct{}

	wake chan struct{} // tells the writer that state has changed
	room chan struct{} // tells the reader

	mu    sync.Mutex
	state state
}

// newConn takes over ws and link. The context is that of the calls.
func newConn(ctx context.Context, srv *Server, ws *websocket.Conn, l *link) *conn {
	ctx, cancel := context.WithCancelCause(ctx)
	waits, endWaits := context.WithCancelCause(ctx)
	c := &conn{
		srv:      srv,
		ws:       ws,
		link:     l,
		log:      srv.opts.Log.With("remote", l.RemoteAddr().String()),
		cancel:   cancel,
		endWaits: endWaits,
		audience: newAudience(srv.opts.MaxFollowed),
		wake:     make(chan struct{}, 1),
		room:     make(chan struct{}, 1),
		closing:  make(chan struct{}),
		replies:  newBudget(2 * srv.opts.MaxQueuedBytes),
		state: state{
			maxRequests: srv.opts.MaxPendingRequests,
			maxBytes:    srv.opts.MaxPendingBytes,
			maxQueued:   srv.opts.MaxQueuedBytes,
			maxNotified: srv.opts.MaxNotifiedBytes,
			queues:      map[string][]*call{},
			calls:       map[*call]struct{}{},
		},
	}
	c.start = func(call *call) func() {
		all := ctx
		if call.method.forClient {
			all = waits
		}
		own, stop := context.WithCancelCause(all)
		call.stop = stop
		return func() {
			defer c.calls.Done()
			defer stop(nil)
			response := c.srv.respond(own, c, call)
			c.update(func(s *state) { s.finish(call, response) })
			c.srv.endCall()
		}
	}
	ws.SetPingHandler(func(data string) error {
		// Of pings that come faster than pongs leave, the last is answered, as
		// RFC 6455 section 5.5.3 allows.
		c.update(func(s *state) { s.pong = []byte(data) })
		return nil
	})
	ws.SetCloseHandler(func(int, string) error { return nil }) // the writer answers
	return c
}

// serve returns when the connection is closed, and its calls and followers have
// ended. A client that leaves gives up its place; what it asked for goes on.
func (c *conn) serve() {
	var writer sync.WaitGroup
	writer.Go(c.write)
	c.read()
	writer.Wait()
	_ = c.link.Close()
	c.audience.close()
	c.srv.leave(c)
	grace := time.AfterFunc(c.srv.opts.CloseTimeout, func() { c.endWaits(session.ErrLeft) })
	defer grace.Stop()
	c.calls.Wait()
	c.audience.working.Wait()
	c.cancel(nil)
}

// giveUp ends everything that goes on for the connection.
func (c *conn) giveUp(why error) {
	c.cancel(why)
	c.audience.close()
}

// update changes the state under the lock, starts the calls and followers that can
// start, and wakes the writer and the reader.
func (c *conn) update(change func(*state)) {
	c.mu.Lock()
	change(&c.state)
	c.state.admit()
	ready, followers := c.state.start(), c.state.beginning()
	runs := make([]func(), 0, len(ready))
	for _, call := range ready {
		runs = append(runs, c.start(call))
	}
	c.calls.Add(len(runs))
	requests, replies := c.state.takeFreed()
	if c.state.dropping() {
		closeOnce(c.closing)
	}
	c.mu.Unlock()
	c.srv.requests.give(requests)
	c.srv.replies.give(replies)
	c.replies.give(replies)
	for _, run := range runs {
		go run()
	}
	for _, f := range followers {
		c.audience.begin(f)
	}
	notify(c.wake)
	notify(c.room)
}

func notify(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// close sends a close frame after what is queued.
func (c *conn) close(code int, reason string) {
	c.update(func(s *state) { s.close(code, reason) })
}

// read takes messages until the connection ends.
func (c *conn) read() {
	limit := c.srv.opts.MaxMessageBytes
	for {
		discard := c.waitForRoom()
		kind, r, err := c.ws.NextReader()
		if err == nil && discard {
			continue // NextReader skips the message; only its end matters now
		}
		if err == nil && kind != websocket.TextMessage {
			c.close(websocket.CloseUnsupportedData, "messages are text frames")
			continue
		}
		var text []byte
		var held int64
		if err == nil {
			text, held, err = c.readMessage(r, limit+1)
		}
		switch {
		case errors.Is(err, errGone):
			continue // to skip the message
		case err != nil:
			c.readFailed(err)
			return
		case int64(len(text)) > limit:
			c.close(websocket.CloseMessageTooBig, "message over the size limit")
		case !utf8.Valid(text):
			c.close(websocket.CloseInvalidFramePayloadData, "text is not UTF-8")
		default:
			c.take(text, held)
			continue
		}
		c.srv.requests.give(held)
	}
}

// waitForRoom returns when another message can be taken, or with true when
// messages are only to be discarded.
func (c *conn) waitForRoom() (discard bool) {
	for {
		c.mu.Lock()
		full, discard := c.state.full(), c.state.dropping()
		c.mu.Unlock()
		if !full {
			return discard
		}
		<-c.room
	}
}

// readFailed ends the connection after a failed read.
func (c *conn) readFailed(err error) {
	var peer *websocket.CloseError
	switch {
	case c.link.readErr != nil:
		c.log.Debug("connection ended", "error", c.link.readErr)
		c.lost()
	case errors.As(err, &peer):
		c.update(func(s *state) {
			s.discard() // whoever closes wants no replies
			s.close(peer.Code, "")
		})
	default:
		// A frame that is against the protocol. The websocket package has sent a
		// close frame, but where the length was absurd.
		c.log.Info("client broke the WebSocket protocol", "error", err)
		code := websocket.CloseProtocolError
		if errors.Is(err, websocket.ErrReadLimit) {
			code = websocket.CloseMessageTooBig
		}
		c.close(code, "")
		_, _ = io.Copy(io.Discard, c.link) // until the client closes, or the linger ends
	}
}

// take makes a frame of a message and sees it carried out. It owns what is held of the
// budget for the message.
func (c *conn) take(text []byte, held int64) {
	received := time.Now()
	msg := decodeMessage(text, c.srv.opts.MaxBatch)
	f := &frame{batch: msg.batch, size: int64(len(text) + callBytes*len(msg.entries)), held: held, reserving: make(chan struct{}, 1), responses: make([][]byte, len(msg.entries))}
	var calls []*call
	for i, e := range msg.entries {
		call := &call{request: e.request, frame: f, index: i, received: received}
		if e.err == nil {
			e.err = c.srv.prepare(call)
		}
		if e.err == nil {
			calls = append(calls, call)
			continue
		}
		if e.id != nil {
			f.responses[i] = encodeError(e.id, e.err)
		}
		c.srv.observe(call, e.err.Code)
	}
	c.update(func(s *state) { s.take(f, calls) })
}

// write writes replies and control frames until the connection ends. No other
// goroutine writes, but for the close frame of a protocol error.
func (c *conn) write() {
	pings := time.NewTicker(c.srv.opts.PingInterval)
	defer pings.Stop()
	for {
		c.mu.Lock()
		out := c.state.next()
		c.mu.Unlock()

		var err error
		switch out.kind {
		case writeEnd:
			return
		case writeNothing:
			select {
			case <-c.wake:
			case <-pings.C:
				err = c.ws.WriteControl(websocket.PingMessage, nil, time.Time{})
			}
		case websocket.TextMessage:
			if err = c.ws.WriteMessage(websocket.TextMessage, out.data); err == nil {
				c.link.moved() // which a ping must not do
			}
			c.update(func(s *state) { s.wrote(out) })
		case websocket.PongMessage:
			err = c.ws.WriteControl(websocket.PongMessage, out.data, time.Time{})
		case websocket.CloseMessage:
			err = c.ws.WriteControl(websocket.CloseMessage, out.data, time.Time{})
			if err == nil {
				err = websocket.ErrCloseSent
			}
		}
		if !c.wrote(err) {
			return
		}
	}
}

// wrote says whether writing goes on after an attempt that ended with err.
func (c *conn) wrote(err error) bool {
	switch {
	case err == nil:
		return true
	case errors.Is(err, websocket.ErrCloseSent):
		c.link.startLinger(c.srv.opts.CloseTimeout)
		c.update(func(s *state) { s.lose() })
		return false
	case errors.Is(err, os.ErrDeadlineExceeded):
		c.log.Warn("client dropped: it does not read its replies", "timeout", c.srv.opts.WriteTimeout)
		c.link.forget()
	default:
		c.log.Debug("connection ended", "error", err)
	}
	c.lost()
	return false
}

// lost frees the connection at once; calls go on without it.
func (c *conn) lost() {
	c.update(func(s *state) { s.lose() })
	_ = c.link.Close()
}

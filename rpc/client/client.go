// Package client speaks to a server over its wire contract, for the command
// line and for tests.
//
// A Client is one WebSocket connection. Calls may be made from many goroutines
// at one time; each waits for its own answer. A Stream is a call together with
// the notifications of the execution that it starts or attaches to. Close ends
// the connection and fails the calls that wait.
//
// A Follower shows one execution from its start to its end and outlives
// connections: where one breaks it dials again and attaches at the bytes that it
// has reached. A Control makes calls that need not be made twice by hand where a
// connection breaks.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

const (
	// pingInterval is how often the server is asked for a sign of life, and
	// idleTimeout how long none may come.
	pingInterval = 20 * time.Second
	idleTimeout  = 75 * time.Second
	// maxMessageBytes bounds a message from the server. The largest that a
	// server sends is a file's content, of which it gives 8 MiB at one time, or
	// what a program printed, 1 MiB for each stream.
	maxMessageBytes = 64 << 20
)

// ErrDisconnected is why a call or a Stream fails whose connection ended. What
// was asked may have been carried out.
var ErrDisconnected = errors.New("the connection to the server broke")

// Error is a server's answer that says no.
type Error struct {
	Code    int             `json:"code"`
	Message string          `json:"message"`
	Data    json.RawMessage `json:"data,omitempty"`
}

func (e *Error) Error() string { return fmt.Sprintf("%s (%d)", e.Message, e.Code) }

// Client is a connection to a server.
type Client struct {
	conn    *websocket.Conn
	reading sync.WaitGroup
	done    chan struct{} // closed when nothing more is read

	closeOnce sync.Once
	closing   chan struct{} // closed when Close begins

	writing chan struct{} // held, as a value in the channel, by whoever writes a message

	mu      sync.Mutex
	nextID  int64
	waiting map[int64]*call
	streams map[string]*Stream // by execution
	err     error              // why there are no more answers
}

// call is a request whose answer has not come.
type call struct {
	method string
	answer chan response // gets one; closed where the connection ends before
	stream *Stream       // nil for a plain call
}

type response struct {
	Result json.RawMessage `json:"result"`
	Error  *Error          `json:"error"`
}

// message is what a server sends: a response or a notification.
type message struct {
	response
	ID     *int64          `json:"id"`
	Method string          `json:"method"`
	Params json.RawMessage `json:"params"`
}

// Dial connects to the server at url, such as "ws://127.0.0.1:5000/ws/jsonrpc".
func Dial(ctx context.Context, url string) (*Client, error) {
	var l *link
	stop := func() bool { return true }
	dialer := websocket.Dialer{
		HandshakeTimeout: 45 * time.Second,
		WriteBufferSize:  64 << 10, // which is a frame
		NetDialContext: func(dialCtx context.Context, network, address string) (net.Conn, error) {
			conn, err := (&net.Dialer{}).DialContext(dialCtx, network, address)
			if err != nil {
				return nil, err
			}
			l = &link{Conn: conn}
			// The handshake looks at a context's deadline only.
			stop = context.AfterFunc(ctx, func() { conn.Close() })
			return l, nil
		},
	}
	conn, resp, err := dialer.DialContext(ctx, url, nil)
	if !stop() && ctx.Err() != nil {
		err = ctx.Err()
	}
	if resp != nil {
		defer resp.Body.Close()
	}
	if err != nil {
		if resp != nil {
			err = fmt.Errorf("%w: %s", err, resp.Status)
		}
		return nil, fmt.Errorf("connect to %s: %w", url, err)
	}
	l.established = true
	conn.SetReadLimit(maxMessageBytes)
	c := &Client{
		conn: conn, done: make(chan struct{}), closing: make(chan struct{}),
		writing: make(chan struct{}, 1), waiting: map[int64]*call{}, streams: map[string]*Stream{},
	}
	c.reading.Go(c.read)
	c.reading.Go(c.ping)
	return c, nil
}

// Call sends a request and decodes its result into result, which may be nil.
// An answer that says no is an *Error.
func (c *Client) Call(ctx context.Context, method string, params, result any) error {
	id, pending, err := c.send(ctx, method, params, nil)
	if err != nil {
		return err
	}
	return c.wait(ctx, id, pending, result)
}

// send sends a request. The answer goes to the call that it returns, and with it
// the notifications of the execution to stream, which may be nil.
func (c *Client) send(ctx context.Context, method string, params any, stream *Stream) (int64, *call, error) {
	pending := &call{method: method, answer: make(chan response, 1), stream: stream}
	raw, err := json.Marshal(params)
	if err != nil {
		return 0, nil, fmt.Errorf("call %s: encode params: %w", method, err)
	}
	c.mu.Lock()
	if c.err != nil {
		defer c.mu.Unlock()
		return 0, nil, fmt.Errorf("call %s: %w", method, c.err)
	}
	c.nextID++
	id := c.nextID
	c.waiting[id] = pending
	if stream != nil {
		stream.id, stream.call = id, pending
	}
	c.mu.Unlock()
	text := fmt.Appendf(make([]byte, 0, len(raw)+128), `{"jsonrpc":"2.0","id":%d,"method":%q,"params":`, id, method)
	text = append(append(text, raw...), '}')
	if err := c.write(ctx, text); err != nil {
		c.forget(id)
		return 0, nil, fmt.Errorf("call %s: %w", method, err)
	}
	return id, pending, nil
}

// write writes a message. If ctx ends in the middle, nothing more can be said on
// the connection, and it ends too.
func (c *Client) write(ctx context.Context, text []byte) error {
	select {
	case c.writing <- struct{}{}:
		defer func() { <-c.writing }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	stop := context.AfterFunc(ctx, func() { _ = c.conn.Close() })
	err := c.conn.WriteMessage(websocket.TextMessage, text)
	if !stop() {
		return fmt.Errorf("%w: %w", ErrDisconnected, ctx.Err())
	}
	if err != nil {
		_ = c.conn.Close() // the message may be written in part
		return fmt.Errorf("%w: %w", ErrDisconnected, err)
	}
	return nil
}

// wait waits for the answer to a call.
func (c *Client) wait(ctx context.Context, id int64, pending *call, result any) error {
	defer c.forget(id)
	select {
	case <-ctx.Done():
		return fmt.Errorf("call %s: %w", pending.method, ctx.Err())
	case r, ok := <-pending.answer:
		switch {
		case !ok:
			return fmt.Errorf("call %s: %w", pending.method, c.Err())
		case r.Error != nil:
			return r.Error
		case result == nil:
			return nil
		}
		if err := json.Unmarshal(r.Result, result); err != nil {
			return fmt.Errorf("call %s: decode result: %w", pending.method, err)
		}
		return nil
	}
}

func (c *Client) forget(id int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.waiting, id)
}

// Err returns why the connection ended, which wraps ErrDisconnected, or nil
// where it is not known to have.
func (c *Client) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// read hands each answer to the call that waits for it, and each notification
// to its Stream.
func (c *Client) read() {
	defer close(c.done)
	for {
		err := c.readOne()
		if err == nil {
			continue
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.err = fmt.Errorf("%w: %w", ErrDisconnected, err)
		for id, pending := range c.waiting {
			close(pending.answer)
			delete(c.waiting, id)
		}
		return
	}
}

func (c *Client) readOne() error {
	_, text, err := c.conn.ReadMessage()
	if err != nil {
		return err
	}
	if id, result, ok := cutResult(text); ok {
		c.answered(id, response{Result: result})
		return nil
	}
	var m message
	if err := json.Unmarshal(text, &m); err != nil {
		return fmt.Errorf("decode message: %w", err)
	}
	if m.Method != "" {
		return c.notified(m.Method, m.Params)
	}
	if m.ID != nil {
		c.answered(*m.ID, m.response)
	}
	return nil
}

// cutResult takes a response with a result apart, as the server writes it, and
// says whether it is one. encoding/json would go through a long result twice
// for that, which whoever waits for it decodes.
func cutResult(text []byte) (id int64, result []byte, ok bool) {
	rest, ok := bytes.CutPrefix(text, []byte(`{"jsonrpc":"2.0","id":`))
	if !ok {
		return 0, nil, false
	}
	number, rest, ok := bytes.Cut(rest, []byte(`,"result":`))
	const digits = 19 // at most
	if !ok || len(number) > digits || !bytes.HasSuffix(rest, []byte("}")) {
		return 0, nil, false
	}
	id, err := strconv.ParseInt(string(number), 10, 64)
	return id, rest[:len(rest)-1], err == nil
}

func (c *Client) answered(id int64, r response) {
	c.mu.Lock()
	pending, ok := c.waiting[id]
	delete(c.waiting, id)
	if ok && pending.stream != nil {
		c.bindAnswered(pending.stream, r)
	}
	c.mu.Unlock()
	if !ok {
		return
	}
	pending.answer <- r
	if pending.stream != nil {
		pending.stream.answered(r)
	}
}

// ping asks for signs of life, which the link waits for.
func (c *Client) ping() {
	ticker := time.NewTicker(pingInterval)
	defer ticker.Stop()
	for {
		select {
		case <-c.done:
			return
		case now := <-ticker.C:
			// It fails where the connection has, which read finds out.
			_ = c.conn.WriteControl(websocket.PingMessage, nil, now.Add(pingInterval))
		}
	}
}

// Close says goodbye and ends the connection.
func (c *Client) Close() error {
	deadline := time.Now().Add(time.Second)
	err := c.conn.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""), deadline)
	if errors.Is(err, websocket.ErrCloseSent) {
		err = nil
	}
	err = errors.Join(err, c.conn.Close())
	c.closeOnce.Do(func() { close(c.closing) }) // read may wait for a Stream
	c.reading.Wait()
	return err
}

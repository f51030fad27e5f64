// Package client speaks to a server over its wire contract, for the command
// line and for tests.
//
// A Client is one WebSocket connection. Calls may be made from many goroutines
// at one time; each waits for its own answer. Close ends the connection and
// fails the calls that wait.
package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// writeTimeout bounds how long a server may refuse to read.
const writeTimeout = 30 * time.Second

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

	writing sync.Mutex // serialises messages on conn

	mu      sync.Mutex
	nextID  int64
	waiting map[int64]chan response
	err     error // why there are no more answers
}

type request struct {
	Version string `json:"jsonrpc"`
	ID      int64  `json:"id"`
	Method  string `json:"method"`
	Params  any    `json:"params"`
}

type response struct {
	ID     *int64          `json:"id"`
	Result json.RawMessage `json:"result"`
	Error  *Error          `json:"error"`
}

// Dial connects to the server at url, such as "ws://127.0.0.1:5000/ws/jsonrpc".
func Dial(ctx context.Context, url string) (*Client, error) {
	conn, resp, err := websocket.DefaultDialer.DialContext(ctx, url, nil)
	if resp != nil {
		defer resp.Body.Close()
	}
	if err != nil {
		if resp != nil {
			err = fmt.Errorf("%w: %s", err, resp.Status)
		}
		return nil, fmt.Errorf("connect to %s: %w", url, err)
	}
	c := &Client{conn: conn, waiting: map[int64]chan response{}}
	c.reading.Go(c.read)
	return c, nil
}

// Call sends a request and decodes its result into result, which may be nil.
// An answer that says no is an *Error.
func (c *Client) Call(ctx context.Context, method string, params, result any) error {
	answer := make(chan response, 1)
	c.mu.Lock()
	if c.err != nil {
		defer c.mu.Unlock()
		return fmt.Errorf("call %s: %w", method, c.err)
	}
	c.nextID++
	id := c.nextID
	c.waiting[id] = answer
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		delete(c.waiting, id)
		c.mu.Unlock()
	}()
	if err := c.send(request{Version: "2.0", ID: id, Method: method, Params: params}); err != nil {
		return fmt.Errorf("call %s: %w", method, err)
	}
	select {
	case <-ctx.Done():
		return fmt.Errorf("call %s: %w", method, ctx.Err())
	case r, ok := <-answer:
		switch {
		case !ok:
			c.mu.Lock()
			defer c.mu.Unlock()
			return fmt.Errorf("call %s: %w", method, c.err)
		case r.Error != nil:
			return r.Error
		case result == nil:
			return nil
		}
		if err := json.Unmarshal(r.Result, result); err != nil {
			return fmt.Errorf("call %s: decode result: %w", method, err)
		}
		return nil
	}
}

func (c *Client) send(r request) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	if err := c.conn.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return err
	}
	return c.conn.WriteJSON(r)
}

// read hands each answer to the call that waits for it.
func (c *Client) read() {
	for {
		var r response
		_, message, err := c.conn.ReadMessage()
		if err == nil {
			err = json.Unmarshal(message, &r)
		}
		c.mu.Lock()
		if err != nil {
			c.err = fmt.Errorf("connection to the server: %w", err)
			for id, answer := range c.waiting {
				close(answer)
				delete(c.waiting, id)
			}
			c.mu.Unlock()
			return
		}
		if r.ID != nil {
			if answer, ok := c.waiting[*r.ID]; ok {
				answer <- r
				delete(c.waiting, *r.ID)
			}
		}
		c.mu.Unlock()
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
	c.reading.Wait()
	return err
}

// Healthy asks the server at baseURL, such as "http://127.0.0.1:5000", whether
// it serves.
func Healthy(ctx context.Context, baseURL string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, baseURL+"/health/ready", nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("ask %s for its health: %s", baseURL, resp.Status)
	}
	return nil
}

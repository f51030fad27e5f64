package client

import (
	"context"
	"errors"
	"sync"
)

// Control makes calls on a connection that it makes when it needs it, and again
// where it broke. It may be used from many goroutines.
type Control struct {
	dial Dialer

	mu     sync.Mutex // held while dialing
	client *Client
}

// NewControl returns a Control that dials with dial. Close ends it.
func NewControl(dial Dialer) *Control { return &Control{dial: dial} }

// Call makes a call that may be made twice without harm, again where the
// connection breaks.
func (c *Control) Call(ctx context.Context, method string, params, result any) error {
	err := c.CallOnce(ctx, method, params, result)
	if !errors.Is(err, ErrDisconnected) {
		return err
	}
	return c.CallOnce(ctx, method, params, result)
}

// CallOnce makes a call once. After ErrDisconnected it is not known whether it
// was carried out.
func (c *Control) CallOnce(ctx context.Context, method string, params, result any) error {
	client, err := c.connected(ctx)
	if err != nil {
		return err
	}
	return client.Call(ctx, method, params, result)
}

// connected returns a connection that is not known to be broken.
func (c *Control) connected(ctx context.Context) (*Client, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.client != nil {
		broken := c.client.Err()
		if broken == nil {
			return c.client, nil
		}
		c.client.Close()
		c.client = nil
		ctx, cancel := context.WithTimeoutCause(ctx, giveUpAfter, broken)
		defer cancel()
		client, err := c.dial.again(ctx, broken)
		c.client = client
		return client, err
	}
	client, err := c.dial(ctx)
	c.client = client
	return client, err
}

// Close ends the connection, where there is one.
func (c *Control) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.client != nil {
		c.client.Close()
	}
}

package shim

import (
	"context"
	"fmt"
	"sync"
)

// creations are the containers that are being made, by id, for those who want
// one removed meanwhile. Whoever asked for one may have left without a word: a
// call that is given up is not told to its server (ttrpc tells a deadline alone).
type creations struct {
	mu    sync.Mutex
	under map[string]*creation
}

type creation struct {
	cancel context.CancelFunc
	over   chan struct{}
}

// begin returns the context of a creation, which lasts until done.
func (c *creations) begin(ctx context.Context, id string) (_ context.Context, done func()) {
	ctx, cancel := context.WithCancel(ctx)
	own := &creation{cancel: cancel, over: make(chan struct{})}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.under == nil {
		c.under = map[string]*creation{}
	}
	c.under[id] = own
	return ctx, func() {
		cancel()
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.under[id] == own {
			delete(c.under, id)
		}
		close(own.over)
	}
}

// end ends the creation of a container and waits until it is over. It says
// whether there was one.
func (c *creations) end(ctx context.Context, id string) (bool, error) {
	c.mu.Lock()
	own := c.under[id]
	c.mu.Unlock()
	if own == nil {
		return false, nil
	}
	own.cancel()
	select {
	case <-own.over:
		return true, nil
	case <-ctx.Done():
		return true, fmt.Errorf("wait for the end of the creation of container %s: %w", id, ctx.Err())
	}
}

package client

import (
	"context"
	"errors"
	"fmt"
	"time"
)

const (
	// A connection that broke is tried again at once, then after firstWait, and
	// then after twice the wait of the time before, at most mostWait.
	firstWait = 50 * time.Millisecond
	mostWait  = 2 * time.Second
	// giveUpAfter is how long it is tried.
	giveUpAfter = 30 * time.Second
	// dialTimeout bounds one try.
	dialTimeout = 10 * time.Second
)

// Dialer connects to a server.
type Dialer func(ctx context.Context) (*Client, error)

// again dials until it succeeds or ctx ends. broken is why it has to: the error
// that ends a deadline.
func (dial Dialer) again(ctx context.Context, broken error) (*Client, error) {
	for wait := firstWait; ; wait = min(2*wait, mostWait) {
		tryCtx, cancel := context.WithTimeout(ctx, dialTimeout)
		c, err := dial(tryCtx)
		cancel()
		if err == nil {
			return c, nil
		}
		if ended := sleep(ctx, wait); ended != nil {
			if errors.Is(ctx.Err(), context.Canceled) {
				return nil, ended
			}
			return nil, fmt.Errorf("%w, and could not be made again: %w", broken, err)
		}
	}
}

// sleep waits, and returns why ctx ended where it did.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return context.Cause(ctx)
	}
}

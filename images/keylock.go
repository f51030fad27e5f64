package images

import (
	"context"
	"sync"
)

// keyLock is a lock per key. Waiting for one ends with the context. A key is
// kept for good; there are as many as languages.
type keyLock struct {
	mu   sync.Mutex
	held map[string]chan struct{}
}

// lock takes the lock of key. The caller calls unlock.
func (k *keyLock) lock(ctx context.Context, key string) (unlock func(), err error) {
	k.mu.Lock()
	if k.held == nil {
		k.held = make(map[string]chan struct{})
	}
	c, ok := k.held[key]
	if !ok {
		c = make(chan struct{}, 1)
		k.held[key] = c
	}
	k.mu.Unlock()
	select {
	case c <- struct{}{}:
		return func() { <-c }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

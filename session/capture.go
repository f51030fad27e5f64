package session

import (
	"io"
	"sync"
	"time"
)

// capture reads a stream to its end and keeps the start of it.
type capture struct {
	done chan struct{} // closed at the end of the stream
	max  int

	mu   sync.Mutex
	kept []byte
	read int64
}

// collect reads stream in a goroutine that work counts.
func collect(work *sync.WaitGroup, stream io.Reader, limit int) *capture {
	c := &capture{done: make(chan struct{}), max: limit}
	work.Go(func() {
		defer close(c.done)
		_, _ = io.Copy(c, stream) // the stream's end, however it comes
	})
	return c
}

// Write keeps what there is room for.
func (c *capture) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.read += int64(len(p))
	if room := c.max - len(c.kept); room > 0 {
		c.kept = append(c.kept, p[:min(room, len(p))]...)
	}
	return len(p), nil
}

func (c *capture) ended() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

func (c *capture) count() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.read
}

// text returns what was kept, and whether there was more.
func (c *capture) text() ([]byte, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.kept, c.read > int64(len(c.kept))
}

// settle returns when all that a program wrote before its end has arrived: at
// the end of both streams, or, where another process holds one open, when
// nothing came for a while. What a program writes passes through its shim, so
// its end can be known before its last words. Others that go on writing hold
// it up no longer than patience.
func settle(streams ...*capture) {
	timer := time.NewTimer(quiet)
	defer timer.Stop()
	patience := time.NewTimer(patience)
	defer patience.Stop()
	for _, c := range streams {
		for seen, open := c.count(), true; open; {
			timer.Reset(quiet)
			select {
			case <-c.done:
				open = false
			case <-patience.C:
				return
			case <-timer.C:
				now := c.count()
				open = now != seen
				seen = now
			}
		}
	}
}

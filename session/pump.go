package session

import (
	"io"
	"sync"
	"sync/atomic"
	"time"

	"codebeaker/session/output"
)

// pump moves a stream of a program to a log, as fast as the program writes.
type pump struct {
	done chan struct{} // closed at the end of the stream
	read atomic.Int64
	to   io.Writer
	note func(int64)
}

// pumpFrom reads stream in a goroutine that work counts. note is told of every
// byte count that arrived.
func pumpFrom(work *sync.WaitGroup, stream io.Reader, to *output.Log, note func(int64)) *pump {
	p := &pump{done: make(chan struct{}), to: to, note: note}
	work.Go(func() {
		defer close(p.done)
		_, _ = io.Copy(p, stream) // the stream's end, however it comes
	})
	return p
}

func (p *pump) Write(b []byte) (int, error) {
	p.read.Add(int64(len(b)))
	p.note(int64(len(b)))
	return p.to.Write(b)
}

func (p *pump) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

const (
	// quiet is how long the streams of a program that has ended have to bring
	// nothing, before what others still write is no longer counted as its own.
	quiet    = 50 * time.Millisecond
	patience = time.Second
)

// settle returns when all that a program wrote before its end has arrived: at
// the end of its streams, or, where another process holds one open, when
// nothing came for a while. What a program writes passes through its shim, so
// its end can be known before its last words. Others that go on writing hold
// it up no longer than patience.
func settle(pumps ...*pump) {
	timer := time.NewTimer(quiet)
	defer timer.Stop()
	patience := time.NewTimer(patience)
	defer patience.Stop()
	for _, p := range pumps {
		for seen, open := p.read.Load(), true; open; {
			timer.Reset(quiet)
			select {
			case <-p.done:
				open = false
			case <-patience.C:
				return
			case <-timer.C:
				now := p.read.Load()
				open = now != seen
				seen = now
			}
		}
	}
}

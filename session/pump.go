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
	// quiet is how long the streams of a program that has ended, but left others
	// behind, have to bring nothing before what those still write is no longer
	// counted as its own. Others that go on writing hold it up no longer than
	// patience.
	quiet    = 250 * time.Millisecond
	patience = time.Second
	// lastWords is how long what a program wrote, of which nothing runs any more,
	// may be on its way through a shim on a host that has too much to do.
	lastWords = time.Minute
)

// settle returns when all that a program wrote before its end has arrived. What
// it writes passes through its shim, so its end can be known before its last
// words. Where nothing that it started runs any more, its streams come to their
// end, and nothing less is waited for; where something does, which may hold
// them open for good, a while without output has to do. It says whether all was
// waited for.
func settle(populated func() bool, pumps ...*pump) bool {
	tick := time.NewTicker(quiet)
	defer tick.Stop()
	begun := time.Now()
	seen := int64(-1)
	for {
		ended := true
		var now int64
		for _, p := range pumps {
			ended = ended && p.ended()
			now += p.read.Load()
		}
		if ended {
			return true
		}
		others := populated()
		switch waited := time.Since(begun); {
		case others && (now == seen || waited >= patience):
			return true
		case waited >= lastWords:
			return false
		}
		seen = now
		for _, p := range pumps {
			if !p.ended() {
				select {
				case <-p.done:
				case <-tick.C:
				}
				break
			}
		}
	}
}

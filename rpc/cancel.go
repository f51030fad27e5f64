package rpc

import (
	"context"
	"encoding/json"
	"slices"
	"sync/atomic"
)

// fate is whether a call was cancelled before it was answered. One of both comes
// first.
type fate struct{ decided atomic.Int32 }

const (
	fateSettled   = 1
	fateCancelled = 2
)

// settle says that the call is answered with what came of it, and returns false if
// it was cancelled.
func (f *fate) settle() bool { return f.decided.CompareAndSwap(0, fateSettled) }

// cancel says that the call was cancelled, and returns false if it is answered.
func (f *fate) cancel() bool { return f.decided.CompareAndSwap(0, fateCancelled) }

type cancelParams struct {
	ID json.RawMessage `json:"id" takes:"required" doc:"That of the request."`
}

type cancelResult struct {
	ID        json.RawMessage `json:"id" doc:"That of the request."`
	Cancelled bool            `json:"cancelled" doc:"The request had no answer yet, and answers -32008."`
}

func (*Server) rpcCancel(_ context.Context, from *caller, p *cancelParams) (cancelResult, error) {
	var running []context.CancelCauseFunc
	result := cancelResult{ID: p.ID}
	from.update(func(s *state) { running, result.Cancelled = s.cancel(p.ID) })
	for _, stop := range running {
		stop(context.Canceled)
	}
	return result, nil
}

// cancel cancels the calls with an id, and says whether there were any. It returns
// what ends those that run; the others are answered without being carried out.
func (s *state) cancel(id json.RawMessage) (running []context.CancelCauseFunc, found bool) {
	for c := range s.calls {
		if !sameID(c.id, id) || !c.fate.cancel() {
			continue
		}
		found = true
		if c.stop != nil {
			running = append(running, c.stop)
			continue
		}
		c.refused = cancelled()
		if at := slices.Index(s.queues[c.queue], c); at >= 0 {
			s.queues[c.queue] = slices.Delete(s.queues[c.queue], at, at+1)
			s.waiting--
			c.queue = ""
			s.runnable = append(s.runnable, c)
		}
	}
	return running, found
}

// sameID says whether two ids are the same, in whatever way they are written.
func sameID(a, b json.RawMessage) bool {
	if len(a) > 0 && len(b) > 0 && a[0] == '"' && b[0] == '"' {
		return string(unquote(a)) == string(unquote(b))
	}
	return string(a) == string(b)
}

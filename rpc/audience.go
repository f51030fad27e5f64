package rpc

import (
	"context"
	"fmt"
	"sync"

	"codebeaker/session"
)

// audience is what a connection is told of: the executions that it follows, and
// the sessions whose end it waits for.
type audience struct {
	// most is how many executions it may follow.
	most int
	// working counts the goroutines, from when they are planned.
	working sync.WaitGroup

	mu        sync.Mutex
	closed    bool
	followers map[string]*follower // by execution
	watches   map[string]*watch    // by session
}

// watch waits for the end of a session.
type watch struct {
	stop context.CancelFunc
	// done is closed when the client has been told, or is not going to be.
	done chan struct{}
	// apart is closed when that waits for a reply that is still to come, so that
	// no reply may wait for it.
	apart chan struct{}
}

func newAudience(most int) *audience {
	return &audience{most: most, followers: map[string]*follower{}, watches: map[string]*watch{}}
}

// add adds a follower, which is to be begun. It stops another of the same
// execution and returns it where that has begun; one that has not will send
// nothing.
func (a *audience) add(f *follower) (old *follower, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	id := f.execution.ID()
	old, ok := a.followers[id]
	switch {
	case ok:
		old.stop()
		if !old.begun {
			old = nil
		}
	case len(a.followers) >= a.most:
		return nil, &session.LimitError{Limit: fmt.Sprintf("%d executions that a connection follows; detach from one first", a.most)}
	}
	if a.closed {
		f.stop()
	}
	a.followers[id] = f
	a.working.Add(1)
	return old, nil
}

// begin starts a follower that was added.
func (a *audience) begin(f *follower) {
	a.mu.Lock()
	f.begun = true
	a.mu.Unlock()
	go func() {
		defer a.working.Done()
		f.run()
	}()
}

func (a *audience) remove(f *follower) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if id := f.execution.ID(); a.followers[id] == f {
		delete(a.followers, id)
	}
}

// detach stops the follower of an execution, and says whether there was one. It
// has sent its last when detach returns.
func (a *audience) detach(id string) bool {
	a.mu.Lock()
	f, ok := a.followers[id]
	begun := ok && f.begun
	a.mu.Unlock()
	if ok {
		f.stop()
	}
	if begun {
		<-f.done
	}
	return ok
}

// locate says in which session the execution of a follower turned out to be.
func (a *audience) locate(f *follower, sessionID string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	f.session = sessionID
}

// of returns the followers of a session, and whether all of them have begun.
func (a *audience) of(sessionID string) (followers []*follower, begun bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	begun = true
	for _, f := range a.followers {
		if f.session == sessionID {
			followers = append(followers, f)
			begun = begun && f.begun
		}
	}
	return followers, begun
}

// watch adds a watch, which is to be begun, where a session has none.
func (a *audience) watch(sessionID string, w *watch) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, ok := a.watches[sessionID]; ok || a.closed {
		return false
	}
	a.watches[sessionID] = w
	a.working.Add(1)
	return true
}

func (a *audience) unwatch(sessionID string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.watches, sessionID)
}

// watching returns the watch of a session, or nil.
func (a *audience) watching(sessionID string) *watch {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.watches[sessionID]
}

// close stops everything, also what is still to be added.
func (a *audience) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closed = true
	for _, f := range a.followers {
		f.stop()
	}
	for _, w := range a.watches {
		w.stop()
	}
}

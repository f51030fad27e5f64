package session

import (
	"cmp"
	"slices"
	"sync"
	"time"
)

// registry has the executions that run, and for a while those that ran. Of
// those it keeps no more than a number and an amount of memory, and forgets the
// oldest first.
type registry struct {
	keep       time.Duration
	most       int
	mostMemory int

	mu     sync.Mutex
	byID   map[string]*Execution
	ended  []*Execution // in the order of their ends
	memory int          // of ended
}

func newRegistry(opts *Options) *registry {
	return &registry{keep: opts.KeepExecutions, most: opts.MaxKept, mostMemory: opts.MaxKeptBytes, byID: map[string]*Execution{}}
}

func (r *registry) add(e *Execution) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.prune(time.Now())
	r.byID[e.id] = e
}

// remove forgets an execution that nobody was told of.
func (r *registry) remove(e *Execution) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.byID, e.id)
	e.forget()
}

// settle moves an execution to those that ran.
func (r *registry) settle(e *Execution) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended = append(r.ended, e)
	r.memory += e.memory()
	r.prune(time.Now())
}

// prune forgets what is kept too long or too much. The caller holds mu.
func (r *registry) prune(now time.Time) {
	n := 0
	for ; n < len(r.ended); n++ {
		e := r.ended[n]
		if len(r.ended)-n <= r.most && r.memory <= r.mostMemory && now.Sub(e.Info().EndedAt) < r.keep {
			break
		}
		r.memory -= e.memory()
		delete(r.byID, e.id)
		e.forget()
	}
	r.ended = slices.Delete(r.ended, 0, n)
}

// find returns an execution, which is held for the caller before it can be
// forgotten.
func (r *registry) find(id string) (*Execution, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.prune(time.Now())
	e, ok := r.byID[id]
	if ok {
		e.Hold()
	}
	return e, ok
}

// list describes the executions of a session, or all where that is empty, in
// the order in which they were made.
func (r *registry) list(sessionID string) []ExecutionInfo {
	r.mu.Lock()
	r.prune(time.Now())
	all := make([]*Execution, 0, len(r.byID))
	for _, e := range r.byID {
		all = append(all, e)
	}
	r.mu.Unlock()
	infos := make([]ExecutionInfo, 0, len(all))
	for _, e := range all {
		if info := e.Info(); sessionID == "" || info.SessionID == sessionID {
			infos = append(infos, info)
		}
	}
	slices.SortFunc(infos, func(a, b ExecutionInfo) int {
		return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.ID, b.ID))
	})
	return infos
}

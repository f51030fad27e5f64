package runtime

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/containerd/containerd/api/types"
	"github.com/containerd/containerd/v2/core/events"
	"github.com/containerd/containerd/v2/core/sandbox"
	"github.com/containerd/errdefs"

	"codebeaker/runtime/shim"
	"codebeaker/runtime/shim/direct"
)

const (
	// sharedSandbox is the sandbox that all containers with a shared shim are
	// recorded in. containerd takes the address of a running shim for a container
	// of a sandbox alone.
	sharedSandbox = "codebeaker"
	// releaseTimeout bounds how long shims are waited for that are to end.
	releaseTimeout = 5 * time.Second
)

// sharedShim is what shims does with one.
type sharedShim interface {
	Address() (string, uint32)
	// Client is for programs, and ends with the shim.
	Client() *direct.Client
	Ended() <-chan struct{}
	// Takes says whether it takes another container.
	Takes() bool
	Release()
}

// shims has the shims that containers share.
//
// A container is given to the fullest shim that has room, so that others become
// empty and can end. Shims are started ahead of need: as soon as there is room
// for less than half of what one takes, there is another. One that is empty ends
// as soon as there is as much room without it. A shim that dies takes its
// containers along, and those of no other.
type shims struct {
	most  int // containers of one shim
	start func() (sharedShim, error)
	log   *slog.Logger
	work  sync.WaitGroup

	mu     sync.Mutex
	closed bool
	all    []*berth
	given  map[string]*berth // by container
}

// berth is a shim with its containers.
type berth struct {
	sharedShim
	used int
}

func newShims(most int, log *slog.Logger, start func() (sharedShim, error)) *shims {
	return &shims{most: most, start: start, log: log, given: map[string]*berth{}}
}

// give returns a shim for a container, which has it until take.
func (s *shims) give(id string) (sharedShim, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.fullest()
	for b != nil && !b.Takes() {
		// It is about to end, or goes on with the containers that it has.
		s.log.Warn("a shim takes no more containers", "containers", b.used)
		s.remove(b)
		b.Release()
		b = s.fullest()
	}
	if b == nil {
		var err error
		if b, err = s.add(); err != nil {
			return nil, err
		}
	}
	b.used++
	s.given[id] = b
	if s.room() < s.most/2 {
		s.work.Go(s.fill)
	}
	return b.sharedShim, nil
}

// fullest returns the fullest shim that has room, nil where none has. The caller
// holds mu.
func (s *shims) fullest() *berth {
	var b *berth
	for _, other := range s.all {
		if other.used < s.most && (b == nil || other.used > b.used) {
			b = other
		}
	}
	return b
}

// remove has a shim given to no container any more. The caller holds mu.
func (s *shims) remove(b *berth) {
	s.all = slices.DeleteFunc(s.all, func(other *berth) bool { return other == b })
}

// take takes a container's shim back, once nothing of it is left.
func (s *shims) take(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.given[id]
	if b == nil {
		return // it is of an earlier server, or has none
	}
	delete(s.given, id)
	b.used--
	if b.used == 0 && s.room()-s.most >= s.most/2 {
		s.remove(b)
		b.Release()
	}
}

// fill starts a shim where there is too little room.
func (s *shims) fill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.room() >= max(1, s.most/2) {
		return
	}
	if _, err := s.add(); err != nil {
		s.log.Warn("start a shim ahead of need", "error", err)
	}
}

// room is for how many containers there is a shim. The caller holds mu.
func (s *shims) room() int {
	n := 0
	for _, b := range s.all {
		n += s.most - b.used
	}
	return n
}

// add starts a shim. The caller holds mu.
func (s *shims) add() (*berth, error) {
	if s.closed {
		return nil, fmt.Errorf("start a shim: the runtime is closed: %w", errdefs.ErrFailedPrecondition)
	}
	p, err := s.start()
	if err != nil {
		return nil, err
	}
	b := &berth{sharedShim: p}
	s.all = append(s.all, b)
	s.work.Go(func() {
		<-p.Ended()
		s.mu.Lock()
		defer s.mu.Unlock()
		s.remove(b)
	})
	return b, nil
}

// close lets all shims end that have no containers, and waits for them. The
// others end after their containers.
func (s *shims) close() {
	s.mu.Lock()
	s.closed = true
	for _, b := range s.all {
		b.Release()
	}
	s.mu.Unlock()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.work.Wait()
	}()
	timeout := time.NewTimer(releaseTimeout)
	defer timeout.Stop()
	select {
	case <-ended:
	case <-timeout.C:
		s.log.Warn("shims have sessions that were not removed, and go on")
	}
}

// Sharing says how containers share shims. All of it is package shim's.
type Sharing struct {
	// Containers is how many one shim has, at most.
	Containers int
	// Dir has the shims' directories, whose names are 40 bytes long with what is
	// in them.
	Dir string
	// Address and EventAddress are containerd's sockets.
	Address, EventAddress string
	// TempDir is for what is mounted for a moment.
	TempDir string
}

// share has the containers share shims from now on.
func (r *Runtime) share(ctx context.Context, o Sharing) error {
	if err := shim.RemoveShared(o.Dir); err != nil {
		return fmt.Errorf("remove what shims left: %w", err)
	}
	_, err := r.opts.Client.SandboxStore().Create(r.in(ctx), sandbox.Sandbox{
		ID: sharedSandbox, Runtime: sandbox.RuntimeOpts{Name: shim.Name},
	})
	if err != nil && !errors.Is(err, errdefs.ErrAlreadyExists) {
		return fmt.Errorf("record the sandbox of shims: %w", err)
	}
	ctx = context.WithoutCancel(r.in(ctx))
	start := func() (sharedShim, error) {
		return shim.StartShared(shim.SharedOptions{
			Program: r.opts.Shim.Name, Dir: o.Dir, Address: o.Address, EventAddress: o.EventAddress,
			Namespace: r.opts.Client.DefaultNamespace(), TempDir: o.TempDir,
			Publish: func(e *types.Envelope) { r.publish(ctx, e) }, Log: r.opts.Log,
		})
	}
	r.shims = newShims(o.Containers, r.opts.Log, start)
	r.shims.work.Go(r.shims.fill)
	return nil
}

// publish passes an event of a shim on to those who watch containerd.
func (r *Runtime) publish(ctx context.Context, e *types.Envelope) {
	err := r.opts.Client.EventService().Forward(ctx, &events.Envelope{
		Timestamp: e.GetTimestamp().AsTime(), Namespace: e.GetNamespace(), Topic: e.GetTopic(), Event: e.GetEvent(),
	})
	if err != nil {
		r.opts.Log.WarnContext(ctx, "publish the event of a shim", "topic", e.GetTopic(), "error", err)
	}
}

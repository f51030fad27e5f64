package shim

import (
	"context"

	runc "github.com/containerd/go-runc"
)

// exitWatch is for the making of a container: nobody knows its pid 1 before it
// is made.
type exitWatch struct {
	// ends are those of the shim's children since it began, by pid.
	ends map[int]runc.Exit
}

// beginCreate has the ends of the shim's children kept for a container that is about
// to be made. The caller owes endCreate.
func (s *service) beginCreate() *exitWatch {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := &exitWatch{ends: map[int]runc.Exit{}}
	s.creating[m] = struct{}{}
	return m
}

// endCreate enters the container that was made, if c is not nil, and returns how its
// pid 1 ended, if it ended meanwhile. The caller then owes the container's end.
func (s *service) endCreate(m *exitWatch, c *container) *runc.Exit {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.creating, m)
	if c == nil {
		return nil
	}
	s.containers[c.id] = c
	if e, ok := m.ends[c.process.pid]; ok && c.takeEnd(e.Pid) {
		return &e
	}
	return nil
}

// reap takes the ends of the shim's children, among which are pids 1.
func (s *service) reap(ctx context.Context, exits <-chan runc.Exit) {
	for e := range exits {
		if c := s.endedBy(e); c != nil {
			go c.end(ctx, e.Status, e.Timestamp)
		}
	}
}

// endedBy returns the container whose pid 1 has ended so, nil if there is none. The
// caller then owes the container's end.
func (s *service) endedBy(e runc.Exit) *container {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.containers {
		if c.takeEnd(e.Pid) {
			return c
		}
	}
	for m := range s.creating {
		m.ends[e.Pid] = e
	}
	return nil
}

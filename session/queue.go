package session

import (
	"fmt"
	"slices"
	"time"
)

// waiter is an execution that waits for a place for its session.
type waiter struct {
	session *session
	// granted has one value: nil when the session has its place, or why it never
	// gets one.
	granted chan error
}

// reserve gives a session its place, and counts its creation as work.
func (m *Manager) reserve(s *session) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.shutdown {
		return ErrShutdown
	}
	if err := m.full(); err != nil {
		return err
	}
	m.admit(s)
	return nil
}

// full says why there is no place for another session; nil where there is. The
// caller holds mu.
func (m *Manager) full() error {
	if len(m.sessions) >= m.opts.MaxSessions {
		return &LimitError{Limit: fmt.Sprintf("%d sessions at one time; close one first", m.opts.MaxSessions), RetryAfter: time.Second}
	}
	// They take as much of the host as sessions do.
	if n := m.removal.waiting.Load(); n >= int64(m.opts.MaxSessions+m.opts.MaxRemoving) {
		return &LimitError{Limit: fmt.Sprintf("%d closed sessions could not be removed yet", n), RetryAfter: longestPause}
	}
	return nil
}

// admit gives a session its place. The caller holds mu.
func (m *Manager) admit(s *session) {
	m.sessions[s.id] = s
	m.work.Add(1)
}

// awaitPlace gives an execution's session its place: at once where there is one,
// and else after all who wait already. One that is cancelled waits no longer.
func (m *Manager) awaitPlace(s *session, e *Execution) error {
	m.mu.Lock()
	w := &waiter{session: s, granted: make(chan error, 1)}
	m.waiters = append(m.waiters, w)
	m.grant()
	m.mu.Unlock()
	select {
	case err := <-w.granted:
		return err
	case <-e.cancelled:
	}
	m.mu.Lock()
	i := slices.Index(m.waiters, w)
	if i >= 0 {
		m.waiters = slices.Delete(m.waiters, i, i+1)
	}
	m.mu.Unlock()
	if i < 0 { // its turn came meanwhile
		if err := <-w.granted; err != nil {
			return err
		}
		m.fail(s)
		m.work.Done()
	}
	return ErrCancelled
}

// grant gives those who wait the places that there are, in the order in which
// they came. The caller holds mu.
func (m *Manager) grant() {
	for len(m.waiters) > 0 && (m.shutdown || m.full() == nil) {
		w := m.waiters[0]
		m.waiters = slices.Delete(m.waiters, 0, 1)
		if m.shutdown {
			w.granted <- ErrShutdown
			continue
		}
		w.session.created = time.Now() // its life does not begin in the queue
		w.session.lastActivity = w.session.created
		m.admit(w.session)
		w.granted <- nil
	}
}

// fail ends a session that was never made, for those who found it.
func (m *Manager) fail(s *session) {
	m.drop(s)
	s.mu.Lock()
	s.state = StateClosed
	s.mu.Unlock()
	close(s.ended)
	close(s.answered)
	close(s.ready)
}

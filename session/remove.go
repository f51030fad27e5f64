package session

import (
	"context"
	"time"
)

const (
	// removeTimeout bounds one try to remove what a session had.
	removeTimeout = 60 * time.Second
	// removers is how many bodies are removed at one time. Each is a few
	// processes and waits for the kernel and the disk; more would take the
	// processors from the sessions that live.
	removers = 4
)

// removal bounds what is removed behind the answers: places has a value for
// each body that waits to be removed or is being removed, turns one for each
// that is being removed.
type removal struct{ places, turns chan struct{} }

func newRemoval(most int) removal {
	return removal{make(chan struct{}, most), make(chan struct{}, removers)}
}

// end ends what runs in a session that closes, lets Close answer, and then
// removes what the session was made of. A session that has ended is forgotten;
// where too many wait to be removed it has to wait until then, and Close with
// it.
func (m *Manager) end(ctx context.Context, s *session) {
	s.zygote.retire()
	// Where it fails the programs are killed one by one, which they are anyway.
	_ = m.retry(ctx, "kill", &s.body, func(context.Context) error { return s.container.Kill() })
	s.commands.Wait()
	s.end()
	m.removal.places <- struct{}{}
	defer func() { <-m.removal.places }()
	m.drop(s)
	close(s.answered)

	left := m.removeBodyWith(ctx, &s.body, func(ctx context.Context) {
		if err := s.files.stop(ctx); err != nil {
			m.opts.Log.WarnContext(ctx, "stop file helper", "container", s.containerID, "error", err)
		}
		s.lingering.Wait()
	})
	s.mu.Lock()
	s.state = StateClosed
	why, answered, gone := s.reason, s.endedAt.Sub(s.closedAt), time.Since(s.closedAt)
	s.mu.Unlock()
	if left == nil {
		m.opts.Log.InfoContext(ctx, "session removed", "container", s.containerID, "reason", why, "ms", gone.Milliseconds())
		m.opts.Observer.SessionClosed(s.language, why, answered, gone)
	}
}

// drop forgets a session whose place others may have.
func (m *Manager) drop(s *session) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.sessions, s.id)
	s.mu.Lock()
	if s.reason != "" { // else it never was
		m.gone.add(s.id, s.reason)
	}
	s.mu.Unlock()
	m.signal()
}

// removeBody removes everything of a body, and tries again where that fails.
func (m *Manager) removeBody(ctx context.Context, b *body) {
	_ = m.removeBodyWith(ctx, b, func(context.Context) {}) // which says so
}

// removeBodyWith is removeBody with something to do before, which is done when
// it is the body's turn. It returns why something is left. The id range of a
// container that may still be there is not handed out again.
func (m *Manager) removeBodyWith(ctx context.Context, b *body, before func(context.Context)) error {
	err := m.retry(ctx, "remove", b, func(ctx context.Context) error {
		m.removal.turns <- struct{}{}
		defer func() { <-m.removal.turns }()
		before(ctx)
		b.zygote.stop()
		if err := m.opts.Containers.Delete(ctx, b.containerID); err != nil {
			return err
		}
		return m.opts.Snapshots.Remove(ctx, b.containerID)
	})
	if err == nil {
		m.ids.Return(b.ids)
	}
	return err
}

// retry tries to do something to a body, a few times, and says where it has
// failed.
func (m *Manager) retry(ctx context.Context, doing string, b *body, f func(context.Context) error) error {
	try := func() error {
		ctx, cancel := context.WithTimeout(ctx, removeTimeout)
		defer cancel()
		return f(ctx)
	}
	err := try()
	for pause := 100 * time.Millisecond; err != nil && pause < 10*time.Second; pause *= 5 {
		m.opts.Log.WarnContext(ctx, doing+" session: trying again", "container", b.containerID, "error", err)
		timer := time.NewTimer(pause)
		<-timer.C
		err = try()
	}
	if err != nil {
		m.opts.Log.ErrorContext(ctx, doing+" session: given up until the next start", "container", b.containerID, "error", err)
	}
	return err
}

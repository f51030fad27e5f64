package session

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// removeTimeout bounds a part of a removal that may wait for the kernel and
	// the disk, and stopTimeout one that only waits for what was killed.
	removeTimeout = 60 * time.Second
	stopTimeout   = 10 * time.Second
	// endTimeout bounds how long the commands of a session that was killed take to
	// end: a program has killTimeout, and its output lastWords.
	endTimeout = killTimeout + lastWords + stopTimeout
	// removers is how many bodies are removed at one time. Each is a few
	// processes and waits for the kernel and the disk; more would take the
	// processors from the sessions that live.
	removers = 4
	// retriers is how many of those that could not be removed are tried again at
	// one time, beside the others, which so never wait for them.
	retriers = 2
	// firstPause is between the first two tries; later ones are up to longestPause
	// apart.
	firstPause = 100 * time.Millisecond
	// shutdownTimeout bounds what follows the drain of a shutdown.
	shutdownTimeout = 50 * time.Second
)

// removal bounds what is removed behind the answers, and counts what could not
// be. A body has its first try in one of turns; what fails is tried again in one
// of again, after pauses that grow, until it is gone or the server ends.
type removal struct {
	// places has a value for each closed session whose first try is not over.
	places, turns, again chan struct{}
	// hurry is closed when the server shuts down, over when it waits no longer.
	hurry, over    chan struct{}
	hasten, giveUp func()

	pending  atomic.Int64  // bodies that are not removed yet
	waiting  atomic.Int64  // those of them that are tried again
	failures atomic.Uint64 // tries
}

func newRemoval(most int) *removal {
	r := &removal{
		places: make(chan struct{}, most), turns: make(chan struct{}, removers), again: make(chan struct{}, retriers),
		hurry: make(chan struct{}), over: make(chan struct{}),
	}
	r.hasten = sync.OnceFunc(func() { close(r.hurry) })
	r.giveUp = sync.OnceFunc(func() { close(r.over) })
	return r
}

// part is one of the things that a removal does. Its time is its own, and begins
// when it does.
type part struct {
	name  string
	limit time.Duration
	do    func(context.Context) error
	// under has the result of a call that an earlier try did not wait for any
	// longer; nil where there is none. One part is never done twice at one time.
	under chan error
}

// try does the part. It returns when its time is over, whatever the part does.
func (p *part) try(ctx context.Context) error {
	timer := time.NewTimer(p.limit)
	defer timer.Stop()
	if p.under != nil {
		select {
		case <-p.under: //nolint:errcheck // it may have looked before there was anything to do
		case <-timer.C:
			return fmt.Errorf("%s: an earlier try still waits: %w", p.name, context.DeadlineExceeded)
		}
	}
	under := make(chan error, 1)
	p.under = under
	go func() {
		ctx, cancel := context.WithTimeout(ctx, p.limit)
		defer cancel()
		under <- p.do(ctx)
	}()
	select {
	case err := <-under:
		p.under = nil
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		return nil
	case <-timer.C:
		return fmt.Errorf("%s: it is not done after %s: %w", p.name, p.limit, context.DeadlineExceeded)
	}
}

// remains are what is left of a body that nobody uses any more: what has to end,
// and what there is to remove.
type remains struct {
	body                *body
	ends                []*part
	container, snapshot *part
}

// remains returns a body's, with what has to end beside its zygote.
func (m *Manager) remains(b *body, ends ...*part) *remains {
	return &remains{
		body: b,
		ends: append(ends, &part{name: "stop the zygote", limit: stopTimeout, do: func(context.Context) error {
			b.zygote.stop()
			return nil
		}}),
		container: &part{name: "remove the container", limit: removeTimeout, do: func(ctx context.Context) error {
			return m.opts.Containers.Delete(ctx, b.containerID)
		}},
		snapshot: &part{name: "remove the snapshot", limit: removeTimeout, do: func(ctx context.Context) error {
			return m.opts.Snapshots.Remove(ctx, b.containerID)
		}},
	}
}

// try removes the body. What does not end by itself may do so with the
// container, so that is removed all the same; the snapshot stays while there may
// be a container on it.
func (r *remains) try(ctx context.Context) error {
	errs := make([]error, 0, len(r.ends)+2)
	for _, p := range r.ends {
		errs = append(errs, p.try(ctx))
	}
	err := r.container.try(ctx)
	errs = append(errs, err)
	if err == nil {
		errs = append(errs, r.snapshot.try(ctx))
	}
	return errors.Join(errs...)
}

// end ends what runs in a session that closes, lets Close answer, and then
// removes what the session was made of. A session that has ended is forgotten;
// where too many wait for their first try it has to wait until then, and Close
// with it.
func (m *Manager) end(ctx context.Context, s *session) {
	s.zygote.retire()
	if err := s.container.Kill(); err != nil {
		m.opts.Log.WarnContext(ctx, "kill session at once: its programs are killed one by one", "container", s.containerID, "error", err)
	}
	ended := &part{name: "wait for the session's commands", limit: endTimeout, do: func(context.Context) error {
		s.commands.Wait()
		return nil
	}}
	if err := ended.try(ctx); err != nil {
		m.opts.Log.ErrorContext(ctx, "end session: it is removed all the same", "container", s.containerID, "error", err)
	}
	ended.limit = stopTimeout
	s.end()
	m.removal.places <- struct{}{}
	m.drop(s)
	close(s.answered)

	r := m.remains(&s.body, ended,
		&part{name: "stop the file helper", limit: stopTimeout, do: s.files.stop},
		&part{name: "wait for what programs left behind", limit: stopTimeout, do: func(context.Context) error {
			s.lingering.Wait()
			return nil
		}},
	)
	err := m.removeNow(ctx, r)
	<-m.removal.places
	if err != nil && !m.removeLater(ctx, r, err) {
		return
	}
	s.mu.Lock()
	s.state = StateClosed
	why, answered, gone := s.reason, s.endedAt.Sub(s.closedAt), time.Since(s.closedAt)
	s.mu.Unlock()
	m.opts.Log.InfoContext(ctx, "session removed", "container", s.containerID, "reason", why, "ms", gone.Milliseconds())
	m.opts.Observer.SessionClosed(s.language, why, answered, gone)
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
	m.grant()
}

// removeBody removes everything of a body that was in no session.
func (m *Manager) removeBody(ctx context.Context, b *body, ends ...*part) {
	r := m.remains(b, ends...)
	if err := m.removeNow(ctx, r); err != nil {
		m.removeLater(ctx, r, err)
	}
}

// removeNow has a body's first try as soon as it is its turn.
func (m *Manager) removeNow(ctx context.Context, r *remains) error {
	m.removal.pending.Add(1)
	return m.tryRemoval(ctx, m.removal.turns, r)
}

// removeLater tries again to remove a body, slower and slower, and says whether
// it is gone. It is not where the server ends before.
func (m *Manager) removeLater(ctx context.Context, r *remains, err error) bool {
	m.removal.waiting.Add(1)
	defer func() {
		m.removal.waiting.Add(-1)
		m.mu.Lock()
		defer m.mu.Unlock()
		m.grant()
	}()
	hurry := m.removal.hurry
	for pause := firstPause; ; pause = min(5*pause, longestPause) {
		m.opts.Log.WarnContext(ctx, "remove container: trying again", "container", r.body.containerID, "in", pause, "error", err)
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-hurry:
			timer.Stop()
			hurry, pause = nil, firstPause
		case <-m.removal.over:
			timer.Stop()
			return false
		}
		if err = m.tryRemoval(ctx, m.removal.again, r); err == nil {
			return true
		}
	}
}

// tryRemoval tries to remove a body when it has a turn. The id range of a
// container that may still be there is not handed out again.
func (m *Manager) tryRemoval(ctx context.Context, turns chan struct{}, r *remains) error {
	select {
	case turns <- struct{}{}:
		defer func() { <-turns }()
	case <-m.removal.over:
		return ErrShutdown
	}
	if err := r.try(ctx); err != nil {
		m.removal.failures.Add(1)
		return err
	}
	m.removal.pending.Add(-1)
	m.ids.Return(r.body.ids)
	return nil
}

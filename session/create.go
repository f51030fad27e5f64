package session

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/containerd/errdefs"

	"codebeaker/images"
	"codebeaker/runtime"
)

// body is what a session is made of on the host. A member of the pool has one
// before there is a session for it.
type body struct {
	containerID string
	language    string
	image       images.Image
	ids         runtime.IDRange
	container   Container
	zygote      *zygote // nil where it has none
}

// clock times what creating a session takes.
type clock struct {
	started, since time.Time
	stages         []StageTime
}

func newClock() *clock {
	now := time.Now()
	return &clock{started: now, since: now}
}

// done says that a stage has ended that began where the last one ended.
func (c *clock) done(stage Stage) {
	now := time.Now()
	c.stages = append(c.stages, StageTime{stage, now.Sub(c.since)})
	c.since = now
}

// step takes what the runtime times by itself.
func (c *clock) step(name string, took time.Duration) {
	c.stages = append(c.stages, StageTime{Stage(name), took})
	c.since = time.Now()
}

func (c *clock) timings(pooled bool) Timings {
	return Timings{Pooled: pooled, Total: time.Since(c.started), Stages: c.stages}
}

// Create makes a session and returns when it takes commands: a member of the
// pool becomes it, where there is one, and else it is started. Errors are
// *InvalidError, *LimitError, ErrLanguage, ErrShutdown or the host's.
func (m *Manager) Create(ctx context.Context, req CreateRequest) (Info, error) {
	s, err := m.newSession(req)
	if err != nil {
		return Info{}, err
	}
	if err := m.reserve(s); err != nil {
		return Info{}, err
	}
	if err := m.create(ctx, s); err != nil {
		return Info{}, err
	}
	return s.info(), nil
}

// newSession checks a request and returns the session that it asks for, of
// which nothing exists yet.
func (m *Manager) newSession(req CreateRequest) (*session, error) {
	lang, ok := m.opts.Catalogue.Lookup(req.Language)
	if !ok {
		return nil, fmt.Errorf("language %q is unknown, this server has %s: %w",
			req.Language, strings.Join(m.opts.Catalogue.Names(), ", "), ErrLanguage)
	}
	s := &session{
		id:        newID(),
		body:      body{language: lang.Name},
		opts:      &m.opts,
		created:   time.Now(),
		ready:     make(chan struct{}),
		closing:   make(chan struct{}),
		ended:     make(chan struct{}),
		answered:  make(chan struct{}),
		releasing: make(chan struct{}, maxReleasing),
		state:     StateCreating,
		env:       maps.Clone(req.Env),
	}
	s.lastActivity = s.created
	s.limits = req.Limits.or(m.opts.Limits)
	s.limits.MemoryBytes &^= 4095 // the kernel counts in pages
	s.idleTimeout, s.maxLifetime = m.opts.IdleTimeout, m.opts.MaxLifetime
	if req.IdleTimeout != 0 {
		s.idleTimeout = req.IdleTimeout
	}
	if req.MaxLifetime != 0 {
		s.maxLifetime = req.MaxLifetime
	}
	return s, validate(s, m.opts.MaxLimits)
}

// create makes what a session is that has a place. One that whoever asked for it
// is not told of, as the server shuts down or ctx has ended, closes.
func (m *Manager) create(ctx context.Context, s *session) error {
	defer m.work.Done()
	bounded, done := m.boundCreate(ctx)
	defer done()
	timings, err := m.embody(bounded, s)
	if err != nil {
		m.fail(s)
		return err
	}
	m.mu.Lock()
	down := m.shutdown
	m.watchers.Go(func() { m.watch(context.WithoutCancel(ctx), s) })
	m.mu.Unlock()
	close(s.ready)
	m.opts.Log.InfoContext(ctx, "session created", "container", s.containerID, "language", s.language, "pooled", timings.Pooled, "ms", timings.Total.Milliseconds())
	m.opts.Observer.SessionCreated(s.language, timings.Pooled, timings)
	switch {
	case down:
		s.beginClose(ReasonShutdown)
		return ErrShutdown
	case ctx.Err() != nil:
		s.beginClose(ReasonClosed)
		return fmt.Errorf("create session: %w", ctx.Err())
	}
	return nil
}

// boundCreate returns a context for making a body, which ends after CreateTimeout
// and when a shutdown begins. The caller calls done.
func (m *Manager) boundCreate(ctx context.Context) (_ context.Context, done func()) {
	late := fmt.Errorf("it was not made within %s, which --create-timeout allows: %w", m.opts.CreateTimeout, context.DeadlineExceeded)
	ctx, stop := context.WithTimeoutCause(ctx, m.opts.CreateTimeout, late)
	ctx, cancel := context.WithCancelCause(ctx)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.shutdown {
		cancel(ErrShutdown)
	}
	m.creates++
	n := m.creates
	m.creating[n] = cancel
	return ctx, func() {
		m.mu.Lock()
		delete(m.creating, n)
		m.mu.Unlock()
		cancel(nil)
		stop()
	}
}

// embody gives a session its body, from the pool or anew. What a failed one made
// is removed behind.
func (m *Manager) embody(ctx context.Context, s *session) (Timings, error) {
	c := newClock()
	image, err := m.resolve(ctx, s.language)
	if err != nil {
		return Timings{}, err
	}
	c.done(StageResolve)
	labels := map[string]string{
		labelSession: s.id, labelLanguage: s.language, labelCreated: s.created.UTC().Format(time.RFC3339Nano),
		labelIdle: s.idleTimeout.String(), labelLifetime: s.maxLifetime.String(),
	}
	b, done := m.claim(ctx, image, s.limits, labels, c)
	defer done()
	pooled := b != nil
	if !pooled {
		b = &body{containerID: "cb-" + newID(), language: s.language, image: image}
		if err := m.build(ctx, b, s.limits, labels, c); err != nil {
			return Timings{}, err
		}
	}
	timings := c.timings(pooled)
	s.open(*b, timings)
	return timings, nil
}

// resolve finds the image of a language, or says that it has none.
func (m *Manager) resolve(ctx context.Context, language string) (images.Image, error) {
	image, err := m.opts.Images.Resolve(ctx, language)
	if errdefs.IsNotFound(err) {
		return images.Image{}, fmt.Errorf("%w: %w", err, ErrLanguage)
	}
	return image, err
}

// build makes a body on its image and starts it. It returns when ctx ends, even
// where a step of it does not. What a failed build made is removed behind.
func (m *Manager) build(ctx context.Context, b *body, limits Limits, labels map[string]string, c *clock) error {
	var err error
	if b.ids, err = m.ids.Take(); err != nil {
		return &LimitError{Limit: err.Error()}
	}
	type made struct {
		container Container
		err       error
	}
	result := make(chan made, 1)
	over := make(chan struct{})
	m.behind.Go(func() {
		defer close(over)
		container, err := m.makeContainer(ctx, b, limits, labels, c)
		result <- made{container, err}
	})
	var ends []*part
	select {
	case r := <-result:
		if r.err == nil {
			b.container = r.container
			if lang, ok := m.opts.Catalogue.Lookup(b.language); ok {
				b.zygote = m.newZygote(b, lang, limits)
			}
			return nil
		}
		err = r.err
		if ctx.Err() != nil {
			err = fmt.Errorf("%w: %w", context.Cause(ctx), err)
		}
	case <-ctx.Done():
		err = context.Cause(ctx)
		ends = append(ends, &part{name: "wait for the end of its creation", limit: stopTimeout, do: func(ctx context.Context) error {
			select {
			case <-over:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}})
	}
	m.behind.Go(func() { m.removeBody(context.WithoutCancel(ctx), b, ends...) })
	return fmt.Errorf("make container %s: %w", b.containerID, err)
}

// makeContainer makes the snapshot and the container of a body. An error may
// leave something of them.
func (m *Manager) makeContainer(ctx context.Context, b *body, limits Limits, labels map[string]string, c *clock) (Container, error) {
	if err := m.opts.Snapshots.Prepare(ctx, b.containerID, b.image.ChainID, b.ids.HostID, b.ids.Size); err != nil {
		return nil, err
	}
	c.done(StageSnapshot)
	return m.opts.Containers.Create(ctx, runtime.ContainerOptions{
		ID: b.containerID, Labels: labels, Image: b.image.Name, Snapshot: b.containerID, IDs: b.ids,
		Limits: runtime.Limits(limits), Laps: c.step,
	})
}

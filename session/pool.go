package session

import (
	"context"
	"slices"
	"sync"
	"time"

	"codebeaker/images"
	"codebeaker/runtime"
)

// The warm pool keeps containers ready, so that creating a session need not
// start one.
//
// A member is a container that was started for nobody: its language's image,
// the default limits, nothing of a client. A claim makes it a session: the
// limits that were asked for are written where they differ and read back from
// the kernel, and the session's labels are recorded, one transaction that is on
// the disk before the client has its answer. Until then it has no session's id,
// no deadline and no place among MaxSessions. A member is claimed at most once;
// whatever became of the claim, it is removed and never goes back.
//
// A create that finds no member is a miss and starts a container of its own at
// once. It does not wait for one that is being started for the pool, so that a
// burst beyond the pool takes what it would take without one.
//
// Demand says how many members a language should have: the most creates that
// came within ten seconds (a burst, in which the pool cannot be filled again),
// over the last minutes (PoolOptions.Window), and as many again: the next may be
// larger, and the creates of a large one that find no member start their
// containers beside all others and end last by far. A language that was used
// within PoolOptions.Keep has at least PoolOptions.Min; before its first use it
// has none, as a server that nobody uses should not hold memory for it, and the
// first create of a language costs what every create costs without a pool. An
// operator who wants them from the start gives the language a number of its own.
// What all languages demand together is cut to what PoolOptions.Size and
// MemoryBytes allow, one member less after another from the language that has
// the most.
//
// Refill starts members until there are as many as the demand says, a few at a
// time and one at a time while a create is starting a container for a client,
// behind whom the pool stands back. While there are others it begins a moment
// after the claim, whose client is about to run its first programs. Members
// beyond the demand are removed, the oldest first. So are those whose container
// ended, and those whose image is no longer that of their language: they are not
// claimed from the moment at which the image has changed, and removed at the next
// tick of the pool.
//
// Members end with the server. After one that crashed Recover removes them with
// all else: unclaimed ones are never adopted.
type pool struct {
	m    *Manager
	opts PoolOptions
	// kicked has a value when there may be something to do.
	kicked  chan struct{}
	stopped chan struct{}
	work    sync.WaitGroup

	mu       sync.Mutex
	shelves  map[string]*shelf // by language
	open     bool              // between start and shut
	starting int               // members, of all languages
	cold     int               // creates that start a container of their own
}

// shelf is what the pool has and knows of one language.
type shelf struct {
	ready    []*member // the oldest first
	starting int
	demand   demand
	// image is the identity of the one that was found last, looked for at
	// imageAt.
	image   string
	imageAt time.Time
	// lacking is since when there are fewer members than there should be; zero
	// where there are enough.
	lacking time.Time
	// failures are refills that failed since the last that did not, and none is
	// tried before retryAt.
	failures       int
	retryAt        time.Time
	claims, misses uint64
}

// member is a container that nobody has claimed.
type member struct {
	body
	// imageAt is when its image was looked for.
	imageAt time.Time
	// leave ends the goroutine that watches for its end.
	leave context.CancelFunc
}

func newPool(m *Manager) *pool {
	return &pool{
		m: m, opts: m.opts.Pool, shelves: map[string]*shelf{},
		kicked: make(chan struct{}, 1), stopped: make(chan struct{}),
	}
}

// StartPool begins to keep members ready, until Shutdown. It belongs after
// Recover, which would remove them, and does nothing where the pool has no
// size. What the pool does goes on when ctx ends.
func (m *Manager) StartPool(ctx context.Context) {
	p := m.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.opts.Size <= 0 || p.open {
		return
	}
	p.open = true
	for language, n := range p.opts.Languages {
		if lang, ok := m.opts.Catalogue.Lookup(language); ok && n > 0 {
			p.shelf(lang.Name)
		}
	}
	p.work.Go(func() { p.run(context.WithoutCancel(ctx)) })
}

// shut ends the pool: nothing is started or claimed from now on.
func (p *pool) shut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open {
		p.open = false
		close(p.stopped)
	}
}

// wait returns when nothing is left of a pool that was shut.
func (p *pool) wait() { p.work.Wait() }

// kick has the pool look at what there is to do.
func (p *pool) kick() {
	select {
	case p.kicked <- struct{}{}:
	default: // it is about to
	}
}

// shelf returns a language's shelf. The caller holds mu.
func (p *pool) shelf(language string) *shelf {
	sh := p.shelves[language]
	if sh == nil {
		sh = &shelf{}
		p.shelves[language] = sh
	}
	return sh
}

// claim makes a member of the pool a session's body. Where there is none for
// the image it returns none, and then counts a create that starts a container
// until done is called.
func (m *Manager) claim(ctx context.Context, image images.Image, limits Limits, labels map[string]string, c *clock) (_ *body, done func()) {
	language := labels[labelLanguage]
	p := m.pool
	asked := false
	for {
		mem, ok := p.take(language, image, c.started, !asked)
		if !ok {
			return nil, func() {}
		}
		asked = true
		if mem == nil {
			return nil, p.endCold
		}
		err := mem.suit(ctx, limits)
		c.done(StageClaim)
		if err == nil {
			err = mem.container.Claim(ctx, runtime.ClaimOptions{Labels: labels, Limits: runtime.Limits(limits), Laps: c.step})
		}
		if err == nil {
			return &mem.body, func() {}
		}
		m.opts.Log.WarnContext(ctx, "claim a member of the pool", "container", mem.containerID, "language", language, "error", err)
		p.discard(ctx, mem)
		if ctx.Err() != nil {
			return nil, func() {} // as would be the next one's claim
		}
	}
}

// suit ends a member's zygote for a session with little memory.
func (mem *member) suit(ctx context.Context, limits Limits) error {
	if mem.zygote == nil || limits.MemoryBytes >= minZygoteMemory {
		return nil
	}
	stop := part{name: "stop the zygote", limit: stopTimeout, do: func(context.Context) error {
		mem.zygote.stop()
		return nil
	}}
	if err := stop.try(ctx); err != nil {
		return err
	}
	mem.zygote = nil
	return nil
}

// take takes the oldest member that has the image, which somebody began to look
// for at a time, and counts the demand where it is the first that a create asks
// for. Where there is none the create counts as cold until endCold. It is false
// where there is no pool.
func (p *pool) take(language string, image images.Image, at time.Time, first bool) (*member, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.open {
		return nil, false
	}
	defer p.kick()
	sh := p.shelf(language)
	if first {
		sh.demand.add(time.Now(), p.opts.Window)
	}
	sh.see(image, at)
	if sh.lacking.IsZero() {
		sh.lacking = time.Now()
	}
	for i, mem := range sh.ready {
		if identity(mem.image) == identity(image) {
			sh.ready = slices.Delete(sh.ready, i, i+1)
			sh.claims++
			mem.leave()
			return mem, true
		}
	}
	sh.misses++
	p.cold++
	return nil, true
}

func (p *pool) endCold() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cold--
	p.kick()
}

// see notes the image that a language has, or that it has none, as it was when
// somebody began to look for it. One that was not there before is tried at once.
func (sh *shelf) see(image images.Image, at time.Time) {
	if at.Before(sh.imageAt) {
		return // somebody began later and ended sooner
	}
	sh.imageAt = at
	if id := identity(image); sh.image != id {
		sh.image, sh.failures, sh.retryAt = id, 0, time.Time{}
	}
}

// identity tells images of a language from one another.
func identity(image images.Image) string {
	return image.Name + " " + image.Digest.String() + " " + image.ChainID
}

// stats counts the members of all languages, by name.
func (p *pool) stats() []PoolStats {
	p.mu.Lock()
	defer p.mu.Unlock()
	targets := p.targets(time.Now())
	stats := make([]PoolStats, 0, len(p.shelves))
	for language, sh := range p.shelves {
		stats = append(stats, PoolStats{
			Language: language, Ready: len(sh.ready), Starting: sh.starting, Target: targets[language],
			Claims: sh.claims, Misses: sh.misses,
		})
	}
	slices.SortFunc(stats, func(a, b PoolStats) int {
		if a.Language < b.Language {
			return -1
		}
		return 1
	})
	return stats
}

package session

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/containerd/errdefs"
)

const (
	// poolTick is how often the pool looks at the time and at the images.
	poolTick = 10 * time.Second
	// standBack is how long a refill waits after the first claim that it makes up
	// for, while the language has other members. To start one takes a processor
	// for 100 ms or so, its interpreter included.
	standBack = 250 * time.Millisecond
	// standBackCold is how long it waits while creates start containers of their
	// own: what it takes they wait for. Where they never cease it is tried all the
	// same, one at a time, since a member saves the next create that.
	standBackCold = 2 * time.Second
	// longestPause is the longest that a refill or a removal which failed is not
	// tried again.
	longestPause = 5 * time.Minute
)

// run keeps the pool as it should be until it is shut, and then removes what
// is in it.
func (p *pool) run(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // nobody watches members any more
	tick := time.NewTicker(poolTick)
	defer tick.Stop()
	for {
		var later <-chan time.Time
		if wait := p.tend(ctx); wait > 0 {
			later = time.After(wait)
		}
		select {
		case <-p.stopped:
			for _, mem := range p.empty() {
				p.discard(context.WithoutCancel(ctx), mem)
			}
			return
		case <-p.kicked:
		case <-later:
		case <-tick.C:
			p.seeImages(ctx)
		}
	}
}

// tend removes members that are too many and starts those that are missing. It
// returns when there will be more to start, 0 where that is not known.
func (p *pool) tend(ctx context.Context) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.open {
		return 0
	}
	now := time.Now()
	targets := p.targets(now)
	for language, sh := range p.shelves {
		var surplus []*member
		sh.ready = slices.DeleteFunc(sh.ready, func(mem *member) bool {
			if obsolete := identity(mem.image) != sh.image; !obsolete {
				return false
			}
			surplus = append(surplus, mem)
			return true
		})
		for len(sh.ready) > 0 && len(sh.ready)+sh.starting > targets[language] {
			surplus = append(surplus, sh.ready[0])
			sh.ready = sh.ready[1:]
		}
		for _, mem := range surplus {
			p.discard(ctx, mem)
		}
	}
	for {
		language, wait := p.neediest(targets, now)
		if language == "" || p.starting >= p.mayStart() {
			return wait
		}
		p.starting++
		p.shelves[language].starting++
		p.work.Go(func() { p.refill(ctx, language) })
	}
}

// mayStart is how many members may be starting. The caller holds mu.
func (p *pool) mayStart() int {
	if p.cold > 0 {
		return 1
	}
	return p.opts.Refills
}

// neediest returns the language that lacks the most members, or none, and how
// long the next stands back. The caller holds mu.
func (p *pool) neediest(targets map[string]int, now time.Time) (neediest string, wait time.Duration) {
	most := 0
	for language, sh := range p.shelves {
		lacks := targets[language] - len(sh.ready) - sh.starting
		if lacks <= 0 {
			sh.lacking = time.Time{}
		} else if rest := p.standBack(sh) - now.Sub(sh.lacking); rest > 0 {
			if wait == 0 || rest < wait {
				wait = rest
			}
			continue
		}
		if lacks > most && !now.Before(sh.retryAt) {
			neediest, most = language, lacks
		}
	}
	return neediest, wait
}

// standBack is how long the refill of a shelf waits. The caller holds mu.
func (p *pool) standBack(sh *shelf) time.Duration {
	switch {
	case p.cold > 0:
		return standBackCold
	case len(sh.ready) > 0:
		return standBack
	default:
		return 0
	}
}

// refill starts a member.
func (p *pool) refill(ctx context.Context, language string) {
	mem, err := p.startMember(ctx, language)
	p.mu.Lock()
	defer p.mu.Unlock()
	defer p.kick()
	p.starting--
	sh := p.shelves[language]
	sh.starting--
	if err != nil {
		if p.open {
			sh.retryAt = time.Now().Add(min(poolTick<<min(sh.failures, 10), longestPause))
			sh.failures++
			level := slog.LevelWarn
			if errors.Is(err, ErrLanguage) {
				level = slog.LevelDebug // its image was removed, which is no fault
			}
			p.m.opts.Log.Log(ctx, level, "start a member of the pool", "language", language, "error", err, "retry", sh.retryAt)
		}
		return
	}
	sh.see(mem.image, mem.imageAt)
	sh.failures = 0
	if !p.open {
		p.discard(context.WithoutCancel(ctx), mem)
		return
	}
	sh.ready = append(sh.ready, mem)
	watching, leave := context.WithCancel(ctx)
	mem.leave = leave
	p.work.Go(func() {
		defer leave()
		if mem.container.Wait(watching) == nil {
			p.lost(ctx, mem)
		}
	})
}

// startMember makes a container that belongs to nobody.
func (p *pool) startMember(ctx context.Context, language string) (*member, error) {
	c := newClock()
	image, err := p.m.resolve(ctx, language)
	if err != nil {
		return nil, err
	}
	mem := &member{body: body{containerID: "cb-" + newID(), language: language, image: image}, imageAt: c.started}
	ctx, done := p.m.boundCreate(ctx)
	defer done()
	if err := p.m.build(ctx, &mem.body, p.m.opts.Limits, map[string]string{labelLanguage: language}, c); err != nil {
		return nil, err
	}
	mem.zygote.ensure(ctx)
	p.m.opts.Log.DebugContext(ctx, "member of the pool ready", "container", mem.containerID, "language", language, "ms", time.Since(c.started).Milliseconds())
	return mem, nil
}

// lost removes a member whose container ended, where nobody has claimed it.
func (p *pool) lost(ctx context.Context, mem *member) {
	p.mu.Lock()
	defer p.mu.Unlock()
	sh := p.shelves[mem.language]
	i := slices.Index(sh.ready, mem)
	if i < 0 {
		return
	}
	sh.ready = slices.Delete(sh.ready, i, i+1)
	p.m.opts.Log.WarnContext(ctx, "a member of the pool ended by itself", "container", mem.containerID, "language", mem.language)
	p.discard(ctx, mem)
	p.kick()
}

// empty takes all members.
func (p *pool) empty() []*member {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []*member
	for _, sh := range p.shelves {
		all = append(all, sh.ready...)
		sh.ready = nil
	}
	return all
}

// discard removes a member that is on no shelf any more, behind the caller.
func (p *pool) discard(ctx context.Context, mem *member) {
	if mem.leave != nil {
		mem.leave()
	}
	p.work.Go(func() { p.m.removeBody(context.WithoutCancel(ctx), &mem.body) })
}

// seeImages notes where a language with members has another image by now, or
// none.
func (p *pool) seeImages(ctx context.Context) {
	p.mu.Lock()
	var languages []string
	for language, sh := range p.shelves {
		if len(sh.ready) > 0 {
			languages = append(languages, language)
		}
	}
	p.mu.Unlock()
	for _, language := range languages {
		at := time.Now()
		image, err := p.m.opts.Images.Resolve(ctx, language)
		if err != nil && !errdefs.IsNotFound(err) {
			p.m.opts.Log.WarnContext(ctx, "look for another image", "language", language, "error", err)
			continue
		}
		p.mu.Lock()
		p.shelves[language].see(image, at) // a zero one where there is none
		p.mu.Unlock()
	}
}

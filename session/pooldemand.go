package session

import (
	"slices"
	"time"
)

// PoolOptions say what the warm pool keeps. Durations and sizes that are zero
// ask for the defaults.
type PoolOptions struct {
	// Size bounds the members of all languages together; 0 is no pool.
	Size int
	// Min is how many a language has that was used within Keep, whatever the
	// demand; 0 for as many as the demand says.
	Min int
	// Languages have as many members as it says, from the start on and whatever
	// the demand: none for 0. The others go by demand.
	Languages map[string]int
	// Window is for how long a burst counts as demand; 10 minutes.
	Window time.Duration
	// Keep is for how long a language counts as used; 1 hour.
	Keep time.Duration
	// MemoryBytes bounds what members take, where each is taken to need
	// MemberBytes; 512 MiB and 16 MiB. One of Python has about 10 MiB: 1.3 in its
	// cgroup without a zygote, 7 for that, and its part of a shim; through the
	// stock shim 9, of which 7.4 are the shim's.
	MemoryBytes, MemberBytes int64
	// Refills is how many members are started at one time; 2.
	Refills int
}

func (o PoolOptions) withDefaults() PoolOptions {
	if o.Window == 0 {
		o.Window = 10 * time.Minute
	}
	if o.Keep == 0 {
		o.Keep = time.Hour
	}
	if o.MemoryBytes == 0 {
		o.MemoryBytes = 512 << 20
	}
	if o.MemberBytes == 0 {
		o.MemberBytes = 16 << 20
	}
	if o.Refills == 0 {
		o.Refills = 2
	}
	return o
}

// most is how many members there may be.
func (o PoolOptions) most() int { return min(o.Size, int(o.MemoryBytes/o.MemberBytes)) }

// burst is the time in which creates count as coming together.
const burst = 10 * time.Second

// headroom is how many times as many as came in a burst are kept ready.
const headroom = 2

// demand remembers the bursts of creates in a while.
type demand struct {
	bursts []burstCount // the oldest first, none of them empty
	last   time.Time    // of the last create; zero for never
}

type burstCount struct {
	start time.Time
	n     int
}

// add counts a create.
func (d *demand) add(now time.Time, window time.Duration) {
	d.forget(now, window)
	d.last = now
	if n := len(d.bursts); n == 0 || now.Sub(d.bursts[n-1].start) >= burst {
		d.bursts = append(d.bursts, burstCount{start: now})
	}
	d.bursts[len(d.bursts)-1].n++
}

// most returns the size of the largest burst.
func (d *demand) most(now time.Time, window time.Duration) int {
	d.forget(now, window)
	most := 0
	for _, b := range d.bursts {
		most = max(most, b.n)
	}
	return most
}

func (d *demand) forget(now time.Time, window time.Duration) {
	old := 0
	for old < len(d.bursts) && now.Sub(d.bursts[old].start) >= window {
		old++
	}
	d.bursts = slices.Delete(d.bursts, 0, old)
}

// used says whether there was a create within a time.
func (d *demand) used(now time.Time, within time.Duration) bool {
	return !d.last.IsZero() && now.Sub(d.last) < within
}

// targets says how many members each language should have. The caller holds mu.
func (p *pool) targets(now time.Time) map[string]int {
	targets := make(map[string]int, len(p.shelves))
	for language, sh := range p.shelves {
		targets[language] = sh.target(language, p.opts, now)
	}
	cut(targets, p.opts.most())
	return targets
}

func (sh *shelf) target(language string, o PoolOptions, now time.Time) int {
	if n, ok := o.Languages[language]; ok {
		return n
	}
	n := sh.demand.most(now, o.Window)
	if n > 1 { // one alone is no burst
		n *= headroom
	}
	if sh.demand.used(now, o.Keep) {
		n = max(n, o.Min)
	}
	return n
}

// cut takes members from the languages that should have the most until there
// are no more than most.
func cut(targets map[string]int, most int) {
	sum := 0
	for language, n := range targets {
		targets[language] = min(n, most)
		sum += targets[language]
	}
	for ; sum > most; sum-- {
		largest := ""
		for language, n := range targets {
			if largest == "" || n > targets[largest] || n == targets[largest] && language > largest {
				largest = language
			}
		}
		targets[largest]--
	}
}

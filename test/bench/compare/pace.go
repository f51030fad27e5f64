package compare

import (
	"context"
	"sync"
	"time"
)

// Mode is how something is asked for a number of times.
type Mode string

// The modes.
const (
	Sequential Mode = "sequential"
	Burst      Mode = "burst"
	// Again is a burst that is not the first of its size, for which a pool may
	// have become ready.
	Again     Mode = "burst again"
	Staggered Mode = "staggered"
)

// opTimeout bounds one time that something is done.
const opTimeout = 2 * time.Minute

// pace does something n times in a mode. Staggered ones begin a gap apart,
// whether or not those before have ended.
func pace(ctx context.Context, mode Mode, n int, gap time.Duration, do func(ctx context.Context, i int) (time.Duration, error)) []sample {
	samples := make([]sample, n)
	one := func(i int) {
		ctx, cancel := context.WithTimeout(ctx, opTimeout)
		defer cancel()
		if samples[i].err = ctx.Err(); samples[i].err == nil {
			samples[i].took, samples[i].err = do(ctx, i)
		}
	}
	if mode == Sequential {
		for i := range n {
			one(i)
		}
		return samples
	}
	var all sync.WaitGroup
	defer all.Wait()
	begin := make(chan struct{})
	if mode == Burst || mode == Again {
		for i := range n {
			all.Go(func() {
				<-begin
				one(i)
			})
		}
		close(begin)
		return samples
	}
	tick := time.NewTicker(gap)
	defer tick.Stop()
	for i := range n {
		all.Go(func() { one(i) })
		if i == n-1 {
			break
		}
		select {
		case <-tick.C:
		case <-ctx.Done(): // the rest fails at once
		}
	}
	return samples
}

// timed makes a function that fails or not one that is timed.
func timed(f func(ctx context.Context, i int) error) func(ctx context.Context, i int) (time.Duration, error) {
	return func(ctx context.Context, i int) (time.Duration, error) {
		began := time.Now()
		err := f(ctx, i)
		return time.Since(began), err
	}
}

package compare

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// paced runs n that take a second each and returns when they began and how many
// there were at one time, at most.
func paced(ctx context.Context, mode Mode, n int, gap time.Duration) (begins []time.Duration, most int64, samples []sample) {
	started := time.Now()
	begins = make([]time.Duration, n)
	var now, peak atomic.Int64
	samples = pace(ctx, mode, n, gap, timed(func(_ context.Context, i int) error {
		begins[i] = time.Since(started)
		if v := now.Add(1); v > peak.Load() {
			peak.Store(v)
		}
		defer now.Add(-1)
		<-time.After(time.Second)
		return nil
	}))
	return begins, peak.Load(), samples
}

func TestPaceOfModes(t *testing.T) {
	for _, c := range []struct {
		mode Mode
		most int64
		last time.Duration // begin of the last of four
	}{
		{Sequential, 1, 3 * time.Second},
		{Burst, 4, 0},
		{Staggered, 2, 3 * 600 * time.Millisecond},
	} {
		t.Run(string(c.mode), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begins, most, samples := paced(t.Context(), c.mode, 4, 600*time.Millisecond)
				if most != c.most || begins[3]-begins[0] != c.last {
					t.Errorf("%d at one time, begun at %v; want %d, the last %s after the first", most, begins, c.most, c.last)
				}
				for i, s := range samples {
					if s.err != nil || s.took != time.Second {
						t.Errorf("sample %d is %+v", i, s)
					}
				}
			})
		})
	}
}

func TestPaceEndsWithItsContext(t *testing.T) {
	for _, mode := range []Mode{Sequential, Burst, Staggered} {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		samples := pace(ctx, mode, 3, time.Hour, timed(func(context.Context, int) error {
			t.Errorf("%s: begun after the end", mode)
			return nil
		}))
		for _, s := range samples {
			if !errors.Is(s.err, context.Canceled) {
				t.Errorf("%s: sample is %+v", mode, s)
			}
		}
	}
}

package shim

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestKernelIsKeptReadyOnceForAllAndNotForNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tries atomic.Int64
		m := moves{ready: func() error { tries.Add(1); return nil }}
		took := func(d time.Duration) int64 {
			before := tries.Load()
			time.Sleep(d) //nolint:forbidigo // the bubble's clock
			synctest.Wait()
			return tries.Load() - before
		}
		one, two := m.keep(), m.keep()
		synctest.Wait()
		if n := tries.Load(); n != 1 {
			t.Errorf("%d tries at once", n)
		}
		if n := took(10 * readyEvery); n != 10 {
			t.Errorf("two users try %d times in the time of 10", n)
		}
		one()
		if n := took(10 * readyEvery); n != 10 {
			t.Errorf("one user tries %d times in the time of 10", n)
		}
		two()
		if n := took(10 * readyEvery); n != 0 {
			t.Errorf("nobody tries %d times", n)
		}
		three := m.keep()
		if n := took(readyEvery / 2); n != 1 {
			t.Errorf("the next user tries %d times at once", n)
		}
		three()
		m.loop.Wait()
	})
}

package session

import (
	"maps"
	"testing"
	"time"
)

func TestDemandIsTheLargestBurstOfAWhile(t *testing.T) {
	var d demand
	start := time.Unix(1000, 0)
	at := func(after time.Duration, n int) {
		for range n {
			d.add(start.Add(after), 10*time.Minute)
		}
	}
	expect := func(after time.Duration, want int) {
		t.Helper()
		if got := d.most(start.Add(after), 10*time.Minute); got != want {
			t.Errorf("after %s the demand is %d; want %d", after, got, want)
		}
	}
	expect(0, 0)
	at(0, 1)
	at(5*time.Second, 4)
	expect(5*time.Second, 5)
	at(10*time.Second, 2) // another burst
	expect(10*time.Second, 5)
	expect(10*time.Minute-1, 5)
	expect(10*time.Minute, 2)
	expect(10*time.Minute+10*time.Second, 0)
	if !d.used(start.Add(time.Hour), time.Hour) || d.used(start.Add(time.Hour+10*time.Second), time.Hour) {
		t.Error("its last use is not that of its last create")
	}
	if len(d.bursts) != 0 {
		t.Errorf("%d old bursts are kept", len(d.bursts))
	}
}

func TestTargetIsTwiceTheLargestBurst(t *testing.T) {
	now := time.Unix(1000, 0)
	for creates, want := range map[int]int{0: 0, 1: 1, 2: 4, 30: 60} {
		var sh shelf
		for range creates {
			sh.demand.add(now, time.Minute)
		}
		if got := sh.target("a", PoolOptions{}.withDefaults(), now); got != want {
			t.Errorf("after %d creates the target is %d; want %d", creates, got, want)
		}
	}
}

func TestTargetsKeepWithinThePool(t *testing.T) {
	for _, tc := range []struct {
		name string
		want map[string]int
		most int
		then map[string]int
	}{
		{"room for all", map[string]int{"a": 2, "b": 3}, 5, map[string]int{"a": 2, "b": 3}},
		{"the greedy one gives", map[string]int{"a": 1, "b": 9}, 4, map[string]int{"a": 1, "b": 3}},
		{"equals share", map[string]int{"a": 9, "b": 9, "c": 9}, 7, map[string]int{"a": 3, "b": 2, "c": 2}},
		{"one left", map[string]int{"a": 1, "b": 1}, 1, map[string]int{"a": 1, "b": 0}},
		{"no room", map[string]int{"a": 1 << 40}, 0, map[string]int{"a": 0}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cut(tc.want, tc.most)
			if !maps.Equal(tc.want, tc.then) {
				t.Errorf("got %v; want %v", tc.want, tc.then)
			}
		})
	}
	o := PoolOptions{Size: 100, MemoryBytes: 64 << 20}.withDefaults()
	if got := o.most(); got != 4 {
		t.Errorf("64 MiB hold %d members of 16 MiB", got)
	}
}

package sched

import (
	goruntime "runtime"
	"testing"
)

func TestHalfOfTheProcessorsIsLeft(t *testing.T) {
	was := goruntime.GOMAXPROCS(0)
	defer goruntime.GOMAXPROCS(was)
	t.Setenv("GOMAXPROCS", "")
	for have, want := range map[int]int{1: 1, 2: 1, 3: 1, 8: 4} {
		goruntime.GOMAXPROCS(have)
		LeaveProcessors()
		if got := goruntime.GOMAXPROCS(0); got != want {
			t.Errorf("of %d processors it has %d; want %d", have, got, want)
		}
	}
	t.Setenv("GOMAXPROCS", "6")
	goruntime.GOMAXPROCS(6)
	LeaveProcessors()
	if got := goruntime.GOMAXPROCS(0); got != 6 {
		t.Errorf("told to have 6 it has %d", got)
	}
}

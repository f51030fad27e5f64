package sched

import (
	"os"
	goruntime "runtime"
)

// LeaveProcessors has this process run on half of the processors that it may use,
// and at least on one, where GOMAXPROCS does not say otherwise. It is for shims and
// for the server, which are woken again and again for a moment by programs beside
// them: whenever there are two things to do, the Go runtime wakes another thread to
// look for the second, which takes longer than to do it after the first, and takes
// the processor that a program is about to run on.
func LeaveProcessors() {
	if os.Getenv("GOMAXPROCS") == "" {
		goruntime.GOMAXPROCS(max(1, goruntime.GOMAXPROCS(0)/2))
	}
}

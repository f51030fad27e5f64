package sched

import (
	"testing"

	"golang.org/x/sys/unix"
)

func TestEveryThreadHasAShortSlice(t *testing.T) {
	before, err := unix.SchedGetAttr(0, 0)
	if err != nil {
		t.Fatal(err)
	}
	if before.Runtime == 0 {
		t.Skip("before Linux 6.12 the kernel has one slice for all")
	}
	usual, err := ShortenSlices()
	if err != nil {
		t.Fatal(err)
	}
	if usual == nil || usual.Runtime != 0 || usual.Nice != before.Nice {
		t.Errorf("the usual scheduling is %+v; it was %+v", usual, before)
	}
	tids, err := threads()
	if err != nil {
		t.Fatal(err)
	}
	for _, tid := range tids {
		if attr, err := unix.SchedGetAttr(tid, 0); err == nil && attr.Runtime != shortSlice {
			t.Errorf("thread %d has a slice of %d ns", tid, attr.Runtime)
		}
	}
}

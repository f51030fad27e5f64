package sched

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// shortSlice is the time slice that ShortenSlices asks for, in nanoseconds: the
// shortest that the kernel takes (kernel/sched/syscalls.c).
const shortSlice = 100_000

// ShortenSlices asks the kernel for the shortest time slice for every thread of
// this process. A thread with a shorter slice than the one that runs takes the
// processor as soon as it is woken; it gets no more of the processor for that
// (Documentation/scheduler/sched-eevdf.rst). Threads and processes that are made
// later inherit it. Linux before 6.12 takes the wish and does nothing. A process
// that has another scheduling policy than the usual one keeps it.
//
// ShortenSlices returns what gives a process that was made later the usual
// slice; nil if nothing was changed.
func ShortenSlices() (usual *unix.SchedAttr, retErr error) {
	defer func() {
		if retErr != nil {
			retErr = fmt.Errorf("ask for short time slices: %w", retErr)
		}
	}()
	// Threads that the Go runtime makes meanwhile inherit from a thread that is
	// still to be changed; they show up the next time.
	done := map[int]bool{}
	for changed := true; changed; {
		changed = false
		tids, err := threads()
		if err != nil {
			return nil, err
		}
		for _, tid := range tids {
			if done[tid] {
				continue
			}
			attr, err := unix.SchedGetAttr(tid, 0)
			if errors.Is(err, unix.ESRCH) {
				continue // the thread has ended
			}
			if err != nil {
				return nil, os.NewSyscallError("sched_getattr", err)
			}
			if attr.Policy != unix.SCHED_NORMAL {
				return nil, nil
			}
			short := *attr
			short.Runtime = shortSlice
			if err := unix.SchedSetAttr(tid, &short, 0); err != nil && !errors.Is(err, unix.ESRCH) {
				return nil, os.NewSyscallError("sched_setattr", err)
			}
			done[tid], changed = true, true
			usual = &unix.SchedAttr{Size: attr.Size, Policy: attr.Policy, Nice: attr.Nice}
		}
	}
	return usual, nil
}

// threads returns the ids of this process's threads.
func threads() ([]int, error) {
	dir, err := os.Open("/proc/self/task")
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	tids := make([]int, 0, len(names))
	for _, name := range names {
		tid, err := strconv.Atoi(name)
		if err != nil {
			return nil, err
		}
		tids = append(tids, tid)
	}
	return tids, nil
}

package sched

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// SlowMonitor lets the thread of a Go program that watches over all its others
// sleep for up to slack longer, at each time. The process is one that the caller
// keeps from being reaped, or its own. The caller needs CAP_SYS_NICE over the
// process, even over its own.
//
// The Go runtime's sysmon sleeps for 20 µs at a time, fifty times and more, when
// a thread goes into a system call after all were idle (proc.go). In a process
// that is woken again and again for a moment, that takes as much of the processor
// as what it is woken for. The kernel ends a sleep as late as the thread's timer
// slack allows, which is 50 µs unless the thread says otherwise.
//
// What the thread does for its program is then late by as much: it takes what a
// blocked system call keeps from other goroutines, ends what runs for more than
// 10 ms, and polls the network if nobody has for as long.
func SlowMonitor(pid int, slack time.Duration) (retErr error) {
	defer func() {
		if retErr != nil {
			retErr = fmt.Errorf("slow the monitor of process %d: %w", pid, retErr)
		}
	}()
	tid, err := thread(pid)
	if err != nil {
		return err
	}
	// Held open, the directory is that thread's and no other's.
	dir, err := os.OpenRoot("/proc/" + tid)
	if err != nil {
		return err
	}
	defer func() { retErr = errors.Join(retErr, dir.Close()) }()
	status, err := dir.ReadFile("status")
	if err != nil {
		return err
	}
	if !strings.Contains(string(status), fmt.Sprintf("\nTgid:\t%d\n", pid)) {
		return fmt.Errorf("thread %s is another's by now", tid)
	}
	f, err := dir.OpenFile("timerslack_ns", os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteString(strconv.FormatInt(slack.Nanoseconds(), 10))
	return err
}

// thread returns the id of the monitor. It is the first thread that a Go program
// starts (runtime.main), and the kernel lists threads in the order of their start.
func thread(pid int) (string, error) {
	dir, err := os.Open(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		return "", err
	}
	defer dir.Close()
	tids, err := dir.Readdirnames(2)
	if err != nil {
		return "", err
	}
	if len(tids) < 2 {
		return "", fmt.Errorf("it has %d threads", len(tids))
	}
	return tids[1], nil
}

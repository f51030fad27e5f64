package sched

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// No other thread of Go's sleeps without waiting for anything.
func TestSlowedThreadIsTheMonitor(t *testing.T) {
	const slack = 70 * time.Microsecond
	if err := SlowMonitor(os.Getpid(), slack); err != nil {
		if os.Geteuid() != 0 {
			t.Skip("only root can slow the monitor")
		}
		t.Fatal(err)
	}
	tid, err := thread(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("/proc/" + tid + "/timerslack_ns")
	if err != nil || strings.TrimSpace(string(text)) != fmt.Sprint(slack.Nanoseconds()) {
		t.Errorf("the slack is %q, %v", text, err)
	}
	for deadline := time.Now().Add(time.Minute); ; {
		call, err := os.ReadFile("/proc/" + tid + "/syscall")
		if err != nil {
			t.Fatal(err)
		}
		if number, _, _ := strings.Cut(string(call), " "); number == fmt.Sprint(unix.SYS_NANOSLEEP) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("thread %s never sleeps; it is in %s", tid, call)
		}
	}
}

func TestWhatHasOneThreadHasNoMonitor(t *testing.T) {
	cat := exec.CommandContext(t.Context(), "cat")
	stdin, err := cat.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cat.Start(); err != nil {
		t.Fatal(err)
	}
	if err := SlowMonitor(cat.Process.Pid, time.Millisecond); err == nil {
		t.Error("its only thread was slowed")
	}
	stdin.Close()
	if err := cat.Wait(); err != nil {
		t.Error(err)
	}
}

package test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"codebeaker/runtime/shim"
)

// Two programs of one session run at the same time; the one waits for the other.
func TestUsageIsTheExecutionsOwn(t *testing.T) {
	s := busybox(t)
	b := s.session(t, nil)
	w := s.wire(t)
	idle := w.background(b, "read line", nil)
	// 50 MiB in one buffer, and work for some 300 ms.
	busy := w.background(b, `dd if=/dev/zero of=/dev/null bs=50M count=1 2>/dev/null
i=0; while [ $i -lt 400000 ]; do i=$((i+1)); done`, nil)
	w.finished(busy)
	w.call("execution.input", object{"executionId": idle, "data": "\n"}, nil)
	w.finished(idle)
	much, little := w.status(busy).Usage, w.status(idle).Usage
	t.Logf("the one used %+v, the other %+v", *much, *little)
	if much.CPUMs < 100 || much.PeakMemoryBytes < 50<<20 || much.PeakMemoryBytes > 80<<20 {
		t.Errorf("a program that took 50 MiB and worked used %+v", *much)
	}
	if little.CPUMs > much.CPUMs/4 || little.PeakMemoryBytes > 16<<20 || little.PeakMemoryBytes == 0 {
		t.Errorf("a program that waited used %+v", *little)
	}
}

// The cache of files is in the peak and is no process's.
func TestCacheOfFilesIsToldApart(t *testing.T) {
	b := busybox(t).session(t, nil)
	reads := b.sh("head -c 60000000 /dev/zero > file; cat file > /dev/null").Usage
	holds := b.sh("dd if=/dev/zero of=/dev/null bs=60M count=1 2>/dev/null").Usage
	t.Logf("the one that reads used %+v, the one that holds %+v", reads, holds)
	if reads.PeakMemoryBytes < 55<<20 || holds.PeakMemoryBytes < 55<<20 {
		t.Errorf("the peaks are %d and %d", reads.PeakMemoryBytes, holds.PeakMemoryBytes)
	}
	if os.Getenv("CODEBEAKER_RUNTIME") == shim.StockName {
		if reads.MaxRSSBytes != nil || holds.MaxRSSBytes != nil {
			t.Errorf("the stock runtime tells %v and %v", reads.MaxRSSBytes, holds.MaxRSSBytes)
		}
		return
	}
	if reads.MaxRSSBytes == nil || *reads.MaxRSSBytes > 20<<20 || holds.MaxRSSBytes == nil || *holds.MaxRSSBytes < 55<<20 {
		t.Error("that of the one that reads is not small, or that of the other not large")
	}
}

func TestKillsForWantOfMemoryBelowAShellAreTold(t *testing.T) {
	b := busybox(t).session(t, object{"memoryLimitMB": 64})
	const eat = "dd if=/dev/zero of=/dev/null bs=200M count=1"
	o := b.do(shell(eat+" || exit 3", nil))
	if r := o.Result; o.Success || r.ExitCode != 3 || r.EndReason != "exited" || r.Usage.OOMKills != 1 || o.Error == nil || !strings.Contains(*o.Error, "code 3") || !strings.Contains(*o.Error, "memory limit") {
		t.Errorf("a shell whose command was killed: %+v", o)
	}
	if o := b.do(shell(eat+"; "+eat+"; true", nil)); !o.Success || o.Result.Usage.OOMKills != 2 || o.Error != nil {
		t.Errorf("a shell that did not mind: %+v", o)
	}
	if o := b.do(shell("exit 3", nil)); o.Result.Usage.OOMKills != 0 || o.Error == nil || strings.Contains(*o.Error, "memory") {
		t.Errorf("the next program: %+v", o)
	}
}

func TestExitCodeThatLooksLikeASignalIsNone(t *testing.T) {
	requireExitInfo(t)
	b := busybox(t).session(t, nil)
	for _, code := range []int{129, 137, 143} {
		o := b.do(shell(fmt.Sprintf("exit %d", code), nil))
		if r := o.Result; o.Success || r.ExitCode != code || r.EndReason != "exited" || r.Signal != nil {
			t.Errorf("exit %d was answered with %+v", code, o)
		}
	}
	o := b.do(shell("kill -9 $$", nil))
	if r := o.Result; o.Success || r.ExitCode != 137 || r.EndReason != "signaled" || r.Signal == nil || *r.Signal != "SIGKILL" {
		t.Errorf("kill -9 was answered with %+v", o)
	}
}

// requireExitInfo leaves a test out where the kernel does not tell an exit code
// from a signal by a pidfd, as Linux does from 6.15 on.
func requireExitInfo(t *testing.T) {
	t.Helper()
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		t.Fatal(err)
	}
	var major, minor int
	release := unix.ByteSliceToString(name.Release[:])
	if _, err := fmt.Sscanf(release, "%d.%d", &major, &minor); err != nil {
		t.Fatalf("read the kernel's version %q: %v", release, err)
	}
	if major < 6 || major == 6 && minor < 15 {
		t.Skipf("the kernel is %s; from 6.15 on it tells an exit code of 137 from SIGKILL", release)
	}
}

package test

import (
	"fmt"
	goruntime "runtime"
	"strings"
	"testing"
)

// Runtimes size their heaps by the limit of the cgroup that they are in.
func TestProgramsSeeTheirMemoryLimit(t *testing.T) {
	b := busybox(t).session(t, object{"memoryLimitMB": 96})
	for range 2 { // the second one's cgroup was made ahead
		b.wantMemorySeen("100663296\n")
	}
}

// wantMemorySeen asserts what a program reads in its own cgroup.
func (b *sandbox) wantMemorySeen(want string) {
	b.t.Helper()
	const script = `v1=$(grep :memory: /proc/self/cgroup); v2=$(grep ^0:: /proc/self/cgroup)
if [ -n "$v1" ]; then cat /sys/fs/cgroup/memory${v1##*:}/memory.limit_in_bytes; else cat /sys/fs/cgroup${v2##*:}/memory.max; fi`
	if r := b.sh(script); r.Stdout != want {
		b.t.Errorf("a program sees a memory limit of %q, %q; want %q", r.Stdout, r.Stderr, want)
	}
}

func TestProgramsAreToldTheirProcessors(t *testing.T) {
	s := busybox(t)
	for cpus, most := range map[float64]int{0.5: 1, 1.5: 2, 200: 200} {
		n := min(most, goruntime.NumCPU())
		want := fmt.Sprintf("%d %d %d %d\n", n, n, n, n)
		const script = "echo $GOMAXPROCS $DOTNET_PROCESSOR_COUNT $OMP_NUM_THREADS $PYTHON_CPU_COUNT"
		if got := s.session(t, object{"cpuLimit": cpus}).sh(script).Stdout; got != want {
			t.Errorf("with %g cores they are told %q; want %q", cpus, got, want)
		}
	}
	own := s.session(t, object{"env": object{"GOMAXPROCS": "7"}}).sh("echo $GOMAXPROCS").Stdout
	if strings.TrimSpace(own) != "7" {
		t.Errorf("the session's own variable became %q", own)
	}
}

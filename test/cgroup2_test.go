package test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"codebeaker/runtime/cgroup"
)

// requireCgroup2 leaves a test out on a host with another layout. The virtual
// machine has no other.
func requireCgroup2(t *testing.T) {
	t.Helper()
	host, err := cgroup.Detect()
	if err != nil {
		t.Fatal(err)
	}
	if host.Mode() == "v2" {
		return
	}
	if inVM() {
		t.Fatalf("the virtual machine has cgroups of layout %s", host.Mode())
	}
	t.Skipf("this host has cgroups of layout %s; make test-vm has v2", host.Mode())
}

// group is the directory of a session's cgroup.
func (b *sandbox) group(s *server) string {
	return filepath.Join(cgroup.Root, s.parent, b.info.ContainerID)
}

// read reads a file of a cgroup.
func read(t *testing.T, elem ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(elem...))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}

// event reads one count of a file of events.
func event(t *testing.T, file, key string) int {
	t.Helper()
	for line := range strings.Lines(read(t, file)) {
		if k, v, _ := strings.Cut(strings.TrimSpace(line), " "); k == key {
			n, err := strconv.Atoi(v)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatalf("%s counts no %s", file, key)
	return 0
}

func TestCgroup2HoldsTheLimits(t *testing.T) {
	requireCgroup2(t)
	s := python(t)
	b := s.session(t, object{"memoryLimitMB": 100, "cpuLimit": 0.5, "pidsLimit": 40})
	for file, want := range map[string]string{
		"memory.max": strconv.Itoa(100 << 20), "memory.swap.max": "0", "pids.max": "40", "cpu.max": "50000 100000",
	} {
		if got := read(t, b.group(s), file); got != want {
			t.Errorf("%s holds %q; want %q", file, got, want)
		}
	}
	if c := b.info.Config; c.MemoryLimitMB != 100 || c.CPULimit != 0.5 || c.PidsLimit != 40 {
		t.Errorf("session.create reported %+v", c)
	}
}

func TestCgroup2CountsAMemoryBomb(t *testing.T) {
	requireCgroup2(t)
	s := python(t)
	b := s.session(t, object{"memoryLimitMB": 64})
	o := b.do(object{"type": "execute_shell", "commandName": "python3", "args": []string{"-c", "x = b'x' * (256 << 20)"}, "timeout": scaled(30 * time.Second)})
	if o.Success || o.Result.EndReason != "oom" {
		t.Errorf("answer %+v", o)
	}
	if n := event(t, filepath.Join(b.group(s), "memory.events"), "oom_kill"); n < 1 {
		t.Errorf("memory.events counts %d kills", n)
	}
	if peak := o.Result.Usage.PeakMemoryBytes; peak < 32<<20 || peak > 64<<20 {
		t.Errorf("its peak is told as %d bytes; the limit is %d", peak, 64<<20)
	}
	// The kill is the execution's own: another one's account has none.
	if o := b.do(object{"type": "execute_shell", "commandName": "true"}); !o.Success {
		t.Errorf("the next program: %+v", o)
	}
}

func TestCgroup2CountsAForkBomb(t *testing.T) {
	requireCgroup2(t)
	s := python(t)
	b := s.session(t, object{"pidsLimit": 32})
	// They stay, and their execution's cgroup with them: before Linux 6.11 that
	// is where the kernel counts, and not in the group whose limit it was.
	r := b.sh("while true; do sleep 100000 & done")
	if r.ExitCode == 0 || !strings.Contains(r.Stderr, "fork") {
		t.Errorf("no fork was refused: %+v", r)
	}
	if n := event(t, filepath.Join(b.group(s), "pids.events"), "max") + event(t, filepath.Join(b.group(s), "e1", "pids.events"), "max"); n < 1 {
		t.Errorf("pids.events counts %d refusals", n)
	}
	// The shell that could not fork is gone.
	if n := read(t, b.group(s), "pids.current"); n != "31" && n != "32" {
		t.Errorf("%s processes are left of a bomb in a session that may have 32", n)
	}
}

func TestCgroup2Throttles(t *testing.T) {
	requireCgroup2(t)
	s := python(t)
	b := s.session(t, object{"cpuLimit": 0.2})
	b.do(object{"type": "execute_shell", "commandName": "sh", "args": []string{"-c", "while true; do :; done"}, "timeout": scaled(500 * time.Millisecond)})
	if n := event(t, filepath.Join(b.group(s), "cpu.stat"), "nr_throttled"); n < 1 {
		t.Errorf("cpu.stat counts %d throttled periods", n)
	}
}

func TestCgroup2KillsAnExecutionAsAWhole(t *testing.T) {
	requireCgroup2(t)
	s := python(t)
	b := s.session(t, nil)
	// Processes of their own sessions and groups, which ignore signals.
	o := b.do(object{"type": "execute_shell", "commandName": "python3", "args": []string{"-c", `
import os, signal, time
for n in range(3):
    if os.fork() == 0:
        os.setsid()
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if os.fork() == 0:
            os.setpgid(0, 0)
        time.sleep(100000)
print("started", flush=True)
time.sleep(100000)
`}, "timeout": scaled(time.Second)})
	if o.Result.EndReason != "timeout" || o.Result.Stdout != "started\n" {
		t.Fatalf("answer %+v", o)
	}
	eventually(t, func() error {
		var alive []string
		err := filepath.WalkDir(b.group(s), func(path string, d fs.DirEntry, err error) error {
			// Of executions: pid 1 and the zygote have others.
			if err == nil && d.Name() == "cgroup.procs" && strings.HasPrefix(filepath.Base(filepath.Dir(path)), "e") {
				text, err := os.ReadFile(path)
				if err == nil && len(text) > 0 {
					alive = append(alive, path+": "+string(text))
				}
			}
			return nil // groups come and go
		})
		if err == nil && len(alive) > 0 {
			err = fmt.Errorf("still there: %q", alive)
		}
		return err
	})
}

func TestCgroup2FilesAreReadOnlyInside(t *testing.T) {
	requireCgroup2(t)
	b := python(t).session(t, nil)
	r := b.sh(`find /sys/fs/cgroup -writable 2>/dev/null | head
for f in memory.max pids.max cgroup.procs cgroup.subtree_control cgroup.kill; do
	[ -e /sys/fs/cgroup/$f ] || echo "no $f"
	(echo 1 > /sys/fs/cgroup/$f) 2>/dev/null && echo "wrote $f"
done
mkdir /sys/fs/cgroup/x 2>/dev/null && echo "made a group"
mount -o remount,rw /sys/fs/cgroup 2>/dev/null && echo remounted
true`)
	if r.Stdout != "" {
		t.Errorf("a session can change its cgroup:\n%s", r.Stdout)
	}
}

func TestCgroup2IsGoneAfterClose(t *testing.T) {
	requireCgroup2(t)
	s := python(t)
	b := s.session(t, nil)
	b.sh("sleep 100000 & true")
	if _, err := os.Stat(b.group(s)); err != nil {
		t.Fatal(err)
	}
	b.close()
	eventually(t, func() error { // what a session was made of is removed behind its answer
		_, err := os.Stat(b.group(s))
		switch {
		case err == nil:
			return fmt.Errorf("cgroup %s is still there", b.group(s))
		case !errors.Is(err, fs.ErrNotExist):
			return err
		}
		return nil
	})
}

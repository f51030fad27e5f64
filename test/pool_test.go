package test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/containerd/api/types/task"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/pkg/namespaces"

	"codebeaker/rpc/client"
	"codebeaker/runtime/cgroup"
	"codebeaker/runtime/engine"
)

// containers returns the records of a server's containers: those of sessions,
// and the members of its pool that run.
func (s *server) containers(ctx context.Context) (claimed, members []containers.Container, err error) {
	e, err := engine.Dial(ctx, engine.SocketPath(s.state), "")
	if err != nil {
		return nil, nil, err
	}
	defer e.Close()
	ctx = namespaces.WithNamespace(ctx, engine.DefaultNamespace)
	all, err := e.Client().ContainerService().List(ctx)
	if err != nil {
		return nil, nil, err
	}
	started, err := e.Client().TaskService().List(ctx, &tasks.ListTasksRequest{})
	if err != nil {
		return nil, nil, err
	}
	running := map[string]bool{}
	for _, t := range started.Tasks {
		running[t.ID] = t.Status == task.Status_RUNNING
	}
	for _, c := range all {
		if c.Labels["org.codebeaker.session"] != "" {
			claimed = append(claimed, c)
		} else if running[c.ID] {
			members = append(members, c)
		}
	}
	return claimed, members, nil
}

// awaitMembers waits until the pool has so many members.
func (s *server) awaitMembers(tb testing.TB, n int) {
	tb.Helper()
	eventually(tb, func() error {
		_, members, err := s.containers(tb.Context())
		if err == nil && len(members) != n {
			err = fmt.Errorf("%d members of %d", len(members), n)
		}
		return err
	})
}

// awaitSessions waits until a server has records of so many sessions.
func (s *server) awaitSessions(tb testing.TB, n int) {
	tb.Helper()
	eventually(tb, func() error {
		claimed, _, err := s.containers(tb.Context())
		if err == nil && len(claimed) != n {
			err = fmt.Errorf("%d sessions of %d", len(claimed), n)
		}
		return err
	})
}

// created is what session.create answers, with its timings.
type created struct {
	sessionInfo
	Timings createdTimings
}

// createTimed creates a session that the test's end need not close.
func createTimed(ctx context.Context, c *client.Client, params object) (created, error) {
	all := object{"language": "python", "timings": true}
	maps.Copy(all, params)
	var info created
	err := c.Call(ctx, "session.create", all, &info)
	return info, err
}

func TestClaimedMemberHasTheLimitsThatWereAskedFor(t *testing.T) {
	s := private(t, "--pool", "16", "--pool-languages", "python=2")
	s.awaitMembers(t, 2)
	c := s.dial(t)
	for _, limits := range []object{
		{"memoryLimitMB": 64, "cpuLimit": 0.5, "pidsLimit": 40},
		{"memoryLimitMB": 1024, "cpuLimit": 1.5, "pidsLimit": 300},
		{},
	} {
		s.awaitMembers(t, 2)
		info, err := createTimed(t.Context(), c, limits)
		if err != nil {
			t.Fatal(err)
		}
		if !info.Timings.Pooled {
			t.Errorf("%v: it was started for the request: %+v", limits, info.Timings)
		}
		want := object{"memoryLimitMB": 512, "cpuLimit": 1.0, "pidsLimit": 256}
		maps.Copy(want, limits)
		told := object{"memoryLimitMB": info.Config.MemoryLimitMB, "cpuLimit": info.Config.CPULimit, "pidsLimit": info.Config.PidsLimit}
		if !maps.Equal(told, want) {
			t.Errorf("config says %v; want %v", told, want)
		}
		// As the kernel has them, whatever this server says.
		host, err := cgroup.Detect()
		if err != nil {
			t.Fatal(err)
		}
		got, err := host.Group(filepath.Join(s.parent, info.ContainerID)).Limits()
		if err != nil {
			t.Fatal(err)
		}
		if swapless := got.SwapBytes == 0 || !host.SwapLimit(); !swapless || got.MemoryBytes != int64(want["memoryLimitMB"].(int))<<20 ||
			got.CPUs != want["cpuLimit"] || got.Pids != int64(want["pidsLimit"].(int)) {
			t.Errorf("%v: the kernel has %+v", limits, got)
		}
		b := &sandbox{t: t, c: c, id: info.SessionID}
		b.wantMemorySeen(fmt.Sprintf("%d\n", want["memoryLimitMB"].(int)<<20))
		b.wantMemorySeen(fmt.Sprintf("%d\n", want["memoryLimitMB"].(int)<<20))
		if want, got := b.filesystems(want["memoryLimitMB"].(int)); got != want {
			t.Errorf("%v: /tmp and /dev/shm have %q KiB; want %q", limits, got, want)
		}
		if got := b.sh("echo $((6*7))").Stdout; got != "42\n" {
			t.Errorf("it printed %q", got)
		}
	}
	// They hold: a program that wants more memory than the first allows is killed.
	var list struct{ Sessions []struct{ SessionID string } }
	if err := c.Call(t.Context(), "session.list", object{}, &list); err != nil || len(list.Sessions) != 3 {
		t.Fatalf("session.list: %+v, %v", list, err)
	}
	b := &sandbox{t: t, c: c, id: list.Sessions[0].SessionID}
	if r := b.sh("x=$(head -c 200000000 /dev/zero | tr '\\0' x); echo ${#x}"); r.ExitCode == 0 {
		t.Errorf("200 MB were held within 64 MiB: %+v", r)
	}
	if code, err := s.signal(syscall.SIGTERM); err != nil || code != 0 {
		t.Fatalf("exit code %d, %v", code, err)
	}
	eventually(t, s.gone)
}

func TestCrashedServersMembersAreRemovedByTheNext(t *testing.T) {
	s := withBusybox(t)
	if err := s.start("--pool", "16", "--pool-languages", "python=3"); err != nil {
		t.Fatal(err)
	}
	s.awaitMembers(t, 3)
	b := s.session(t, nil)
	s.awaitMembers(t, 3)
	claimed, _, err := s.containers(t.Context())
	if err != nil || len(claimed) != 1 || claimed[0].Labels["org.codebeaker.session"] != b.id || claimed[0].ID != b.info.ContainerID {
		t.Fatalf("claims on record: %+v, %v", claimed, err)
	}
	old := map[string]bool{}
	_, members, err := s.containers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range members {
		old[m.ID] = true
	}
	if err := s.kill(); err != nil {
		t.Fatal(err)
	}
	if err := s.start("--pool", "16", "--pool-languages", "python=1"); err != nil {
		t.Fatal(err)
	}
	s.awaitMembers(t, 1)
	s.awaitSessions(t, 0)
	again, err := createTimed(t.Context(), s.dial(t), nil)
	if err != nil || old[again.ContainerID] {
		t.Errorf("a session after the crash is in %+v, %v", again, err)
	}
	if code, err := s.signal(syscall.SIGTERM); err != nil || code != 0 {
		t.Fatalf("exit code %d, %v", code, err)
	}
	eventually(t, s.gone)
}

func TestMembersOfAnImageThatWasReplacedAreNotClaimed(t *testing.T) {
	s := private(t, "--pool", "16", "--pool-languages", "python=2")
	s.awaitMembers(t, 2)
	_, old, err := s.containers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	archive := writeArchive(t, busyboxLayer(t, map[string]string{"bin/newer": "#!/bin/sh\necho newer\n"}))
	if err := s.images(t.Context(), "import", "python", archive); err != nil {
		t.Fatal(err)
	}
	c := s.dial(t)
	for range 3 {
		info, err := createTimed(t.Context(), c, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := (&sandbox{t: t, c: c, id: info.SessionID}).sh("newer").Stdout; got != "newer\n" {
			t.Errorf("a session of the old image printed %q", got)
		}
	}
	eventually(t, func() error {
		_, members, err := s.containers(t.Context())
		for _, m := range members {
			if m.ID == old[0].ID || m.ID == old[1].ID {
				err = fmt.Errorf("member %s of the old image is still there", m.ID)
			}
		}
		return err
	})
}

func TestBurstBeyondThePoolSucceeds(t *testing.T) {
	s := private(t, "--pool", "16", "--pool-languages", "python=4")
	s.awaitMembers(t, 4)
	const n = 30
	clients := make([]*client.Client, n)
	for i := range clients {
		clients[i] = s.dial(t)
	}
	var mu sync.Mutex
	var pooled, cold []time.Duration
	var creates sync.WaitGroup
	for _, c := range clients {
		creates.Go(func() {
			started := time.Now()
			info, err := createTimed(t.Context(), c, nil)
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			if took := time.Since(started); info.Timings.Pooled {
				pooled = append(pooled, took)
			} else {
				cold = append(cold, took)
			}
		})
	}
	creates.Wait()
	slices.Sort(pooled)
	slices.Sort(cold)
	if len(pooled) < 4 || len(cold) == 0 {
		t.Fatalf("%d creates were pooled and %d cold", len(pooled), len(cold))
	}
	t.Logf("%d pooled creates took up to %s, %d cold ones %s (p50), %s (most)", len(pooled), pooled[len(pooled)-1], len(cold), cold[len(cold)/2], cold[len(cold)-1])
	if err := s.close(); err != nil {
		t.Error(err)
	}
	if err := s.gone(); err != nil {
		t.Error(err)
	}
}

// empty says whether no process is in a group, without waiting between looks.
func empty(group cgroup.Group) (bool, error) {
	text, err := os.ReadFile(filepath.Join("/sys/fs/cgroup/unified", group.Path(), "cgroup.procs"))
	if errors.Is(err, fs.ErrNotExist) {
		if text, err = os.ReadFile(filepath.Join("/sys/fs/cgroup", group.Path(), "init", "cgroup.procs")); errors.Is(err, fs.ErrNotExist) {
			return true, nil
		}
	}
	return len(text) == 0, err
}

func TestKilledMemberIsReplaced(t *testing.T) {
	s := private(t, "--pool", "16", "--pool-languages", "python=1")
	s.awaitMembers(t, 1)
	_, members, err := s.containers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	host, err := cgroup.Detect()
	if err != nil {
		t.Fatal(err)
	}
	group := host.Group(filepath.Join(s.parent, members[0].ID))
	if err := group.Kill(); err != nil {
		t.Fatal(err)
	}
	// As soon as it is dead, before anybody may have noticed.
	for ended := false; !ended; {
		if ended, err = empty(group); err != nil {
			t.Fatal(err)
		}
	}
	info, err := createTimed(t.Context(), s.dial(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	if info.ContainerID == members[0].ID {
		t.Error("the dead member was claimed")
	}
	if got := (&sandbox{t: t, c: s.dial(t), id: info.SessionID}).sh("echo ok").Stdout; got != "ok\n" {
		t.Errorf("printed %q", got)
	}
	eventually(t, func() error {
		_, now, err := s.containers(t.Context())
		if err == nil && (len(now) != 1 || now[0].ID == members[0].ID) {
			err = fmt.Errorf("members %+v", now)
		}
		return err
	})
}

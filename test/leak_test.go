package test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	goruntime "runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containerd/containerd/api/types/runc/options"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/pkg/namespaces"

	"codebeaker/images"
	"codebeaker/rpc"
	"codebeaker/runtime"
	"codebeaker/runtime/engine"
	"codebeaker/runtime/shim"
	"codebeaker/session"
	"codebeaker/snapshot"
)

// leakCycles is 200, but 8 where each takes seconds.
var leakCycles = max(200/(slowdown*slowdown), 8)

// census counts everything that a session may leave behind.
type census struct {
	shims, mounts, cgroups, snapshots, snapshotDirs, leases, containers, fifos, goroutines, files int
}

// stack is a whole server in this process, so that its goroutines can be
// counted, or one in a process of its own, as a process can have only one.
type stack struct {
	server
	engine  *engine.Engine
	manager *session.Manager
	pool    int // members
	spare   int // shims that are there without a container
}

// newStack starts a stack that keeps members ready in a pool.
func newStack(t *testing.T, pool int) *stack {
	t.Helper()
	s, err := newServer()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(s.dir) })
	st := &stack{pool: pool, server: server{dir: s.dir, root: s.root, state: s.state, parent: s.parent}}
	lock, err := engine.Acquire(st.root, "a test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { lock.Release() })
	ctx := context.WithoutCancel(t.Context())
	if st.engine, err = engine.Open(ctx, engine.Options{Root: st.root, State: st.state}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.engine.Close(); err != nil {
			t.Error(err)
		}
	})
	client := st.engine.Client()
	store := images.NewStore(client, images.Options{BuildDir: filepath.Join(st.root, "build")})
	archive, err := os.Open(busyboxArchive(t))
	if err != nil {
		t.Fatal(err)
	}
	defer archive.Close()
	if _, err := store.Import(ctx, "python", archive, nil); err != nil {
		t.Fatal(err)
	}
	agent := filepath.Join(st.dir, "agent")
	program, err := os.ReadFile(binary("codebeaker-agent"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(agent, program, 0o711); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	runs := runtime.Shim{Name: self, Options: &options.Options{BinaryName: binary("runc"), Root: filepath.Join(st.state, shim.RuncRoot)}}
	if os.Getenv("CODEBEAKER_RUNTIME") != shim.StockName {
		runs.Agent, runs.Runc = true, binary("runc")
		st.spare = 1 // which all share
		runs.Sharing = &runtime.Sharing{
			Containers: 32, Dir: filepath.Join(st.state, "shim"), TempDir: engine.TempDir(st.state),
			Address: engine.SocketPath(st.state), EventAddress: engine.EventSocketPath(st.state),
		}
	}
	containers, err := runtime.New(t.Context(), runtime.Options{
		Client:       client,
		Shim:         runs,
		AgentPath:    agent,
		StateDir:     filepath.Join(st.state, "fifo"),
		CgroupParent: st.parent,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := containers.Close(); err != nil {
			t.Error(err)
		}
	})
	snaps, err := snapshot.NewStore(ctx, client, "overlayfs")
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	manager := session.New(session.Options{
		Images: store, Snapshots: snaps, Containers: session.ContainersOf(containers), Log: log,
		Pool: session.PoolOptions{Size: pool, Languages: map[string]int{"python": pool}},
	})
	manager.StartPool(ctx)
	st.manager = manager
	front := rpc.New(rpc.Options{Sessions: manager, Commands: manager, Executions: manager, Catalogue: manager, Log: log})
	web := httptest.NewServer(front.Handler())
	st.base = web.URL
	st.url = "ws" + strings.TrimPrefix(web.URL, "http") + rpc.Path
	t.Cleanup(func() {
		if err := errors.Join(front.Shutdown(ctx), manager.Shutdown(ctx)); err != nil {
			t.Error(err)
		}
		web.Close()
	})
	return st
}

func (st *stack) count(ctx context.Context) (census, error) {
	var c census
	left, err := st.remains()
	if err != nil {
		return c, err
	}
	for _, l := range left {
		switch {
		case strings.HasPrefix(l, "mount "):
			c.mounts++
		case strings.HasPrefix(l, "process "):
			c.shims++
		case strings.HasPrefix(l, st.state+"/fifo/"):
			c.fifos++
		}
	}
	err = filepath.WalkDir("/sys/fs/cgroup", func(path string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() && strings.Contains(path, st.parent+"/") {
			c.cgroups++
		}
		return nil // groups of others come and go
	})
	if err != nil {
		return c, err
	}
	client := st.engine.Client()
	ctx = namespaces.WithNamespace(ctx, client.DefaultNamespace())
	err = client.SnapshotService("overlayfs").Walk(ctx, func(context.Context, snapshots.Info) error {
		c.snapshots++
		return nil
	})
	if err != nil {
		return c, err
	}
	dirs, err := filepath.Glob(st.root + "/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots/*")
	if err != nil {
		return c, err
	}
	c.snapshotDirs = len(dirs)
	var ls []leases.Lease
	if ls, err = client.LeasesService().List(ctx); err != nil {
		return c, err
	}
	c.leases = len(ls)
	containers, err := client.ContainerService().List(ctx)
	if err != nil {
		return c, err
	}
	c.containers = len(containers)
	pid := "self"
	if st.cmd != nil { // whose goroutines nobody else can count
		pid = strconv.Itoa(st.cmd.Process.Pid)
	} else {
		c.goroutines = goruntime.NumGoroutine()
	}
	files, err := os.ReadDir("/proc/" + pid + "/fd")
	if err != nil {
		return c, err
	}
	c.files = len(files)
	return c, nil
}

// cycle creates a session, uses it and closes it. Some clients vanish in the
// middle of a command, which another then finds running and closes.
func (st *stack) cycle(t *testing.T, vanish bool) {
	t.Helper()
	b := st.session(t, nil)
	defer b.c.Close()
	if o, err := b.try(object{"type": "write_file", "path": "x", "content": "20"}); err != nil || !o.Success {
		t.Errorf("write_file: %+v, %v", o, err)
	}
	if o, err := b.try(object{"type": "execute_shell", "commandName": "cat", "args": []string{"x"}}); err != nil || o.Result.Stdout != "20" {
		t.Errorf("execute_shell: %+v, %v", o, err)
	}
	if vanish {
		lost := &sandbox{t: t, c: st.dial(t), id: b.id}
		go func() {
			_, _ = lost.try(object{"type": "execute_shell", "commandName": "sh", "args": []string{"-c", "touch started; (sleep 1000 &); sleep 1000"}})
		}()
		eventually(t, func() error {
			_, err := b.try(object{"type": "read_file", "path": "started"})
			return err
		})
		lost.c.Close()
	}
	b.close()
}

// removed says that no session is left and all members of the pool are there.
func (st *stack) removed() error {
	stats := st.manager.Stats()
	if len(stats.Sessions) > 0 || stats.Removing > 0 || st.pool > 0 && stats.Pool[0].Ready != st.pool {
		return fmt.Errorf("the manager has %+v", stats)
	}
	return nil
}

// settled counts when that is so.
func (st *stack) settled(ctx context.Context) (census, error) {
	if err := st.removed(); err != nil {
		return census{}, err
	}
	c, err := st.count(ctx)
	switch {
	case err != nil:
		return c, err
	case c.containers != st.pool || c.snapshotDirs != c.snapshots || st.pool == 0 && c.cgroups+c.fifos+c.mounts > 0 || c.shims > max(st.pool, st.spare):
		return c, fmt.Errorf("the first session left %+v", c)
	}
	return c, nil
}

func TestSessionsLeaveNothingBehind(t *testing.T) {
	for name, pool := range map[string]int{"cold": 0, "pooled": 3} {
		t.Run(name, func(t *testing.T) { leaveNothingBehind(t, newStack(t, pool)) })
	}
}

func leaveNothingBehind(t *testing.T, st *stack) {
	t.Helper()
	ctx := namespaces.WithNamespace(t.Context(), st.engine.Client().DefaultNamespace())
	st.cycle(t, true) // what is made once and kept
	eventually(t, st.removed)
	collect(ctx, t, st.engine.Client())
	var before census
	eventually(t, func() error {
		var err error
		before, err = st.settled(ctx)
		return err
	})
	started := time.Now()
	var durations []time.Duration
	var mu sync.Mutex
	var workers sync.WaitGroup
	next := make(chan int)
	for range 4 {
		workers.Go(func() {
			for n := range next {
				began := time.Now()
				st.cycle(t, n%20 == 0)
				mu.Lock()
				durations = append(durations, time.Since(began))
				mu.Unlock()
			}
		})
	}
	for n := range leakCycles {
		next <- n
	}
	close(next)
	workers.Wait()
	slices.Sort(durations)
	t.Logf("%d cycles in %s; one took %s (p50), %s (p99)", leakCycles, time.Since(started).Round(time.Millisecond),
		durations[len(durations)/2].Round(time.Millisecond), durations[len(durations)*99/100].Round(time.Millisecond))
	eventually(t, st.removed)
	collect(ctx, t, st.engine.Client())
	eventually(t, func() error {
		after, err := st.settled(t.Context())
		if err != nil {
			return err
		}
		return left(before, after)
	})
}

// left says what there is more after something than before.
func left(before, after census) error {
	// The Go runtime's and HTTP's own come and go; a leak of one a cycle would
	// be two hundred.
	const own = 5
	if after.goroutines > before.goroutines+own || after.files > before.files+own {
		return fmt.Errorf("before %+v, after %+v", before, after)
	}
	after.goroutines, after.files = before.goroutines, before.files
	if after != before {
		return fmt.Errorf("before %+v, after %+v", before, after)
	}
	return nil
}

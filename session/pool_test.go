package session_test

import (
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"codebeaker/runtime"
	"codebeaker/session"
	"codebeaker/session/sessiontest"
)

// kept is a manager that keeps a pool, and the host that it is on.
type kept struct {
	t    *testing.T // of the bubble
	host *sessiontest.Host
	m    *session.Manager
}

// withPool runs a test with a manager that keeps a pool, which the test's end
// shuts down and finds nothing of.
func withPool(t *testing.T, change func(*session.Options), test func(kept)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		host := sessiontest.NewHost()
		m := host.Manager(func(o *session.Options) {
			o.Pool = session.PoolOptions{Size: 8, Min: 1}
			if change != nil {
				change(o)
			}
		})
		m.StartPool(t.Context())
		test(kept{t, host, m})
		if err := m.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := host.Left(); n != 0 {
			t.Errorf("%d things are left", n)
		}
	})
}

// fixed keeps n members.
func fixed(n int) func(*session.Options) {
	return func(o *session.Options) { o.Pool.Languages = map[string]int{"python": n} }
}

func pooled(t *testing.T, m *session.Manager) session.PoolStats {
	t.Helper()
	synctest.Wait()
	stats := m.Stats().Pool
	if len(stats) == 0 {
		return session.PoolStats{}
	}
	return stats[0]
}

func expectReady(t *testing.T, m *session.Manager, want int) {
	t.Helper()
	if got := pooled(t, m); got.Ready != want || got.Starting != 0 {
		t.Errorf("%d members are ready and %d starting; want %d", got.Ready, got.Starting, want)
	}
}

func TestPoolHoldsNothingBeforeALanguageIsUsed(t *testing.T) {
	withPool(t, nil, func(k kept) {
		t, host, m := k.t, k.host, k.m
		pass(time.Hour)
		expectReady(t, m, 0)
		if n := host.Left(); n != 0 {
			t.Fatalf("%d things exist", n)
		}
		if info := create(t, m, session.CreateRequest{}); info.Timings.Pooled {
			t.Error("the first session was in the pool")
		}
		expectReady(t, m, 1)
		if info := create(t, m, session.CreateRequest{}); !info.Timings.Pooled {
			t.Error("the second session was not in the pool")
		}
		if got := pooled(t, m); got.Claims != 1 || got.Misses != 1 {
			t.Errorf("it counts %d claims and %d misses", got.Claims, got.Misses)
		}
	})
}

func TestClaimedMemberIsWhatWasAskedFor(t *testing.T) {
	withPool(t, fixed(1), func(k kept) {
		t, host, m := k.t, k.host, k.m
		expectReady(t, m, 1)
		if list, _ := m.List(t.Context()); len(list) != 0 {
			t.Errorf("a member is listed: %+v", list)
		}
		member := host.Containers()[0]
		if o := member.Options(); o.Labels["org.codebeaker.session"] != "" || o.Limits != (runtime.Limits{MemoryBytes: 512 << 20, CPUs: 1, Pids: 256}) || len(o.Env) != 0 {
			t.Errorf("a member is made with %+v", o)
		}
		pass(20 * time.Minute)
		info := create(t, m, session.CreateRequest{
			IdleTimeout: 10 * time.Minute, MaxLifetime: 15 * time.Minute,
			Limits: session.Limits{MemoryBytes: 64 << 20, CPUs: 0.5}, Env: map[string]string{"A": "session"},
		})
		if !info.CreatedAt.Equal(time.Now()) || info.State != session.StateActive || info.ContainerID != member.Options().ID {
			t.Errorf("created %+v", info)
		}
		if want := (session.Limits{MemoryBytes: 64 << 20, CPUs: 0.5, Pids: 256}); info.Limits != want {
			t.Errorf("limits %+v; want %+v", info.Limits, want)
		}
		l := member.Labels()
		if l["org.codebeaker.session"] != info.ID || l["org.codebeaker.language"] != "python" || l["org.codebeaker.idle-timeout"] != "10m0s" ||
			l["org.codebeaker.max-lifetime"] != "15m0s" || l["org.codebeaker.created"] != info.CreatedAt.UTC().Format(time.RFC3339Nano) {
			t.Errorf("recorded %v", l)
		}
		if _, err := m.Execute(t.Context(), info.ID, &session.Shell{Name: "exit"}); err != nil {
			t.Fatal(err)
		}
		if env := member.Started()[0].Env; env[0] != "A=session" {
			t.Errorf("environment %q", env)
		}
		// Its time runs from the claim.
		pass(10*time.Minute - time.Second)
		if list, _ := m.List(t.Context()); len(list) != 1 {
			t.Fatal("it expired before its time")
		}
		pass(2 * time.Second)
		synctest.Wait()
		if list, _ := m.List(t.Context()); len(list) != 0 {
			t.Error("it did not expire")
		}
		// It is gone, and another stands in its place.
		for _, c := range host.Containers() {
			if c == member {
				t.Error("a used member is kept")
			}
		}
		expectReady(t, m, 1)
	})
}

func TestBurstBeyondThePoolWaitsForNoRefill(t *testing.T) {
	withPool(t, fixed(2), func(k kept) {
		t, host, m := k.t, k.host, k.m
		expectReady(t, m, 2)
		host.SlowCreates(time.Second)
		var creates sync.WaitGroup
		var mu sync.Mutex
		took := map[time.Duration]int{}
		for range 10 {
			creates.Go(func() {
				started := time.Now()
				if _, err := m.Create(t.Context(), session.CreateRequest{Language: "python"}); err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				took[time.Since(started)]++
			})
		}
		creates.Wait()
		if took[0] != 2 || took[time.Second] != 8 {
			t.Errorf("creates took %v", took)
		}
		synctest.Wait()
		if got := pooled(t, m); got.Ready+got.Starting != 2 {
			t.Errorf("after the burst %d are ready and %d starting", got.Ready, got.Starting)
		}
		pass(2 * time.Second)
		expectReady(t, m, 2)
	})
}

func TestRefillStandsBackBehindColdCreates(t *testing.T) {
	withPool(t, nil, func(k kept) {
		t, host, m := k.t, k.host, k.m
		host.SlowCreates(3 * time.Second)
		var creates sync.WaitGroup
		for range 4 {
			creates.Go(func() { create(t, m, session.CreateRequest{}) })
		}
		pass(2*time.Second - time.Millisecond)
		if got := pooled(t, m); got.Starting != 0 || got.Target != 8 {
			t.Errorf("%d refills of %d run while clients wait for containers", got.Starting, got.Target)
		}
		pass(2 * time.Millisecond)
		if got := pooled(t, m); got.Starting != 1 {
			t.Errorf("%d refills run while clients go on to wait for containers", got.Starting)
		}
		creates.Wait()
		pass(time.Second / 2)
		if got := pooled(t, m); got.Ready != 0 || got.Starting != 2 {
			t.Errorf("%d members are ready and %d starting when no client waits", got.Ready, got.Starting)
		}
	})
}

// The client that claims a member is about to run programs.
func TestRefillStandsBackBehindAClaim(t *testing.T) {
	withPool(t, fixed(3), func(k kept) {
		t, host, m := k.t, k.host, k.m
		expectReady(t, m, 3)
		host.SlowCreates(time.Second)
		create(t, m, session.CreateRequest{})
		pass(200 * time.Millisecond)
		create(t, m, session.CreateRequest{})
		if got := pooled(t, m); got.Ready != 1 || got.Starting != 0 {
			t.Errorf("right after claims %d members are ready and %d starting", got.Ready, got.Starting)
		}
		pass(100 * time.Millisecond) // 300 after the first
		if got := pooled(t, m); got.Starting != 2 {
			t.Errorf("a while after claims %d members are starting", got.Starting)
		}
		pass(2 * time.Second)
		for range 3 {
			create(t, m, session.CreateRequest{})
		}
		pass(time.Millisecond)
		if got := pooled(t, m); got.Starting != 2 {
			t.Errorf("%d members are starting where none is left", got.Starting)
		}
	})
}

func TestPoolGrowsWithDemandAndShrinksWithoutIt(t *testing.T) {
	withPool(t, nil, func(k kept) {
		t, m := k.t, k.m
		for range 12 {
			create(t, m, session.CreateRequest{})
		}
		pass(time.Second)
		expectReady(t, m, 8) // all that the pool may hold
		pass(10*time.Minute - 3*time.Second)
		expectReady(t, m, 8)
		pass(12 * time.Second)
		expectReady(t, m, 1)
		pass(50*time.Minute - 20*time.Second)
		expectReady(t, m, 1)
		pass(20 * time.Second)
		expectReady(t, m, 0)
	})
}

func TestDeadMemberIsReplacedAndNotClaimed(t *testing.T) {
	withPool(t, fixed(1), func(k kept) {
		t, host, m := k.t, k.host, k.m
		expectReady(t, m, 1)
		dead := host.Containers()[0]
		_ = dead.Kill()
		expectReady(t, m, 1)
		if alive := host.Containers(); len(alive) != 1 || alive[0] == dead {
			t.Errorf("the host has %d containers", len(alive))
		}
		info := create(t, m, session.CreateRequest{})
		if _, err := m.Execute(t.Context(), info.ID, &session.Shell{Name: "exit"}); err != nil || !info.Timings.Pooled {
			t.Errorf("a session from the pool: %v, pooled %v", err, info.Timings.Pooled)
		}
	})
}

func TestFailedClaimTakesTheNextMemberOrNone(t *testing.T) {
	withPool(t, fixed(2), func(k kept) {
		t, host, m := k.t, k.host, k.m
		expectReady(t, m, 2)
		host.FailClaims(errors.New("no"))
		if info := create(t, m, session.CreateRequest{}); !info.Timings.Pooled {
			t.Error("the second member was not claimed")
		}
		expectReady(t, m, 2)
		host.FailClaims(errors.New("no"), errors.New("no"))
		host.SlowCreates(time.Second) // or a third one is there in time
		if info := create(t, m, session.CreateRequest{}); info.Timings.Pooled {
			t.Error("a member that cannot be claimed was")
		}
		pass(2 * time.Second)
		expectReady(t, m, 2)
		if n := len(host.Containers()); n != 4 {
			t.Errorf("there are %d containers of 2 sessions and 2 members", n)
		}
	})
}

func TestMembersOfAnOldImageAreNotClaimed(t *testing.T) {
	withPool(t, fixed(2), func(k kept) {
		t, host, m := k.t, k.host, k.m
		expectReady(t, m, 2)
		old := host.Containers()
		host.SetImage("new")
		if info := create(t, m, session.CreateRequest{}); info.Timings.Pooled {
			t.Error("an old member was claimed")
		}
		expectReady(t, m, 2)
		for _, c := range host.Containers() {
			if c == old[0] || c == old[1] {
				t.Error("an old member is kept")
			}
		}
		if info := create(t, m, session.CreateRequest{}); !info.Timings.Pooled {
			t.Error("no new member was claimed")
		}
	})
}

func TestMembersGoWithTheirImage(t *testing.T) {
	withPool(t, fixed(2), func(k kept) {
		t, host, m := k.t, k.host, k.m
		expectReady(t, m, 2)
		host.SetImage("")
		pass(11 * time.Second)
		expectReady(t, m, 0)
		if n := host.Left(); n != 0 {
			t.Errorf("%d things are left", n)
		}
		host.SetImage("new")
		pass(time.Minute)
		expectReady(t, m, 2)
	})
}

func TestFailedRefillsRest(t *testing.T) {
	withPool(t, fixed(2), func(k kept) {
		t, host, m := k.t, k.host, k.m
		expectReady(t, m, 2)
		host.FailCreates(errors.New("no"))
		for _, c := range host.Containers() {
			_ = c.Kill()
		}
		expectReady(t, m, 0)
		before := len(host.Calls())
		pass(time.Hour)
		if n := len(host.Calls()) - before; n == 0 || n > 80 { // two a failure
			t.Errorf("%d calls within the hour", n)
		}
		host.FailCreates(nil)
		pass(5*time.Minute + 10*time.Second)
		expectReady(t, m, 2)
	})
}

func TestMembersTakeNoSessionsPlace(t *testing.T) {
	withPool(t, func(o *session.Options) { o.MaxSessions = 1; fixed(3)(o) }, func(k kept) {
		t, m := k.t, k.m
		expectReady(t, m, 3)
		create(t, m, session.CreateRequest{})
		_, err := m.Create(t.Context(), session.CreateRequest{Language: "python"})
		if limit := (*session.LimitError)(nil); !errors.As(err, &limit) {
			t.Errorf("a second session: %v", err)
		}
	})
}

func TestRunClaimsAMember(t *testing.T) {
	told := &notes{}
	withPool(t, func(o *session.Options) { o.Observer = told; fixed(1)(o) }, func(k kept) {
		t, m := k.t, k.m
		expectReady(t, m, 1)
		e, err := m.Run(t.Context(), session.RunRequest{Language: "python", Code: []byte("x")})
		if err != nil {
			t.Fatal(err)
		}
		<-e.Done()
		if list := told.taken(); list[0] != "created python true" {
			t.Errorf("told %q", list)
		}
	})
}

func TestShutdownEndsThePoolInTheMiddleOfARefill(t *testing.T) {
	withPool(t, fixed(4), func(k kept) {
		t, host, m := k.t, k.host, k.m
		expectReady(t, m, 4)
		host.SlowCreates(time.Second)
		create(t, m, session.CreateRequest{})
		pass(time.Second / 2)
		if got := pooled(t, m); got.Starting != 1 {
			t.Error("no refill is under way; this proves nothing")
		}
		if err := m.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := host.Left(); n != 0 {
			t.Errorf("%d things are left", n)
		}
	})
}

func TestNoPoolWhereItHasNoSize(t *testing.T) {
	withPool(t, func(o *session.Options) { o.Pool.Size = 0; fixed(4)(o) }, func(k kept) {
		t, host, m := k.t, k.host, k.m
		info := create(t, m, session.CreateRequest{})
		pass(time.Minute)
		if n := len(host.Containers()); n != 1 || info.Timings.Pooled {
			t.Errorf("there are %d containers of one session", n)
		}
	})
}

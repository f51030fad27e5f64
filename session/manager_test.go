package session_test

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/containerd/errdefs"

	"codebeaker/images"
	"codebeaker/runtime"
	"codebeaker/session"
	"codebeaker/session/sessiontest"
)

// In synctest's bubbles time passes only when nothing else can, so that a test
// of half an hour takes no time and no sleep can be too short.

// create makes a session of the host.
func create(t *testing.T, m *session.Manager, req session.CreateRequest) session.Info {
	t.Helper()
	if req.Language == "" {
		req.Language = "python"
	}
	info, err := m.Create(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	return info
}

// pass lets time pass.
func pass(d time.Duration) {
	timer := time.NewTimer(d)
	<-timer.C
}

func TestSessionStates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host := sessiontest.NewHost()
		m := host.Manager(nil)
		info := create(t, m, session.CreateRequest{})
		state := func() session.State {
			t.Helper()
			list, err := m.List(t.Context())
			if err != nil || len(list) != 1 {
				t.Fatalf("List() = %v, %v", list, err)
			}
			return list[0].State
		}
		if got := state(); got != session.StateActive {
			t.Errorf("a new session is %s", got)
		}
		run := func(name string) <-chan *session.Outcome {
			done := make(chan *session.Outcome, 1)
			go func() {
				o, err := m.Execute(t.Context(), info.ID, &session.Shell{Name: name})
				if err != nil {
					t.Error(err)
				}
				done <- o
			}()
			synctest.Wait()
			return done
		}
		<-run("exit")
		if got := state(); got != session.StateIdle {
			t.Errorf("after a command it is %s", got)
		}
		blocked := run("block")
		if got := state(); got != session.StateActive {
			t.Errorf("during a command it is %s", got)
		}
		<-run("exit")
		if got := state(); got != session.StateActive {
			t.Errorf("while another command runs it is %s", got)
		}
		if list, _ := m.List(t.Context()); list[0].ExecutionCount != 3 {
			t.Errorf("it counts %d executions of 3", list[0].ExecutionCount)
		}
		if err := m.Close(t.Context(), info.ID); err != nil {
			t.Fatal(err)
		}
		if o := <-blocked; o.Result.(*session.ExecutionResult).EndReason != session.EndSessionClosed {
			t.Errorf("the running command ended with %+v", o.Result)
		}
		synctest.Wait()
		if err := m.Close(t.Context(), info.ID); !errors.Is(err, session.ErrNotFound) {
			t.Errorf("closing it again: %v", err)
		}
		if n := host.Left(); n != 0 {
			t.Errorf("%d things are left", n)
		}
	})
}

func TestClosedSessionIsForgottenWhenItsCloseReturns(t *testing.T) {
	m := sessiontest.NewHost().Manager(nil)
	var others sync.WaitGroup
	defer others.Wait()
	over := make(chan struct{})
	defer close(over)
	for range 4 { // they make the manager busy
		others.Go(func() {
			for {
				select {
				case <-over:
					return
				default:
					_, _ = m.List(t.Context())
				}
			}
		})
	}
	for range 3000 {
		info := create(t, m, session.CreateRequest{})
		if err := m.Close(t.Context(), info.ID); err != nil {
			t.Fatal(err)
		}
		if err := m.Close(t.Context(), info.ID); !errors.Is(err, session.ErrNotFound) {
			t.Fatalf("Close() of a session that was closed = %v; want ErrNotFound", err)
		}
	}
}

func TestContainerGoesBeforeItsSnapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host := sessiontest.NewHost()
		m := host.Manager(nil)
		info := create(t, m, session.CreateRequest{})
		if err := m.Close(t.Context(), info.ID); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if want := []string{"delete container", "remove snapshot"}; !slices.Equal(host.Calls(), want) {
			t.Errorf("calls %q; want %q", host.Calls(), want)
		}
	})
}

func TestSessionsExpireWhenIdleAndNotWhileTheyWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host := sessiontest.NewHost()
		m := host.Manager(nil)
		info := create(t, m, session.CreateRequest{IdleTimeout: 10 * time.Minute, MaxLifetime: time.Hour})
		alive := func() bool {
			synctest.Wait()
			list, _ := m.List(t.Context())
			return len(list) == 1
		}
		pass(9 * time.Minute)
		if _, err := m.Execute(t.Context(), info.ID, &session.Shell{Name: "exit"}); err != nil {
			t.Fatal(err)
		}
		pass(9 * time.Minute)
		if !alive() {
			t.Fatal("a command did not move the idle deadline")
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			_, _ = m.Execute(ctx, info.ID, &session.Shell{Name: "block", ProgramOptions: session.ProgramOptions{Timeout: time.Hour}})
		}()
		pass(20 * time.Minute)
		if !alive() {
			t.Fatal("it expired while a program ran")
		}
		cancel()
		<-done
		pass(10*time.Minute - time.Second)
		if !alive() {
			t.Fatal("it expired before its time")
		}
		pass(2 * time.Second)
		if alive() {
			t.Error("it did not expire")
		}
	})
}

func TestSessionsExpireAtTheEndOfTheirLifeEvenWhileTheyWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := sessiontest.NewHost().Manager(nil)
		info := create(t, m, session.CreateRequest{MaxLifetime: time.Hour})
		started := time.Now()
		o, err := m.Execute(t.Context(), info.ID, &session.Shell{Name: "block", ProgramOptions: session.ProgramOptions{Timeout: 3 * time.Hour}})
		if err != nil {
			t.Fatal(err)
		}
		if r := o.Result.(*session.ExecutionResult); r.EndReason != session.EndSessionClosed || time.Since(started) != time.Hour {
			t.Errorf("it ended with %s after %s", r.EndReason, time.Since(started))
		}
		synctest.Wait()
	})
}

func TestLostContainerClosesItsSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host := sessiontest.NewHost()
		m := host.Manager(nil)
		create(t, m, session.CreateRequest{})
		for _, c := range host.Containers() {
			_ = c.Kill()
		}
		synctest.Wait()
		if list, _ := m.List(t.Context()); len(list) != 0 || host.Left() != 0 {
			t.Errorf("%d sessions and %d things are left", len(list), host.Left())
		}
	})
}

func TestEndsAreTrue(t *testing.T) {
	for _, tc := range []struct {
		program string
		oom     bool
		timeout time.Duration
		reason  session.EndReason
		signal  string
		code    int
		success bool
	}{
		{program: "exit", reason: session.EndExited, success: true},
		{program: "fail", reason: session.EndExited, code: 3},
		{program: "exit137", reason: session.EndExited, code: 137},
		{program: "lost", reason: session.EndLost, code: -1},
		{program: "term", reason: session.EndSignaled, signal: "SIGTERM", code: 143},
		{program: "kill", reason: session.EndSignaled, signal: "SIGKILL", code: 137},
		{program: "kill", oom: true, reason: session.EndOOM, signal: "SIGKILL", code: 137},
		// Children of these were killed.
		{program: "exit", oom: true, reason: session.EndExited, success: true},
		{program: "fail", oom: true, reason: session.EndExited, code: 3},
		{program: "exit137", oom: true, reason: session.EndExited, code: 137},
		{program: "term", oom: true, reason: session.EndSignaled, signal: "SIGTERM", code: 143},
		{program: "block", timeout: time.Second, reason: session.EndTimeout, signal: "SIGKILL", code: 137},
	} {
		synctest.Test(t, func(t *testing.T) {
			host := sessiontest.NewHost()
			m := host.Manager(nil)
			info := create(t, m, session.CreateRequest{})
			if tc.oom {
				for _, c := range host.Containers() {
					c.CountOOMKills(1)
				}
			}
			o, err := m.Execute(t.Context(), info.ID, &session.Shell{Name: tc.program, ProgramOptions: session.ProgramOptions{Timeout: tc.timeout}})
			if err != nil {
				t.Fatal(err)
			}
			r := o.Result.(*session.ExecutionResult)
			if r.EndReason != tc.reason || r.Signal != tc.signal || r.ExitCode != tc.code || o.Success != tc.success {
				t.Errorf("%+v: ended with %+v, success %v", tc, r, o.Success)
			}
			if (o.Error == "") != tc.success || string(r.Stdout) != "out" || string(r.Stderr) != "err" {
				t.Errorf("%+v: error %q, stdout %q, stderr %q", tc, o.Error, r.Stdout, r.Stderr)
			}
			if told := strings.Contains(o.Error, "memory limit"); told != (tc.oom && !tc.success) || (r.Usage.OOMKills == 1) != tc.oom {
				t.Errorf("%+v: error %q, usage %+v", tc, o.Error, r.Usage)
			}
			if err := m.Close(t.Context(), info.ID); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestEnvironmentIsTheImagesThenTheSessionsThenTheCommands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host := sessiontest.NewHost()
		m := host.Manager(nil)
		info := create(t, m, session.CreateRequest{Env: map[string]string{"A": "session", "B": "session", "GOPROXY": "mine"}})
		if _, err := m.Execute(t.Context(), info.ID, &session.Shell{Name: "exit", Env: map[string]string{"B": "command"}}); err != nil {
			t.Fatal(err)
		}
		for _, c := range host.Containers() {
			want := append(images.NewCatalogue().Offline(), "A=session", "APT_CONFIG="+runtime.AptOffline, "B=command",
				"DOTNET_PROCESSOR_COUNT=1", "GOMAXPROCS=1", "GOPROXY=mine", "HOME=/workspace", "LANG=C.UTF-8", "OMP_NUM_THREADS=1",
				"PATH=/image", "PYTHON_CPU_COUNT=1", "USER=sandbox")
			want = slices.DeleteFunc(want, func(kv string) bool { return kv == "GOPROXY=off" })
			slices.Sort(want)
			if got := c.Started()[0].Env; !slices.Equal(got, want) {
				t.Errorf("environment %q; want %q", got, want)
			}
		}
		if err := m.Close(t.Context(), info.ID); err != nil {
			t.Error(err)
		}
	})
}

func TestBadRequestsNameTheirField(t *testing.T) {
	m := sessiontest.NewHost().Manager(nil)
	for field, req := range map[string]session.CreateRequest{
		"memoryLimitMB":      {Limits: session.Limits{MemoryBytes: 1}},
		"cpuLimit":           {Limits: session.Limits{CPUs: math.NaN()}},
		"pidsLimit":          {Limits: session.Limits{Pids: 1 << 40}},
		"idleTimeoutMinutes": {IdleTimeout: -1},
		"maxLifetimeMinutes": {MaxLifetime: math.MaxInt64},
		"env":                {Env: map[string]string{"": "x"}},
	} {
		req.Language = "python"
		_, err := m.Create(t.Context(), req)
		invalid := (*session.InvalidError)(nil)
		if !errors.As(err, &invalid) || invalid.Field != field || !errdefs.IsInvalidArgument(err) {
			t.Errorf("%+v: %v; want an invalid %s", req, err, field)
		}
	}
	if _, err := m.Create(t.Context(), session.CreateRequest{Language: "cobol"}); !errors.Is(err, session.ErrLanguage) || !strings.Contains(err.Error(), "python") {
		t.Errorf("unknown language: %v", err)
	}
	if _, err := m.Create(t.Context(), session.CreateRequest{Language: "go"}); !errors.Is(err, session.ErrLanguage) {
		t.Errorf("language without an image: %v", err)
	}
}

func TestSessionLimitCountsThoseThatAreBeingMade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := sessiontest.NewHost().Manager(func(o *session.Options) { o.MaxSessions = 2 })
		first := create(t, m, session.CreateRequest{})
		create(t, m, session.CreateRequest{})
		_, err := m.Create(t.Context(), session.CreateRequest{Language: "python"})
		limit := (*session.LimitError)(nil)
		if !errors.As(err, &limit) || limit.RetryAfter == 0 || !errdefs.IsResourceExhausted(err) {
			t.Fatalf("a third session: %v", err)
		}
		if err := m.Close(t.Context(), first.ID); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		create(t, m, session.CreateRequest{})
		if err := m.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
}

func TestFailedCreateLeavesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host := sessiontest.NewHost()
		no := errors.New("no")
		host.FailCreates(no)
		m := host.Manager(func(o *session.Options) { o.MaxSessions = 1 })
		for range 3 { // nor does it take a place
			if _, err := m.Create(t.Context(), session.CreateRequest{Language: "python"}); !errors.Is(err, no) {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if n := host.Left(); n != 0 {
			t.Errorf("%d things are left", n)
		}
	})
}

func TestRemovalIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host := sessiontest.NewHost()
		m := host.Manager(nil)
		info := create(t, m, session.CreateRequest{})
		host.FailDeletes(errors.New("busy"), errors.New("busy"))
		if err := m.Close(t.Context(), info.ID); err != nil {
			t.Fatal(err)
		}
		if err := m.Shutdown(t.Context()); err != nil { // which waits for it
			t.Fatal(err)
		}
		if n := host.Left(); n != 0 {
			t.Errorf("%d things are left", n)
		}
	})
}

func TestShutdownDrainsThenKillsThenRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host := sessiontest.NewHost()
		m := host.Manager(nil)
		info := create(t, m, session.CreateRequest{})
		reason := make(chan session.EndReason, 1)
		go func() {
			o, err := m.Execute(t.Context(), info.ID, &session.Shell{Name: "block", ProgramOptions: session.ProgramOptions{Timeout: time.Hour}})
			if err != nil {
				t.Error(err)
			}
			reason <- o.Result.(*session.ExecutionResult).EndReason
		}()
		synctest.Wait()
		started := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := m.Shutdown(ctx); err != nil {
			t.Fatal(err)
		}
		if got := <-reason; got != session.EndSessionClosed || time.Since(started) != time.Minute {
			t.Errorf("the running program ended with %s after %s", got, time.Since(started))
		}
		if n := host.Left(); n != 0 {
			t.Errorf("%d things are left", n)
		}
		if _, err := m.Create(t.Context(), session.CreateRequest{Language: "python"}); !errors.Is(err, session.ErrShutdown) {
			t.Errorf("a create after it: %v", err)
		}
	})
}

func TestRecoverRemovesSessionsAndMembers(t *testing.T) {
	host := sessiontest.NewHost()
	host.Leave("cb-session", map[string]string{"org.codebeaker.session": "s", "org.codebeaker.language": "python"})
	host.Leave("cb-member", map[string]string{"org.codebeaker.language": "python"})
	n, err := host.Manager(nil).Recover(t.Context())
	if err != nil || n != 2 || host.Left() != 0 {
		t.Errorf("Recover() = %d, %v with %d things left", n, err, host.Left())
	}
}

func TestIDsCannotBeGuessedFromOneAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := sessiontest.NewHost().Manager(nil)
		a, b := create(t, m, session.CreateRequest{}), create(t, m, session.CreateRequest{})
		// 26 letters of base32 are 130 bits. The container's id is seen by
		// everyone on the host, in the arguments of its shim.
		if a.ID == b.ID || len(a.ID) < 26 || strings.Contains(a.ContainerID, a.ID) {
			t.Errorf("ids %q and %q, container %q", a.ID, b.ID, a.ContainerID)
		}
		if err := m.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
}

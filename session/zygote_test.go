package session_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"codebeaker/runtime"
	"codebeaker/session"
	"codebeaker/session/sessiontest"
)

// zygotes gives Python zygotes.
func zygotes(o *session.Options) { o.Zygotes = map[string][]string{"python": {"json", "re"}} }

// containerOf returns a session's container.
func containerOf(t *testing.T, host *sessiontest.Host, info session.Info) *sessiontest.Container {
	t.Helper()
	for _, c := range host.Containers() {
		if c.Options().ID == info.ContainerID {
			return c
		}
	}
	t.Fatalf("there is no container %s", info.ContainerID)
	return nil
}

// code runs code in a session and returns how its program was asked for.
func code(t *testing.T, m *session.Manager, c *sessiontest.Container, id string, cmd *session.Code) runtime.ExecOptions {
	t.Helper()
	if _, err := m.Execute(t.Context(), id, cmd); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
	started := c.Started()
	return started[len(started)-1]
}

// shutDown ends a manager, of which nothing is left.
func shutDown(t *testing.T, host *sessiontest.Host, m *session.Manager) {
	t.Helper()
	if err := m.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := host.Left(); n != 0 {
		t.Errorf("%d things are left", n)
	}
}

func expectZygotes(t *testing.T, c *sessiontest.Container, want int) {
	t.Helper()
	synctest.Wait()
	if got := c.Zygotes(); len(got) != want {
		t.Errorf("zygotes %+v were started; want %d", got, want)
	}
}

func TestZygoteIsStartedBehindTheFirstCode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host := sessiontest.NewHost()
		host.Programs = map[string]sessiontest.Program{"python3": func(*sessiontest.Process) runtime.ExitStatus { return runtime.ExitStatus{} }}
		m := host.Manager(zygotes)
		info := create(t, m, session.CreateRequest{})
		c := containerOf(t, host, info)
		if _, err := m.Execute(t.Context(), info.ID, &session.Shell{Name: "true"}); err != nil {
			t.Fatal(err)
		}
		expectZygotes(t, c, 0)
		for range 3 {
			if o := code(t, m, c, info.ID, &session.Code{Packages: []string{"p"}}); !o.Fork {
				t.Errorf("the program was asked for with %+v", o)
			}
		}
		expectZygotes(t, c, 1)
		if z := c.Zygotes()[0]; !slices.Equal(z.Args, []string{"python3", "json", "re"}) {
			t.Errorf("the zygote is %+v", z)
		}
		if started := c.Started(); started[0].Fork || started[1].Fork || !started[2].Fork {
			t.Errorf("a command of shell or pip may be forked: %+v", started[:3])
		}
		if o := code(t, m, c, info.ID, &session.Code{Language: "javascript"}); o.Fork {
			t.Error("a program of another language may be forked")
		}
		shutDown(t, host, m)
	})
}

func TestSessionsHaveNoZygoteUnlessAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host := sessiontest.NewHost()
		m := host.Manager(nil)
		info := create(t, m, session.CreateRequest{})
		c := containerOf(t, host, info)
		if o := code(t, m, c, info.ID, &session.Code{}); o.Fork {
			t.Error("the program may be forked")
		}
		expectZygotes(t, c, 0)
		shutDown(t, host, m)

		m = host.Manager(zygotes)
		info = create(t, m, session.CreateRequest{Limits: session.Limits{MemoryBytes: 32 << 20}})
		c = containerOf(t, host, info)
		code(t, m, c, info.ID, &session.Code{})
		expectZygotes(t, c, 0) // which would take what little memory it has
		shutDown(t, host, m)
	})
}

func TestSessionOfOneProgramStartsNoZygote(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host := sessiontest.NewHost()
		m := host.Manager(zygotes)
		e, err := m.Run(t.Context(), session.RunRequest{Language: "python"})
		if err != nil {
			t.Fatal(err)
		}
		release := host.HoldDeletes()
		<-e.Done()
		synctest.Wait()
		containers := host.Containers()
		if len(containers) != 1 {
			t.Fatalf("there are %d containers", len(containers))
		}
		expectZygotes(t, containers[0], 0)
		release()
		shutDown(t, host, m)
	})
}

// TestZygoteThatEndsIsNotStartedAgainAtOnce has one that never lives long.
func TestZygoteThatEndsIsNotStartedAgainAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host := sessiontest.NewHost()
		host.Programs = map[string]sessiontest.Program{"zygote": func(*sessiontest.Process) runtime.ExitStatus {
			return runtime.ExitStatus{Code: 1}
		}}
		m := host.Manager(zygotes)
		info := create(t, m, session.CreateRequest{})
		c := containerOf(t, host, info)
		starts := 0
		for n, pause := range []time.Duration{0, time.Second, 2 * time.Second, 4 * time.Second} {
			if n > 0 {
				pass(pause - time.Millisecond)
				code(t, m, c, info.ID, &session.Code{})
				expectZygotes(t, c, starts)
				pass(time.Millisecond)
			}
			code(t, m, c, info.ID, &session.Code{})
			starts++
			expectZygotes(t, c, starts)
		}
		shutDown(t, host, m)
	})
}

func TestMembersOfThePoolHaveAZygote(t *testing.T) {
	change := func(o *session.Options) {
		fixed(1)(o)
		zygotes(o)
	}
	withPool(t, change, func(k kept) {
		t := k.t
		expectReady(t, k.m, 1)
		info := create(t, k.m, session.CreateRequest{})
		c := containerOf(t, k.host, info)
		if !info.Timings.Pooled {
			t.Fatal("the session was not in the pool")
		}
		expectZygotes(t, c, 1)
		code(t, k.m, c, info.ID, &session.Code{})
		expectZygotes(t, c, 1)

		expectReady(t, k.m, 1)
		info = create(t, k.m, session.CreateRequest{Limits: session.Limits{MemoryBytes: 32 << 20}})
		c = containerOf(t, k.host, info)
		expectZygotes(t, c, 1)
		if o := code(t, k.m, c, info.ID, &session.Code{}); o.Fork {
			t.Error("a session with little memory has the zygote of its container")
		}
		expectZygotes(t, c, 1)
	})
}

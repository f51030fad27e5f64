package session_test

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"codebeaker/session"
	"codebeaker/session/sessiontest"
)

func TestCloseAnswersBeforeTheRemovalAndAfterThePrograms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host := sessiontest.NewHost()
		m := host.Manager(func(o *session.Options) { o.MaxSessions = 1 })
		info := create(t, m, session.CreateRequest{})
		e, err := m.Start(t.Context(), info.ID, &session.Shell{Name: "block"}, true)
		if err != nil {
			t.Fatal(err)
		}
		release := host.HoldDeletes()
		if err := m.Close(t.Context(), info.ID); err != nil {
			t.Fatal(err)
		}
		select {
		case <-e.Done():
		default:
			t.Error("its program still runs")
		}
		if why, err := m.Closed(t.Context(), info.ID); why != session.ReasonClosed || err != nil {
			t.Errorf("Closed() = %q, %v", why, err)
		}
		if host.Left() == 0 {
			t.Error("nothing is left to remove; this proves nothing")
		}
		if got := m.Stats().Removing; got != 1 {
			t.Errorf("%d are being removed", got)
		}
		// Its place is free, though it is not gone.
		again := create(t, m, session.CreateRequest{})
		close := make(chan error)
		go func() { close <- m.Shutdown(t.Context()) }()
		synctest.Wait()
		select {
		case <-close:
			t.Error("Shutdown did not wait for the removal")
		default:
		}
		release()
		if err := <-close; err != nil {
			t.Fatal(err)
		}
		if n := host.Left(); n != 0 {
			t.Errorf("%d things of %s and %s are left", n, info.ID, again.ID)
		}
	})
}

func TestCloseWaitsWhereTooMuchIsToBeRemoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host := sessiontest.NewHost()
		m := host.Manager(func(o *session.Options) { o.MaxRemoving = 6 })
		release := host.HoldDeletes()
		for range 6 {
			if err := m.Close(t.Context(), create(t, m, session.CreateRequest{}).ID); err != nil {
				t.Fatal(err)
			}
		}
		info := create(t, m, session.CreateRequest{})
		closed := make(chan error, 1)
		go func() { closed <- m.Close(t.Context(), info.ID) }()
		pass(time.Second)
		select {
		case <-closed:
			t.Error("a close beyond the bound was answered")
		default:
		}
		if list, _ := m.List(t.Context()); len(list) != 1 || list[0].State != session.StateClosing {
			t.Errorf("sessions are %+v", list)
		}
		release()
		if err := <-closed; err != nil {
			t.Fatal(err)
		}
		if err := m.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := host.MostDeletes(); n != 4 {
			t.Errorf("%d containers were removed at one time; want 4", n)
		}
	})
}

func TestRemovalThatWaitsForItsTurnLosesNoTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host := sessiontest.NewHost()
		m := host.Manager(func(o *session.Options) { o.MaxRemoving = 256 })
		host.SlowDeletes(4 * time.Second)
		for range 256 {
			if err := m.Close(t.Context(), create(t, m, session.CreateRequest{}).ID); err != nil {
				t.Fatal(err)
			}
		}
		pass(256 / 4 * 4 * time.Second)
		synctest.Wait()
		if n := host.Left(); n != 0 {
			t.Errorf("%d things are left", n)
		}
		if stats := m.Stats(); stats.RemovalFailures != 0 || stats.Removing != 0 {
			t.Errorf("%d removals failed, %d are under way", stats.RemovalFailures, stats.Removing)
		}
	})
}

func TestProcessesThatDoNotGoHoldUpNoOtherRemoval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host := sessiontest.NewHost()
		m := host.Manager(func(o *session.Options) { o.MaxRemoving = 4 })
		free := host.HoldReleases()
		for range 8 {
			info := create(t, m, session.CreateRequest{})
			if _, err := m.Execute(t.Context(), info.ID, &session.Shell{Name: "exit"}); err != nil {
				t.Fatal(err)
			}
			if err := m.Close(t.Context(), info.ID); err != nil {
				t.Fatal(err)
			}
		}
		pass(5 * time.Minute)
		synctest.Wait()
		if n := host.Left(); n != 0 {
			t.Errorf("%d things are left beside the processes", n)
		}
		if n := m.Stats().RemovalsWaiting; n != 8 {
			t.Errorf("%d removals are tried again; want those of all 8 sessions, of which something is left", n)
		}
		free()
		pass(10 * time.Minute)
		synctest.Wait()
		if stats := m.Stats(); stats.RemovalsWaiting != 0 || stats.Removing != 0 {
			t.Errorf("when the processes have gone, %d removals are tried again and %d wait", stats.RemovalsWaiting, stats.Removing)
		}
		if err := m.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
}

func TestRemovalThatFailsIsTriedAgainUntilItSucceeds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const tries = 20
		host := sessiontest.NewHost()
		m := host.Manager(func(o *session.Options) { o.MaxRemoving, o.MaxSessions = 1, 2 })
		no := make([]error, tries)
		for i := range no {
			no[i] = errors.New("no")
		}
		host.FailDeletes(no...)
		info := create(t, m, session.CreateRequest{})
		if err := m.Close(t.Context(), info.ID); err != nil {
			t.Fatal(err)
		}
		pass(time.Minute)
		synctest.Wait()
		stats := m.Stats()
		if stats.RemovalsWaiting != 1 || stats.Removing != 0 || stats.RemovalFailures == 0 || stats.RemovalFailures >= tries {
			t.Fatalf("after a minute the stats are %+v", stats)
		}
		pass(2 * time.Hour)
		synctest.Wait()
		if n := host.Left(); n != 0 {
			t.Errorf("%d things are left", n)
		}
		if stats := m.Stats(); stats.RemovalsWaiting != 0 || stats.RemovalFailures != tries {
			t.Errorf("in the end the stats are %+v", stats)
		}
	})
}

func TestNoMoreSessionsThanCanBeRemoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host := sessiontest.NewHost()
		m := host.Manager(func(o *session.Options) { o.MaxSessions, o.MaxRemoving = 1, 2 })
		free := host.HoldDeletes()
		for range 3 {
			if err := m.Close(t.Context(), create(t, m, session.CreateRequest{}).ID); err != nil {
				t.Fatal(err)
			}
		}
		pass(2 * time.Minute)
		limit := (*session.LimitError)(nil)
		if _, err := m.Create(t.Context(), session.CreateRequest{Language: "python"}); !errors.As(err, &limit) {
			t.Errorf("a session where three could not be removed: %v", err)
		}
		e, err := m.Run(t.Context(), session.RunRequest{Language: "python"})
		if err != nil {
			t.Fatal(err)
		}
		free()
		<-e.Done() // which waited for that
		if err := m.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
}

func TestShutdownLeavesWhatCannotBeRemovedToTheNextStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var said bytes.Buffer
		host := sessiontest.NewHost()
		m := host.Manager(func(o *session.Options) { o.Log = slog.New(slog.NewTextHandler(&said, nil)) })
		for range 6 {
			create(t, m, session.CreateRequest{})
		}
		free := host.HoldDeletes()
		started := time.Now()
		if err := m.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if took := time.Since(started); took > time.Minute {
			t.Errorf("Shutdown took %s", took)
		}
		synctest.Wait()
		if text := said.String(); !strings.Contains(text, "the next start removes them") || !strings.Contains(text, "containers=6") {
			t.Errorf("the log says %s", text)
		}
		free()
		synctest.Wait()
		if _, err := host.Manager(nil).Recover(t.Context()); err != nil || host.Left() != 0 {
			t.Errorf("Recover: %v, and %d things are left", err, host.Left())
		}
	})
}

func TestShutdownTriesAgainAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host := sessiontest.NewHost()
		m := host.Manager(nil)
		no := make([]error, 7)
		for i := range no {
			no[i] = errors.New("no")
		}
		host.FailDeletes(no...)
		if err := m.Close(t.Context(), create(t, m, session.CreateRequest{}).ID); err != nil {
			t.Fatal(err)
		}
		pass(5 * time.Minute) // the next try is minutes away
		if n := m.Stats().RemovalsWaiting; n != 1 {
			t.Fatalf("%d removals are tried again", n)
		}
		if err := m.Shutdown(t.Context()); err != nil || host.Left() != 0 {
			t.Errorf("Shutdown: %v, and %d things are left", err, host.Left())
		}
	})
}

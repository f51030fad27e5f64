package session_test

import (
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

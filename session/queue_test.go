package session_test

import (
	"errors"
	"testing"
	"testing/synctest"

	"codebeaker/session"
	"codebeaker/session/sessiontest"
)

func TestExecutionsWaitForTheirSessionsInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const waiting = 40
		host := sessiontest.NewHost()
		host.Programs = map[string]sessiontest.Program{"python3": sessiontest.StandardPrograms()["block"]}
		m := host.Manager(func(o *session.Options) { o.MaxSessions = 1 })
		first := create(t, m, session.CreateRequest{})
		var queue []*session.Execution
		for range waiting {
			e, err := m.Run(t.Context(), session.RunRequest{Language: "python"})
			if err != nil {
				t.Fatal(err)
			}
			queue = append(queue, e)
			synctest.Wait()
		}
		for i, e := range queue { // some lose patience
			if i%3 == 1 {
				e.Cancel()
				<-e.Done()
				if _, err := e.Outcome(); !errors.Is(err, session.ErrCancelled) {
					t.Errorf("cancelled in the queue: %v", err)
				}
			}
		}
		if err := m.Close(t.Context(), first.ID); err != nil {
			t.Fatal(err)
		}
		for i, e := range queue {
			if i%3 == 1 {
				continue
			}
			synctest.Wait()
			for j, other := range queue {
				runs := other.Info().Status == session.StatusRunning
				if runs != (i == j) {
					t.Fatalf("when it is the turn of number %d, number %d is %s", i, j, other.Info().Status)
				}
			}
			limit := (*session.LimitError)(nil)
			if _, err := m.Create(t.Context(), session.CreateRequest{Language: "python"}); !errors.As(err, &limit) {
				t.Errorf("somebody else's session, while executions wait: %v", err)
			}
			e.Cancel()
			<-e.Done()
		}
		if err := m.Shutdown(t.Context()); err != nil || host.Left() != 0 {
			t.Errorf("Shutdown: %v, and %d things are left", err, host.Left())
		}
	})
}

func TestShutdownEndsTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := sessiontest.NewHost().Manager(func(o *session.Options) { o.MaxSessions = 1 })
		create(t, m, session.CreateRequest{})
		e, err := m.Run(t.Context(), session.RunRequest{Language: "python"})
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if err := m.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		<-e.Done()
		if _, err := e.Outcome(); !errors.Is(err, session.ErrShutdown) {
			t.Errorf("an execution that waited: %v", err)
		}
	})
}

package session_test

import (
	"testing"
	"testing/synctest"

	"codebeaker/session"
	"codebeaker/session/sessiontest"
)

// Nobody waits until what a program had is given back, but programs are not
// started much faster than that.
func TestProcessesAreGivenBackBehindTheAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host := sessiontest.NewHost()
		m := host.Manager(nil)
		info := create(t, m, session.CreateRequest{})
		release := host.HoldReleases()
		run := func() {
			if _, err := m.Execute(t.Context(), info.ID, &session.Shell{Name: "exit"}); err != nil {
				t.Error(err)
			}
		}
		for range 16 {
			run()
		}
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			run()
		}()
		synctest.Wait()
		select {
		case <-ended:
			t.Error("it was answered while 16 processes before it were not given back")
		default:
		}
		release()
		<-ended
		if err := m.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
}

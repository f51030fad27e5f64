package session_test

import (
	"testing"
	"testing/synctest"

	"codebeaker/runtime"
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

// A program's file is removed behind the answer, and found by nobody after it.
func TestNoCommandFindsTheFileOfAProgramThatEnded(t *testing.T) {
	for name, next := range map[string]session.Command{
		"a program":      &session.Shell{Name: "exit"},
		"a file command": &session.ReadFile{Path: "main.py"},
	} {
		synctest.Test(t, func(t *testing.T) {
			host := sessiontest.NewHost()
			host.Programs = map[string]sessiontest.Program{"python3": func(*sessiontest.Process) runtime.ExitStatus { return runtime.ExitStatus{} }}
			m := host.Manager(nil)
			info := create(t, m, session.CreateRequest{})
			release := host.HoldRemovals()
			if _, err := m.Execute(t.Context(), info.ID, &session.Code{Code: []byte("pass")}); err != nil {
				t.Fatal(err)
			}
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				_, _ = m.Execute(t.Context(), info.ID, next) // there may be no such file
			}()
			synctest.Wait()
			select {
			case <-ended:
				t.Errorf("%s was carried out before the file of the program was removed", name)
			default:
			}
			release()
			<-ended
			if err := m.Shutdown(t.Context()); err != nil {
				t.Fatal(err)
			}
		})
	}
}

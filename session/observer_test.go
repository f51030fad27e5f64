package session_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"codebeaker/session"
	"codebeaker/session/sessiontest"
)

// notes is an observer that writes down what it is told.
type notes struct {
	mu   sync.Mutex
	list []string
}

func (n *notes) add(format string, args ...any) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.list = append(n.list, fmt.Sprintf(format, args...))
}

func (n *notes) taken() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.list)
}

func (n *notes) SessionCreated(language string, pooled bool, _ session.Timings) {
	n.add("created %s %v", language, pooled)
}

func (n *notes) SessionClosed(language string, why session.Reason, answered, gone time.Duration) {
	n.add("closed %s %s %s %s", language, why, answered, gone)
}

func (n *notes) ProgramRan(language string, forked bool) {
	n.add("ran %s %v", language, forked)
}

func (n *notes) ExecutionEnded(language string, why session.EndReason, took time.Duration) {
	n.add("ended %s %s %s", language, why, took)
}

func TestObserverIsToldWhatHappens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		told := &notes{}
		m := sessiontest.NewHost().Manager(func(o *session.Options) { o.Observer = told })
		info := create(t, m, session.CreateRequest{})
		_, err := m.Execute(t.Context(), info.ID, &session.Shell{Name: "block", ProgramOptions: session.ProgramOptions{Timeout: time.Second}})
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Close(t.Context(), info.ID); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		want := []string{"created python false", "ended python timeout 1s", "closed python closed 0s 0s"}
		if got := told.taken(); !slices.Equal(got, want) {
			t.Errorf("told %q; want %q", got, want)
		}
	})
}

package session_test

import (
	"errors"
	"testing"

	"codebeaker/session"
	"codebeaker/session/sessiontest"
)

func TestWhyASessionClosedIsToldAfterwards(t *testing.T) {
	m := sessiontest.NewHost().Manager(nil)
	info, err := m.Create(t.Context(), session.CreateRequest{Language: "python"})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Close(t.Context(), info.ID); err != nil {
		t.Fatal(err)
	}
	if why, err := m.Closed(t.Context(), info.ID); why != session.ReasonClosed || err != nil {
		t.Errorf("got %q, %v; want %q", why, err, session.ReasonClosed)
	}
	if _, err := m.Closed(t.Context(), "x"); !errors.Is(err, session.ErrNotFound) {
		t.Errorf("of a session that never was: got %v, want %v", err, session.ErrNotFound)
	}
}

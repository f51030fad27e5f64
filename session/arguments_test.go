package session_test

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"codebeaker/session"
	"codebeaker/session/sessiontest"
)

func TestWhatTheKernelDoesNotTakeIsNamed(t *testing.T) {
	m := sessiontest.NewHost().Manager(nil)
	info := create(t, m, session.CreateRequest{})
	long, most := strings.Repeat("x", 128<<10), strings.Repeat("x", 128<<10-1)
	many := slices.Repeat([]string{most}, 16)
	for field, command := range map[string]session.Program{
		"command.args[1]":          &session.Shell{Name: "echo", Args: []string{"a", long}},
		"command.commandName":      &session.Shell{Name: long, Args: []string{"a"}},
		"command.workingDirectory": &session.Shell{Name: "echo", Dir: long},
		"command.env.A":            &session.Shell{Name: "echo", Env: map[string]string{"A": most}},
		"command.args":             &session.Shell{Name: "echo", Args: many},
		"command.args[0]":          &session.Code{Args: []string{long}},
	} {
		_, err := m.Execute(t.Context(), info.ID, command)
		if invalid := (*session.InvalidError)(nil); !errors.As(err, &invalid) || invalid.Field != field {
			t.Errorf("%s: %v", field, err)
		}
	}
	large := map[string]string{}
	for i := range 9 {
		large[string(rune('a'+i))] = most[:len(most)-2]
	}
	for field, env := range map[string]map[string]string{
		"env.A": {"A": long}, "env": large,
	} {
		_, err := m.Create(t.Context(), session.CreateRequest{Language: "python", Env: env})
		if invalid := (*session.InvalidError)(nil); !errors.As(err, &invalid) || invalid.Field != field {
			t.Errorf("create with %d bytes: %v", len(slices.Collect(maps.Values(env))), err)
		}
	}
}

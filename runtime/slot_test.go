package runtime

import (
	"errors"
	"slices"
	"testing"

	"codebeaker/runtime/cgroup"
)

func TestSlotIsReadyForAProgramOnly(t *testing.T) {
	var made []string
	var fail error
	s := slots{child: func(name string, _ int64) (cgroup.Group, error) {
		made = append(made, name)
		return cgroup.Group{}, fail
	}}
	take := func(kind slotKind, want string, cgroups ...string) {
		t.Helper()
		got, err := s.take(kind)
		if err != nil || got.id != want || !slices.Equal(made, cgroups) {
			t.Errorf("got %q, %v; want %q. Made are %q; want %q", got.id, err, want, made, cgroups)
		}
	}
	take(execSlot, "e1", "e1")
	s.prepare()
	s.prepare()
	take(zygoteSlot, "z1", "e1", "e2", "z1")
	take(execSlot, "e2", "e1", "e2", "z1")
	take(execSlot, "e3", "e1", "e2", "z1", "e3")
	// What cannot be prepared is said to who needs it.
	fail = errors.New("no more cgroups")
	s.prepare()
	if got, err := s.take(execSlot); !errors.Is(err, fail) {
		t.Errorf("got %+v, %v", got, err)
	}
	fail = nil
	take(execSlot, "e6", "e1", "e2", "z1", "e3", "e4", "e5", "e6")
}

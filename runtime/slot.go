package runtime

import (
	"strconv"
	"sync"

	"codebeaker/runtime/cgroup"
)

// slot is what a process of a container has before it is started: its id at the
// shim, which stands in the arguments of processes and so tells nothing, and the
// cgroup of that name.
type slot struct {
	id    string
	group cgroup.Group
}

// slotKind is what its id begins with, for people who look at cgroups.
type slotKind string

const (
	execSlot   slotKind = "e"
	zygoteSlot slotKind = "z"
)

// slots are those of a container. One is kept ready, as to make a cgroup is a
// part of what a short program takes.
type slots struct {
	child func(name string) (cgroup.Group, error) // makes one of the container's

	mu    sync.Mutex
	made  map[slotKind]int
	ready *slot
}

// take returns a slot that nobody else has.
func (s *slots) take(kind slotKind) (slot, error) {
	s.mu.Lock()
	if ready := s.ready; ready != nil && kind == execSlot {
		s.ready = nil
		s.mu.Unlock()
		return *ready, nil
	}
	id := s.next(kind)
	s.mu.Unlock()
	group, err := s.child(id)
	return slot{id, group}, err
}

// prepare makes one ready where there is none. It is for when nobody waits.
func (s *slots) prepare() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ready != nil {
		return
	}
	id := s.next(execSlot)
	// Where it fails, whoever needs one is told why.
	if group, err := s.child(id); err == nil {
		s.ready = &slot{id, group}
	}
}

// next returns an id. The caller holds mu.
func (s *slots) next(kind slotKind) string {
	if s.made == nil {
		s.made = map[slotKind]int{}
	}
	s.made[kind]++
	return string(kind) + strconv.Itoa(s.made[kind])
}

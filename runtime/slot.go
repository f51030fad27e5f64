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
	// child makes a cgroup of the container's, in which programs see the limit.
	child func(name string, memory int64) (cgroup.Group, error)

	mu sync.Mutex
	// memory is the limit that programs see in their cgroup, in bytes.
	memory int64
	made   map[slotKind]int
	ready  *slot
}

// take returns a slot that nobody else has.
func (s *slots) take(kind slotKind) (slot, error) {
	s.mu.Lock()
	if ready := s.ready; ready != nil && kind == execSlot {
		s.ready = nil
		s.mu.Unlock()
		return *ready, nil
	}
	id, memory := s.next(kind), s.memory
	s.mu.Unlock()
	group, err := s.child(id, memory)
	return slot{id, group}, err
}

// bound changes the memory limit that programs see, also in the slot that is ready.
func (s *slots) bound(memory int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.memory = memory
	if s.ready == nil {
		return nil
	}
	return s.ready.group.ShowMemory(memory)
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
	if group, err := s.child(id, s.memory); err == nil {
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

package shim

import (
	osexec "os/exec"
	"testing"
	"time"

	"github.com/containerd/containerd/api/types/task"
	runc "github.com/containerd/go-runc"
)

// ofProcess returns a container whose pid 1 runs until end is called.
func ofProcess(t *testing.T, id string) (_ *container, end func()) {
	t.Helper()
	child := osexec.CommandContext(t.Context(), "cat")
	stdin, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	p, err := openProcess(child.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.close)
	end = func() {
		t.Helper()
		stdin.Close()
		if err := child.Wait(); err != nil {
			t.Error(err)
		}
	}
	served := make(chan struct{})
	close(served)
	return &container{
		id: id, process: p, bundle: &bundle{dir: t.TempDir()}, events: newEvents(),
		exited: make(chan struct{}), served: served, status: task.Status_RUNNING, execs: map[string]*exec{},
	}, end
}

func newReaping(t *testing.T) (*service, chan<- runc.Exit) {
	t.Helper()
	s := &service{containers: map[string]*container{}, creating: map[*exitWatch]struct{}{}}
	exits := make(chan runc.Exit)
	over := make(chan struct{})
	go func() {
		defer close(over)
		s.reap(t.Context(), exits)
	}()
	t.Cleanup(func() {
		close(exits)
		<-over
	})
	return s, exits
}

// exitOf is the end of a process as the shim learns it.
func exitOf(pid, status int) runc.Exit {
	return runc.Exit{Pid: pid, Status: status, Timestamp: time.Now()}
}

func TestEndOfAnotherProcessWithTheNumberOfPid1IsNotItsEnd(t *testing.T) {
	s, exits := newReaping(t)
	creation := s.beginCreate()
	c, end := ofProcess(t, "c")
	// The number had been another's, whose end was told while this one was made.
	exits <- exitOf(c.process.pid, 1)
	exits <- exitOf(0, 0) // the one before was taken
	if e := s.endCreate(creation, c); e != nil {
		t.Errorf("it has ended with %+v", e)
	}
	exits <- exitOf(c.process.pid, 2)
	exits <- exitOf(0, 0)
	select {
	case <-c.exited:
		t.Fatalf("a container that runs has ended with %d", c.exit.status)
	default:
	}
	end()
	exits <- exitOf(c.process.pid, 3)
	<-c.exited
	if c.exit.status != 3 {
		t.Errorf("it ended with %d", c.exit.status)
	}
	// The number comes round.
	exits <- exitOf(c.process.pid, 4)
	exits <- exitOf(0, 0)
	next, end := ofProcess(t, "next")
	next.process.pid = c.process.pid // as if
	s.endCreate(s.beginCreate(), next)
	end()
	exits <- exitOf(next.process.pid, 5)
	<-next.exited
	if next.exit.status != 5 || c.exit.status != 3 {
		t.Errorf("one ended with %d, and the next of the same number with %d", c.exit.status, next.exit.status)
	}
}

func TestEndOfPid1WhileItsContainerIsMadeIsSeenByThatAlone(t *testing.T) {
	s, exits := newReaping(t)
	first := s.beginCreate()
	c, end := ofProcess(t, "c")
	end()
	exits <- exitOf(c.process.pid, 3)
	exits <- exitOf(0, 0)
	second := s.beginCreate() // before the first is made
	e := s.endCreate(first, c)
	if e == nil || e.Status != 3 {
		t.Fatalf("it has ended with %+v", e)
	}
	if len(second.ends) != 0 {
		t.Errorf("ends of before are kept: %v", second.ends)
	}
	other, end := ofProcess(t, "other")
	end()
	other.process.pid = c.process.pid
	if e := s.endCreate(second, other); e != nil {
		t.Errorf("another has ended with %+v", e)
	}
	if len(s.creating) != 0 {
		t.Errorf("%d ends are kept for nobody", len(s.creating))
	}
	if e := s.endCreate(s.beginCreate(), nil); e != nil || len(s.creating) != 0 {
		t.Errorf("what failed has ended with %+v", e)
	}
}

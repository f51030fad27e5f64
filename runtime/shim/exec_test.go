package shim

import (
	osexec "os/exec"
	"testing"
	"time"

	"codebeaker/runtime/agent/wire"
)

func TestAgentCannotKeepAProgramsEndToItself(t *testing.T) {
	t.Parallel()
	a := newFakeAgent(t)
	e := &exec{container: &container{link: a.link}}
	p := a.start()
	a.say(about(wire.Ready, p.id))
	if _, err := p.next(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := p.tell(wire.Go); err != nil {
		t.Fatal(err)
	}
	a.say(about(wire.Running, p.id))
	over := make(chan struct{})
	close(over) // the kernel says so, the agent does not
	started := time.Now()
	if status := e.told(p, over); status != killedStatus {
		t.Errorf("status %#x", status)
	}
	if d := time.Since(started); d < tellTimeout || d > 3*tellTimeout {
		t.Errorf("it took %s", d)
	}
	<-a.link.ended // and with it the container
}

func TestEndOfAProcessIsSeen(t *testing.T) {
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
	over := make(chan error, 1)
	go func() { over <- p.wait() }()
	stdin.Close()
	if err := <-over; err != nil {
		t.Error(err)
	}
	if err := child.Wait(); err != nil {
		t.Error(err)
	}
	go func() { over <- p.wait() }()
	p.close()
	<-over // closed is over, too
}

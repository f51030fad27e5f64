package shim

import (
	"errors"
	"io"
	osexec "os/exec"
	"strings"
	"testing"
	"time"

	"github.com/containerd/containerd/api/types/task"
	"github.com/containerd/errdefs"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"codebeaker/runtime/agent/wire"
	"codebeaker/runtime/cgroup"
	"codebeaker/runtime/shim/direct"
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
	over := make(chan struct{})
	close(over) // the kernel says so, the agent does not
	started := time.Now()
	if status, _ := e.told(p, over); status != killedStatus {
		t.Errorf("status %#x", status)
	}
	if d := time.Since(started); d < tellTimeout || d > 3*tellTimeout {
		t.Errorf("it took %s", d)
	}
	<-a.link.ended // and with it the container
}

// spinner starts a process that has something to do all the time.
func spinner(t *testing.T) *process {
	t.Helper()
	child := osexec.CommandContext(t.Context(), "sh", "-c", "while :; do :; done")
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = child.Process.Kill()
		_ = child.Wait() // it was killed
	})
	p, err := openProcess(child.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.close)
	return p
}

// An agent that gets no processor is no liar.
func TestStarvedAgentMayTellLate(t *testing.T) {
	t.Parallel()
	a := newFakeAgent(t)
	e := &exec{container: &container{link: a.link, process: spinner(t)}}
	p := a.start()
	a.say(about(wire.Ready, p.id))
	if _, err := p.next(t.Context()); err != nil {
		t.Fatal(err)
	}
	over := make(chan struct{})
	close(over)
	told := make(chan uint32, 1)
	go func() {
		status, _ := e.told(p, over)
		told <- status
	}()
	select {
	case status := <-told:
		t.Errorf("given up with status %#x", status)
	case <-time.After(tellTimeout + 2*tellInterval):
		a.say(wire.Message{Kind: wire.Exited, ID: p.id, Argument: 0x300}.Append(nil))
		if status := <-told; status != 0x300 {
			t.Errorf("status %#x", status)
		}
	}
}

func TestProcessThatIsStoppedIsNotRunnable(t *testing.T) {
	p := spinner(t)
	if !p.runnable() {
		t.Error("a busy process is not runnable")
	}
	if err := p.signal(uint32(unix.SIGSTOP)); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); p.runnable(); {
		if time.Now().After(deadline) {
			t.Fatal("a stopped process is runnable")
		}
	}
	if (*process)(nil).runnable() {
		t.Error("no process is runnable")
	}
}

// A program that its agent does not make can be killed and looked at.
func TestAgentThatDoesNotAnswerHoldsNobody(t *testing.T) {
	t.Parallel()
	host, err := cgroup.Detect()
	if err != nil {
		t.Skip(err)
	}
	a := newFakeAgent(t)
	c := &container{
		link: a.link, bundle: &bundle{spec: specs.Spec{Linux: &specs.Linux{}}}, group: host.Group("/codebeaker-test-without-cgroups"),
		events: newEvents(), execs: map[string]*exec{},
	}
	e, err := c.add(&direct.Request{ID: "e", Program: wire.Program{Args: []string{"x"}}}, paths{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := e.start(t.Context())
		ended <- err
	}()
	m, _, files := a.hear()
	defer reply{files: files}.close() // the gate, too
	begun := time.Now()
	if pid := e.pid(); pid != 0 {
		t.Errorf("it is process %d", pid)
	}
	if err := e.delete(); !errdefs.IsFailedPrecondition(err) {
		t.Errorf("delete: %v", err)
	}
	if _, err := e.start(t.Context()); !errdefs.IsFailedPrecondition(err) {
		t.Errorf("start again: %v", err)
	}
	if err := e.kill(killedStatus); err != nil {
		t.Errorf("kill: %v", err)
	}
	if err := <-ended; !errdefs.IsUnavailable(err) {
		t.Errorf("start: %v", err)
	}
	<-e.exited
	if d := time.Since(begun); d > startTimeout/2 {
		t.Errorf("it took %s", d)
	}
	if err := e.delete(); err != nil {
		t.Errorf("delete what did not start: %v", err)
	}
	// What comes too late is not wanted any more.
	if n, err := files[len(files)-1].Read(make([]byte, 1)); n > 0 || !errors.Is(err, io.EOF) {
		t.Errorf("read %d bytes from the gate, %v", n, err)
	}
	var late [2]int
	if err := unix.Pipe2(late[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(late[1])
	a.say(about(wire.Ready, m.ID), late[0])
	unix.Close(late[0])
	a.say(wire.Message{Kind: wire.Exited, ID: m.ID}.Append(nil))
	poll := []unix.PollFd{{Fd: int32(late[1])}} // tells when none has the other end
	if n, err := unix.Poll(poll, int((10 * time.Second).Milliseconds())); n != 1 {
		t.Errorf("a file that came too late is kept: %d, %v", n, err)
	}
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

// A process that the zygote may have made is not asked for again where nothing shows
// that it is gone.
func TestProgramWithoutCgroupIsNotAskedForTwice(t *testing.T) {
	a, _, path := newCalled(t)
	client := dial(t, path)
	s := called(t)
	failed := make(chan error, 1)
	go func() {
		_, err := client.Start(t.Context(), &direct.Request{Container: "c", ID: "e", Program: wire.Program{Args: []string{"x"}, Fork: true}}, s)
		failed <- err
	}()
	m, _, files := a.hear()
	reply{files: files}.close()
	a.say(wire.Message{Kind: wire.Failed, ID: m.ID, Argument: uint32(wire.StageFork), Detail: uint32(wire.ErrZygoteSilent)}.Append(nil))
	if err := <-failed; !errdefs.IsUnavailable(err) || !strings.Contains(err.Error(), "zygote") {
		t.Errorf("start: %v", err)
	}
}

// A terminal that nobody reads keeps a deletion for a while, and nobody else.
func TestDeletionOfATerminalHoldsNobody(t *testing.T) {
	t.Parallel()
	e := &exec{container: &container{}, status: task.Status_STOPPED}
	e.terminal = &terminal{}
	e.terminal.wg.Add(1) // somebody still copies
	deleted := make(chan error, 1)
	go func() { deleted <- e.delete() }()
	for {
		e.mu.Lock()
		deleting := e.deleting
		e.mu.Unlock()
		if deleting {
			break
		}
	}
	if pid := e.pid(); pid != 0 {
		t.Errorf("it is process %d", pid)
	}
	if err := e.delete(); !errdefs.IsNotFound(err) {
		t.Errorf("a second deletion: %v", err)
	}
	select {
	case err := <-deleted:
		t.Errorf("deleted before its terminal was copied: %v", err)
	default:
	}
	e.terminal.wg.Done()
	if err := <-deleted; err != nil {
		t.Error(err)
	}
}

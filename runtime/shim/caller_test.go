package shim

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	goruntime "runtime"
	"testing"
	"time"

	eventstypes "github.com/containerd/containerd/api/events"
	"github.com/containerd/containerd/api/types"
	ctrevents "github.com/containerd/containerd/v2/core/events"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/containerd/v2/pkg/shim"
	"github.com/containerd/errdefs"
	"github.com/containerd/typeurl/v2"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"codebeaker/runtime/agent/wire"
	"codebeaker/runtime/cgroup"
	"codebeaker/runtime/shim/direct"
)

// newCalled returns the container "c", whose agent is fake, of a service that
// servers can call at path.
func newCalled(t *testing.T) (*fakeAgent, *container, string) {
	t.Helper()
	host, err := cgroup.Detect()
	if err != nil {
		t.Skip(err)
	}
	a := newFakeAgent(t)
	c := &container{
		id: "c", link: a.link, bundle: &bundle{spec: specs.Spec{Linux: &specs.Linux{}}}, group: host.Group("/codebeaker-test-without-cgroups"),
		events: newEvents(), execs: map[string]*exec{},
	}
	s := &service{events: c.events, containers: map[string]*container{"c": c}}
	path := filepath.Join(t.TempDir(), "call")
	l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: path, Net: "unixpacket"})
	if err != nil {
		t.Fatal(err)
	}
	go s.answerCalls(t.Context(), l)
	return a, c, path
}

func dial(t *testing.T, path string) *direct.Client {
	t.Helper()
	client, err := direct.Dial(path, func(*types.Envelope) {})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

func called(t *testing.T) *direct.Streams {
	t.Helper()
	s, err := direct.NewStreams(false, true)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func (c *container) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.execs)
}

// eventually fails where a condition does not come true.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	late := time.After(5 * time.Second)
	for tick := time.NewTicker(time.Millisecond); !f(); {
		select {
		case <-tick.C:
		case <-late:
			t.Fatal("never " + what)
		}
	}
}

func TestWhatCannotStartIsSaidAndForgotten(t *testing.T) {
	a, c, path := newCalled(t)
	client := dial(t, path)
	program := wire.Program{Args: []string{"x"}}
	s := called(t)
	if _, err := client.Start(t.Context(), &direct.Request{Container: "none", ID: "e", Program: program}, s); !errdefs.IsNotFound(err) {
		t.Errorf("in no container: %v", err)
	}
	if n, err := s.Stdout.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("its output is held open: %d, %v", n, err)
	}
	failed := make(chan error, 1)
	s = called(t)
	go func() {
		_, err := client.Start(t.Context(), &direct.Request{Container: "c", ID: "e", Program: program}, s)
		failed <- err
	}()
	m, _, files := a.hear()
	reply{files: files}.close()
	if _, err := client.Start(t.Context(), &direct.Request{Container: "c", ID: "e", Program: program}, called(t)); !errdefs.IsAlreadyExists(err) {
		t.Errorf("a second one of the id: %v", err)
	}
	a.say(wire.Message{Kind: wire.Failed, ID: m.ID, Argument: uint32(wire.StageExec), Detail: 2}.Append(nil))
	if err := <-failed; !errdefs.IsNotFound(err) {
		t.Errorf("a program that is not there: %v", err)
	}
	if n, err := s.Stdout.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("its output is held open: %d, %v", n, err)
	}
	if n := c.count(); n != 0 {
		t.Errorf("%d execs are left", n)
	}
}

// openFiles counts the descriptors of this process.
func openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// Nothing of a program, or of a server, is left when it is over.
func TestProgramsAndServersLeaveNothingInTheShim(t *testing.T) {
	a, c, path := newCalled(t)
	client := dial(t, path)
	request := &direct.Request{Container: "c", ID: "e", Program: wire.Program{Args: []string{"x"}}}
	fail := func() {
		t.Helper()
		s, err := direct.NewStreams(false, true)
		if err != nil {
			t.Fatal(err)
		}
		failed := make(chan error, 1)
		go func() {
			_, err := client.Start(t.Context(), request, s)
			failed <- err
		}()
		m, _, files := a.hear()
		reply{files: files}.close()
		a.say(wire.Message{Kind: wire.Failed, ID: m.ID, Argument: uint32(wire.StageExec), Detail: 2}.Append(nil))
		if err := <-failed; !errdefs.IsNotFound(err) {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	serve := func() {
		t.Helper()
		other, err := direct.Dial(path, func(*types.Envelope) {})
		if err != nil {
			t.Fatal(err)
		}
		other.Close()
	}
	fail()
	files, goroutines := openFiles(t), goruntime.NumGoroutine()
	for range 50 {
		fail()
		serve()
	}
	eventually(t, "as few as before", func() bool {
		c.link.mu.Lock()
		defer c.link.mu.Unlock()
		return c.count() == 0 && c.drains.count() == 0 && len(c.link.programs) == 0 &&
			openFiles(t) <= files && goruntime.NumGoroutine() <= goroutines
	})
}

func TestForgetEndsWhatIsStillToStart(t *testing.T) {
	a, c, path := newCalled(t)
	client := dial(t, path)
	s := called(t)
	ctx, cancel := context.WithCancel(t.Context())
	started := make(chan error, 1)
	go func() {
		_, err := client.Start(ctx, &direct.Request{Container: "c", ID: "e", Program: wire.Program{Args: []string{"x"}}}, s)
		started <- err
	}()
	_, _, files := a.hear()
	defer reply{files: files}.close() // the gate, too
	cancel()                          // which has the server forget it
	if err := <-started; !errors.Is(err, context.Canceled) {
		t.Errorf("start: %v", err)
	}
	eventually(t, "forgotten", func() bool { return c.count() == 0 })
	if n, err := files[len(files)-1].Read(make([]byte, 1)); n > 0 || !errors.Is(err, io.EOF) {
		t.Errorf("read %d bytes from the gate, %v", n, err)
	}
}

func TestServersEndChangesNothing(t *testing.T) {
	a, c, path := newCalled(t)
	client := dial(t, path)
	r := &direct.Request{Container: "c", ID: "e", Program: wire.Program{Args: []string{"x"}}}
	s := called(t)
	started := make(chan error, 1)
	go func() {
		_, err := client.Start(t.Context(), r, s)
		started <- err
	}()
	m, _, files := a.hear()
	reply{files: files}.close()
	client.Close()
	if err := <-started; !errdefs.IsUnavailable(err) {
		t.Errorf("start: %v", err)
	}
	if _, err := dial(t, path).Start(t.Context(), r, called(t)); !errdefs.IsAlreadyExists(err) {
		t.Errorf("another server's of the id: %v", err)
	}
	a.say(wire.Message{Kind: wire.Failed, ID: m.ID, Argument: uint32(wire.StageFork), Detail: 11}.Append(nil))
	eventually(t, "seen to fail", func() bool { return c.count() == 0 })
}

// published is a publisher that keeps what it is to publish.
type published struct {
	shim.Publisher
	topics chan string
}

func (p *published) Publish(_ context.Context, topic string, _ ctrevents.Event) error {
	p.topics <- topic
	return nil
}

func (p *published) Close() error { return nil }

func TestServerGetsTheEventsWhileItLives(t *testing.T) {
	_, c, path := newCalled(t)
	p := &published{topics: make(chan string, 8)}
	ctx := namespaces.WithNamespace(t.Context(), "n")
	go c.events.run(ctx, p)
	defer func() {
		if err := c.events.close(context.WithoutCancel(ctx)); err != nil {
			t.Error(err)
		}
	}()
	got := make(chan *types.Envelope, 8)
	client, err := direct.Dial(path, func(e *types.Envelope) { got <- e })
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "connected", func() bool { return c.events.server.Load() != nil })
	c.events.send(&eventstypes.TaskOOM{ContainerID: "c"})
	e := <-got
	if v, err := typeurl.UnmarshalAny(e.GetEvent()); err != nil || v.(*eventstypes.TaskOOM).ContainerID != "c" || e.GetNamespace() != "n" || e.GetTopic() != "/tasks/oom" {
		t.Errorf("got %v, %v", e, err)
	}
	client.Close()
	eventually(t, "disconnected", func() bool { return c.events.server.Load() == nil })
	c.events.send(&eventstypes.TaskPaused{ContainerID: "c"})
	if topic := <-p.topics; topic != "/tasks/paused" {
		t.Errorf("published %s", topic)
	}
	if len(p.topics) != 0 || len(got) != 0 {
		t.Error("an event was published twice")
	}
}

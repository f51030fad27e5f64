package shim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"sync"
	"time"

	eventstypes "github.com/containerd/containerd/api/events"
	"github.com/containerd/containerd/api/types/task"
	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"codebeaker/runtime/agent/wire"
	"codebeaker/runtime/cgroup"
	"codebeaker/runtime/frame"
	"codebeaker/runtime/shim/direct"
)

// startTimeout bounds how long an agent may take to make a process. It has no
// more of the processors than its container, whose programs may use them up.
const startTimeout = 10 * time.Second

const (
	// tellTimeout bounds how long an agent that has nothing to do may keep a
	// program's end to itself.
	tellTimeout = 5 * time.Second
	// tellInterval is how often it is looked at meanwhile.
	tellInterval = time.Second
	// starvedTimeout bounds it for one that waits for a processor all the time: it
	// has no more of them than its container, whose programs may use them up.
	starvedTimeout = 2 * time.Minute
)

// killedStatus is the status of who ends with its container.
const killedStatus = uint32(unix.SIGKILL)

// exec is a process beside pid 1, from the request for it to its deletion.
type exec struct {
	id        string
	container *container
	request   *direct.Request
	paths     paths

	// exited is closed when the process has ended and its end was published.
	exited chan struct{}

	mu     sync.Mutex // never held while the agent is waited for
	status task.Status
	launched
	exit exit
	// deleting says that delete has the streams and the terminal.
	deleting bool
	// cancel ends the wait for the agent; nil where there is none. killed says
	// that it was.
	cancel context.CancelFunc
	killed bool
}

// launched is what there is of a process from its start.
type launched struct {
	program  *program
	process  *process
	streams  *streams
	terminal *terminal // nil for none
	forked   bool      // from the zygote
}

// exit is how a process ended.
type exit struct {
	status uint32
	at     time.Time
	maxRSS uint32 // in KiB; 0 where that is not known
}

// start starts the process and publishes that.
func (e *exec) start(ctx context.Context) (pid int, retErr error) {
	defer func() {
		if retErr != nil {
			retErr = fmt.Errorf("start process %s: %w", e.id, retErr)
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := e.begin(cancel); err != nil {
		return 0, err
	}
	l, err := e.launch(ctx)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.cancel = nil
	if err != nil && e.killed {
		err = fmt.Errorf("killed before it ran: %w", errdefs.ErrUnavailable)
	}
	if err != nil {
		e.container.leave()
		e.status = task.Status_STOPPED
		e.exit = exit{status: 255, at: time.Now()}
		close(e.exited)
		return 0, err
	}
	e.status, e.launched = task.Status_RUNNING, *l
	if e.killed { // after the agent's last word
		err = e.process.signal(killedStatus)
	}
	e.container.events.send(&eventstypes.TaskExecStarted{ContainerID: e.container.id, ExecID: e.id, Pid: uint32(e.process.pid)})
	go e.await(e.program)
	if err != nil && !errors.Is(err, errFinished) {
		return 0, err
	}
	return e.process.pid, nil
}

// begin says that the process is about to be started, once.
func (e *exec) begin(cancel context.CancelFunc) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.status != task.Status_CREATED || e.cancel != nil {
		return fmt.Errorf("it was started before: %w", errdefs.ErrFailedPrecondition)
	}
	if err := e.container.enter(); err != nil {
		return err
	}
	e.cancel = cancel
	return nil
}

// launch has the agent start the program, and looks where it is before it runs. Of
// one that the zygote failed to make nothing is left before the agent is asked for
// another.
func (e *exec) launch(ctx context.Context) (_ *launched, retErr error) {
	streams, err := e.open()
	if err != nil {
		return nil, err
	}
	defer func() {
		if retErr != nil {
			streams.close()
		}
	}()
	group, entry, err := e.cgroup()
	if err != nil {
		return nil, err
	}
	defer func() { retErr = errors.Join(retErr, entry.Close()) }()
	spec := e.request.Program
	var files []*os.File
	if !spec.Terminal {
		files = append(files, streams.program...)
		defer streams.given()
	}
	if entry.Dir != nil {
		spec.Cgroup = true
		files = append(files, entry.Dir)
	}
	spec.Tasks = uint8(len(entry.Tasks))
	files = append(files, entry.Tasks...)
	l, err := e.spawn(ctx, &spec, files, streams, group)
	if spec.Fork && errors.Is(err, wire.ErrZygoteSilent) && group.Path() != e.container.group.Path() {
		// The zygote is gone, and what it may have made ends with its gate. It is not
		// killed through its cgroup: on Linux 6.18 all that is cloned into a
		// cgroup which was killed once is killed, too.
		if err := group.AwaitEmpty(ctx); err != nil {
			return nil, fmt.Errorf("start what the zygote did not: %w", err)
		}
		spec.Fork = false
		l, err = e.spawn(ctx, &spec, files, streams, group)
	}
	return l, err
}

// spawn asks the agent for the program's process and lets it go where it is what it
// should be.
func (e *exec) spawn(ctx context.Context, spec *wire.Program, files []*os.File, streams *streams, group cgroup.Group) (_ *launched, retErr error) {
	gate, waits, err := newGate()
	if err != nil {
		return nil, err
	}
	defer gate.close()
	p, err := e.container.link.start(spec, append(slices.Clip(files), waits))
	waits.Close()
	if err != nil {
		return nil, err
	}
	l := &launched{program: p, streams: streams}
	if err := e.admit(ctx, l, gate, group); err != nil {
		if errors.Is(err, frame.ErrProtocol) {
			err = errors.Join(err, e.container.distrust())
		}
		return nil, err
	}
	defer func() {
		if retErr != nil {
			_ = l.process.signal(killedStatus) // where it was told to go
			l.process.close()
			if l.terminal != nil {
				l.terminal.close()
			}
		}
	}()
	if err := gate.open(); err != nil {
		return nil, err
	}
	if spec.Soft {
		return l, nil // what goes wrong from here on is the program's end
	}
	failed, err := gate.hear(ctx)
	if errors.Is(err, io.EOF) {
		return l, nil // it has become the program
	}
	if err != nil {
		return nil, err
	}
	return nil, explain(failed, spec)
}

// admit waits until the process waits, and takes it, once the kernel says that it
// is what it should be.
func (e *exec) admit(ctx context.Context, l *launched, gate *gate, group cgroup.Group) error {
	report, err := gate.hear(ctx) // by then, the agent has spoken
	if errors.Is(err, io.EOF) {
		// It was killed, or never made: the agent says the latter.
		report, err = wire.Report{Stage: wire.StageFork, Errno: unix.ESRCH}, nil
	}
	var ready reply
	if err == nil {
		ready, err = l.program.next(ctx)
	}
	if err != nil {
		go l.program.abandon()
		return err
	}
	if ready.message.Kind == wire.Failed {
		report = wire.Report{Stage: wire.Stage(ready.message.Argument), Errno: unix.Errno(ready.message.Detail)}
	}
	if report != (wire.Report{}) {
		ready.close()
		return explain(report, &e.request.Program)
	}
	l.forked = ready.message.Detail == wire.Forked
	l.process, l.terminal, err = e.adopt(ready, group, l.streams)
	return err
}

// open returns the process's streams, which are its user's.
func (e *exec) open() (*streams, error) {
	uid, gid := e.container.bundle.hostID(e.request.Program.UID), e.container.bundle.hostGID(e.request.Program.GID)
	if e.streams != nil {
		return e.streams, e.streams.chown(uid, gid)
	}
	return openStreams(e.paths, uid, gid)
}

// cgroup returns the process's cgroup and the way into it: the one below the
// container's that has the exec's name, where the client made it, and else pid
// 1's.
func (e *exec) cgroup() (cgroup.Group, *cgroup.Entry, error) {
	group := e.container.group.Sub(e.id)
	entry, err := group.Enter(e.container.bundle.hostID(0))
	if errors.Is(err, fs.ErrNotExist) {
		return e.container.group, &cgroup.Entry{}, nil
	}
	return group, entry, err
}

// adopt takes what came with Ready, once the kernel says that it is what it
// should be.
func (e *exec) adopt(ready reply, group cgroup.Group, streams *streams) (*process, *terminal, error) {
	want := 1
	if e.paths.terminal {
		want = 2
	}
	if len(ready.files) != want {
		ready.close()
		return nil, nil, fmt.Errorf("%d files from the agent: %w", len(ready.files), frame.ErrProtocol)
	}
	p, err := processOf(ready.files[0])
	if err == nil {
		err = p.admit(func(proc string) error {
			in, err := group.Encloses(proc)
			if err != nil {
				return err
			}
			if !in {
				return fmt.Errorf("process %d is not in cgroup %s: %w", p.pid, group.Path(), frame.ErrProtocol)
			}
			return setOOMScore(proc, int(e.request.OOMScore))
		})
	}
	var t *terminal
	if err == nil && e.paths.terminal {
		t, err = newTerminal(ready.files[1], streams.program[0], streams.program[1])
	}
	if err != nil {
		ready.close()
		return nil, nil, err
	}
	return p, t, nil
}

// await waits for the process's end and publishes it.
func (e *exec) await(p *program) {
	defer e.container.leave()
	over := make(chan struct{})
	go func() {
		defer close(over)
		_ = e.process.wait() // closed is over, too
	}()
	status, maxRSS := e.told(p, over)
	<-over
	code := status
	if !e.request.Raw {
		code = exitCode(unix.WaitStatus(status))
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.status, e.exit = task.Status_STOPPED, exit{status: code, at: time.Now(), maxRSS: maxRSS}
	e.container.events.send(exitEvent(e.container.id, e.id, e.process.pid, e.exit))
	close(e.exited)
}

// told returns the status that the agent tells and the most memory that the process
// had, in KiB. An agent that does not tell, of a process
// that is over, ends with its container.
func (e *exec) told(p *program, over <-chan struct{}) (status, maxRSS uint32) {
	status = killedStatus
	var look <-chan time.Time
	var idle, waited time.Duration
	for {
		select {
		case r, ok := <-p.replies:
			if !ok {
				return status, maxRSS
			}
			maxRSS = r.message.Detail
			status = r.message.Argument // nothing but Exited follows Ready
		case <-over:
			ticker := time.NewTicker(tellInterval)
			defer ticker.Stop()
			over, look = nil, ticker.C
		case <-look:
			waited += tellInterval
			if idle += tellInterval; e.container.process.runnable() {
				idle = 0
			}
			if idle >= tellTimeout || waited >= starvedTimeout {
				_ = e.container.distrust() // closed is as good
				look = nil
			}
		}
	}
}

// exitCode is a status as shells give it.
func exitCode(status unix.WaitStatus) uint32 {
	if status.Signaled() {
		return 128 + uint32(status.Signal())
	}
	return uint32(status.ExitStatus())
}

// kill sends a signal to the process alone. One that the agent still has to make
// can only be killed.
func (e *exec) kill(sig uint32) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.status == task.Status_STOPPED:
		return errFinished
	case e.cancel != nil && sig == killedStatus:
		e.killed = true
		e.cancel()
		return nil
	case e.process == nil:
		return fmt.Errorf("process %s was not started: %w", e.id, errdefs.ErrFailedPrecondition)
	}
	return e.process.signal(sig)
}

func (e *exec) resize(columns, rows uint32) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.status == task.Status_STOPPED {
		return errFinished
	}
	if e.terminal == nil {
		return nil
	}
	return e.terminal.resize(columns, rows)
}

func (e *exec) closeStdin() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.streams != nil && !e.deleting {
		e.streams.endInput()
	}
}

// delete forgets a process that has ended or never began. What it left behind
// may go on to write.
func (e *exec) delete() error {
	e.mu.Lock()
	if e.status == task.Status_RUNNING || e.cancel != nil {
		e.mu.Unlock()
		return fmt.Errorf("delete process %s: it runs: %w", e.id, errdefs.ErrFailedPrecondition)
	}
	if e.deleting {
		e.mu.Unlock()
		return fmt.Errorf("delete process %s: it is being deleted: %w", e.id, errdefs.ErrNotFound)
	}
	e.deleting = true
	left := e.launched
	e.mu.Unlock() // others may look at the process while a terminal takes its time
	if left.terminal != nil {
		left.terminal.finish()
	}
	switch {
	case left.streams == nil:
	case left.process == nil:
		left.streams.close()
	default:
		left.streams.endInput()
		e.container.drains.add(left.streams)
	}
	if left.terminal != nil {
		left.terminal.wg.Wait()
	}
	left.process.close()
	return nil
}

// pid is 0 before the start.
func (e *exec) pid() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.process == nil {
		return 0
	}
	return e.process.pid
}

// abandon takes what comes about a program that nobody waits for any more.
func (p *program) abandon() {
	for r := range p.replies {
		r.close()
	}
}

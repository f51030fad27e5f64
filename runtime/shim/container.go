package shim

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/containerd/cgroups/v3"
	eventstypes "github.com/containerd/containerd/api/events"
	"github.com/containerd/containerd/api/types/task"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/errdefs"
	runc "github.com/containerd/go-runc"
	"github.com/containerd/log"

	"codebeaker/runtime/cgroup"
	"codebeaker/runtime/shim/direct"
)

// container is one whose pid 1 is an agent.
type container struct {
	id     string
	bundle *bundle
	runc   *runc.Runc
	group  cgroup.Group
	events *events
	paths  paths
	watch  stopwatch // of its making

	process *process // pid 1
	link    *link
	streams *streams
	// exited is closed when pid 1 has ended and its end was published, which is
	// after that of all others.
	exited chan struct{}

	// served is closed when nothing comes from the agent any more.
	served chan struct{}

	drains drains // of what execs left behind

	mu     sync.Mutex // that of an exec comes before it
	status task.Status
	exit   exit
	execs  map[string]*exec
	// running counts the execs whose end will be published; ended says that
	// there will be no more.
	running sync.WaitGroup
	ended   bool
}

// enter counts an exec that is about to start, while the container runs.
func (c *container) enter() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.ended:
		return fmt.Errorf("container %s has ended: %w", c.id, errdefs.ErrFailedPrecondition)
	case c.status == task.Status_PAUSED:
		return fmt.Errorf("container %s is paused: %w", c.id, errdefs.ErrFailedPrecondition)
	}
	c.running.Add(1)
	return nil
}

func (c *container) leave() { c.running.Done() }

// serve takes what the agent says until it ends. An agent that breaks the
// protocol ends with its container.
func (c *container) serve(ctx context.Context) {
	defer close(c.served)
	if err := c.link.serve(); err != nil {
		log.G(ctx).WithError(err).WithField("container", c.id).Error("the agent is not what it was")
	}
	// The agent ends with its socket; this is for one that does not.
	if err := c.process.signal(killedStatus); err != nil && !errors.Is(err, errFinished) && !errors.Is(err, os.ErrClosed) {
		log.G(ctx).WithError(err).WithField("container", c.id).Error("kill a container without agent")
	}
}

// distrust ends a container whose agent lied.
func (c *container) distrust() error { return c.link.conn.Close() }

// takeEnd says whether the end of a process with this number is that of pid 1, and
// says so once. The number alone does not tell: it may have been that of another
// process before pid 1 had it, or be that of another since.
func (c *container) takeEnd(pid int) bool {
	if c.process.pid != pid || !c.process.over() {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	first := !c.ended
	c.ended = true
	return first
}

// end publishes pid 1's end, when all others' were. It is for whom takeEnd said that
// it ended.
func (c *container) end(ctx context.Context, status int, at time.Time) {
	<-c.served // nobody has the other end of the socket any more
	c.running.Wait()
	c.mu.Lock()
	c.status, c.exit = task.Status_STOPPED, exit{status: uint32(status), at: at}
	c.mu.Unlock()
	if err := c.record(); err != nil {
		log.G(ctx).WithError(err).WithField("container", c.id).Error("record the end of a container")
	}
	c.events.send(exitEvent(c.id, c.id, c.process.pid, c.exit))
	close(c.exited)
}

// find returns an exec.
func (c *container) find(id string) (*exec, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.execs[id]
	if e == nil {
		return nil, fmt.Errorf("process %s: %w", id, errdefs.ErrNotFound)
	}
	return e, nil
}

// all returns all execs.
func (c *container) all() []*exec {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Collect(maps.Values(c.execs))
}

// add adds an exec that is to be started, with its streams where it is not by
// their paths that it has them. They are its own from now on.
func (c *container) add(r *direct.Request, p paths, given *streams) (*exec, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return nil, fmt.Errorf("container %s has ended: %w", c.id, errdefs.ErrFailedPrecondition)
	}
	if c.execs[r.ID] != nil {
		return nil, fmt.Errorf("process %s: %w", r.ID, errdefs.ErrAlreadyExists)
	}
	e := &exec{
		id: r.ID, container: c, request: r, paths: p, launched: launched{streams: given}, exited: make(chan struct{}), status: task.Status_CREATED,
	}
	c.execs[e.id] = e
	c.events.send(&eventstypes.TaskExecAdded{ContainerID: c.id, ExecID: e.id})
	return e, nil
}

// remove forgets an exec that has ended or never began.
func (c *container) remove(e *exec) error {
	if err := e.delete(); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.execs, e.id)
	return nil
}

// start says that the container is in use. Its pid 1 runs since it was made,
// and does nothing until it is asked to.
func (c *container) start() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.status != task.Status_CREATED {
		return fmt.Errorf("start container %s: it was started before: %w", c.id, errdefs.ErrFailedPrecondition)
	}
	c.status = task.Status_RUNNING
	c.events.send(&eventstypes.TaskStart{ContainerID: c.id, Pid: uint32(c.process.pid)})
	return nil
}

// signal sends a signal to pid 1, or to everything in the container.
func (c *container) signal(sig uint32, all bool) error {
	select {
	case <-c.exited:
		return errFinished
	default:
	}
	if !all || sig == killedStatus {
		return c.process.signal(sig) // the end of pid 1 is that of all
	}
	pids, err := c.group.Pids()
	if err != nil {
		return err
	}
	var errs []error
	for _, pid := range pids {
		p, err := openProcess(pid)
		if err != nil {
			continue // it has ended
		}
		err = p.admit(func(proc string) error {
			if in, err := c.group.Encloses(proc); err != nil || !in {
				return err
			}
			return p.signal(sig)
		})
		if !errors.Is(err, errFinished) {
			errs = append(errs, err)
		}
		p.close()
	}
	return errors.Join(errs...)
}

// pause stops every process of the container where it is, or lets them go on.
func (c *container) pause(ctx context.Context, paused bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	from, to, do := task.Status_RUNNING, task.Status_PAUSED, c.runc.Pause
	if !paused {
		from, to, do = to, from, c.runc.Resume
	}
	if c.status != from {
		return fmt.Errorf("container %s is %v: %w", c.id, c.status, errdefs.ErrFailedPrecondition)
	}
	if err := do(ctx, c.id); err != nil {
		return c.runcError(err)
	}
	c.status = to
	return nil
}

// delete removes what is left of a container that has ended: runc's record, its
// cgroups and its root filesystem.
func (c *container) delete(ctx context.Context) error {
	select {
	case <-c.exited:
	default:
		return fmt.Errorf("delete container %s: it runs: %w", c.id, errdefs.ErrFailedPrecondition)
	}
	for _, e := range c.all() {
		if err := e.delete(); err != nil {
			return err
		}
	}
	c.mu.Lock()
	c.execs = map[string]*exec{}
	c.mu.Unlock()
	c.drains.stop()
	if c.streams != nil {
		c.streams.close()
	}
	c.process.close()
	return errors.Join(c.group.Remove(ctx), c.forgetRunc(ctx), c.unmount())
}

// forgetRunc removes runc's record of a container that has ended. It is what
// runc's own delete does beside calling hooks and removing the cgroups, without
// the 20 ms that it takes to start it.
func (c *container) forgetRunc(ctx context.Context) error {
	if h := c.bundle.spec.Hooks; h != nil && len(h.Poststop) > 0 {
		if err := c.runc.Delete(ctx, c.id, nil); err != nil {
			return c.runcError(err)
		}
		return nil
	}
	return c.removeRecord()
}

func (c *container) removeRecord() error {
	if err := os.RemoveAll(filepath.Join(c.runc.Root, c.id)); err != nil {
		return fmt.Errorf("remove runc's record of container %s: %w", c.id, err)
	}
	return nil
}

func (c *container) unmount() error {
	if err := mount.UnmountRecursive(filepath.Join(c.bundle.dir, "rootfs"), 0); err != nil {
		return fmt.Errorf("unmount the root of container %s: %w", c.id, err)
	}
	return nil
}

// unified says whether cgroup v2 does everything on this host.
func unified() bool { return cgroups.Mode() == cgroups.Unified }

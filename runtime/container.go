package runtime

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/errdefs"
	"github.com/containerd/typeurl/v2"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"codebeaker/runtime/agent/wire"
	"codebeaker/runtime/cgroup"
	"codebeaker/runtime/shim"
	"codebeaker/runtime/shim/direct"
)

// ContainerOptions say what container to make.
type ContainerOptions struct {
	ID string
	// Labels are recorded with the container.
	Labels map[string]string
	// Image is recorded with the container, for people.
	Image string
	// Snapshot is the key of the rootfs, prepared for IDs.
	Snapshot string
	IDs      IDRange
	Limits   Limits
	// Env is the environment of pid 1, as KEY=value.
	Env []string
	// Laps is told how long each step took, by its name; nil for nobody.
	Laps func(step string, took time.Duration)
}

// laps times steps that follow one another.
type laps struct {
	since time.Time
	told  func(step string, took time.Duration)
}

func newLaps(told func(string, time.Duration)) *laps { return &laps{time.Now(), told} }

// part says that a step took so much that was a part of the one under way, of
// which it is none any more.
func (l *laps) part(step string, took time.Duration) {
	if l.told != nil {
		l.told(step, took)
	}
	l.since = l.since.Add(took)
}

// done says that a step has ended.
func (l *laps) done(step string) {
	now := time.Now()
	if l.told != nil {
		l.told(step, now.Sub(l.since))
	}
	l.since = now
}

// Container is a sandbox that was started.
type Container struct {
	runtime *Runtime
	id      string
	task    containerd.Task
	pid1    *specs.Process
	rlimits []wire.Rlimit // of all its processes
	group   cgroup.Group
	exit    <-chan containerd.ExitStatus
	slots   slots
	// direct is the connection to its shim; nil where there is none.
	direct *direct.Client

	mu     sync.Mutex
	limits Limits
	// busy are the cgroups of executions that left processes behind.
	busy []cgroup.Group
}

// Create makes a container and starts its pid 1. What a failed Create made is
// removed before it returns.
func (r *Runtime) Create(ctx context.Context, opts ContainerOptions) (_ *Container, retErr error) {
	ctx = r.in(ctx)
	defer func() {
		if retErr != nil {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
			defer cancel()
			if err := r.Delete(ctx, opts.ID); err != nil {
				r.opts.Log.ErrorContext(ctx, "clean up after a container that could not be created", "container", opts.ID, "error", err)
			}
			retErr = fmt.Errorf("create container %s: %w", opts.ID, retErr)
		}
	}()
	// What the shim has the kernel do too takes a while at first, which begins here.
	var ready sync.WaitGroup
	ready.Go(func() { _ = r.host.ReadyMoves() }) // an error costs time alone
	defer ready.Wait()
	group := r.group(opts.ID)
	spec := newSpec(specOptions{
		cgroup: group.Path(), ids: opts.IDs, limits: opts.Limits, env: opts.Env,
		agent: r.opts.AgentPath, swapLimit: r.host.SwapLimit(), maxFiles: r.maxFiles, starts: r.opts.Shim.Agent, filter: r.filter,
		stages: r.stagesFile(opts.ID),
	})
	if err := os.Mkdir(r.fifoDir(opts.ID), 0o700); err != nil {
		return nil, err
	}
	step := newLaps(opts.Laps)
	record, err := r.record(ctx, opts, spec)
	if err != nil {
		return nil, err
	}
	step.done("record")
	var where []containerd.NewTaskOpts
	var calls *direct.Client
	if r.shims != nil {
		s, err := r.shims.give(opts.ID)
		if err != nil {
			return nil, err
		}
		address, version := s.Address()
		where, calls = append(where, containerd.WithTaskAPIEndpoint(address, version)), s.Client()
	}
	task, err := record.NewTask(ctx, cio.NullIO, where...)
	if err != nil {
		return nil, fmt.Errorf("create task: %w", err)
	}
	r.tellTask(ctx, opts.ID, step)
	// Before Start, so that no end is missed.
	exit, err := awaitExit(context.WithoutCancel(ctx), task, r.closed)
	if err != nil {
		return nil, fmt.Errorf("wait for task: %w", err)
	}
	limits, err := verifyLimits(group, opts.Limits, r.host.SwapLimit())
	if err != nil {
		return nil, err
	}
	step.done("verify")
	if err := group.Divide(int(task.Pid())); err != nil {
		return nil, err
	}
	step.done("divide")
	if err := task.Start(ctx); err != nil {
		return nil, fmt.Errorf("start task: %w", err)
	}
	step.done("start")
	rlimits, err := shim.Rlimits(spec.Process.Rlimits)
	if err != nil {
		return nil, err
	}
	child := func(name string, memory int64) (cgroup.Group, error) {
		made, err := group.Child(name)
		if err != nil {
			return made, err
		}
		return made, made.ShowMemory(memory)
	}
	return &Container{runtime: r, id: opts.ID, task: task, pid1: spec.Process, rlimits: rlimits, group: group, limits: limits, exit: exit, slots: slots{child: child, memory: limits.MemoryBytes}, direct: calls}, nil
}

// stagesFile is where a shim of our own says what making a container took.
func (r *Runtime) stagesFile(id string) string { return filepath.Join(r.fifoDir(id), "stages") }

// tellTask tells what making the task took: what the shim did by its own account,
// and for the rest "task".
func (r *Runtime) tellTask(ctx context.Context, id string, step *laps) {
	if r.opts.Shim.Agent {
		stages, err := shim.ReadStages(r.stagesFile(id))
		if err != nil {
			r.opts.Log.WarnContext(ctx, "learn what the shim took", "container", id, "error", err)
		}
		for _, s := range stages {
			step.part(s.Name, s.Took)
		}
	}
	step.done("task")
}

// record writes a container's record. The client's own NewContainer makes a
// lease around that and deletes it, two transactions with a sync of the disk
// each; there is nothing to hold, as the snapshot is a root of its own.
func (r *Runtime) record(ctx context.Context, opts ContainerOptions, spec *specs.Spec) (containerd.Container, error) {
	container := containers.Container{
		ID: opts.ID, Labels: opts.Labels, Image: opts.Image,
		Runtime:     containers.RuntimeInfo{Name: r.opts.Shim.Name},
		Snapshotter: r.opts.Snapshotter, SnapshotKey: opts.Snapshot,
	}
	if r.shims != nil {
		container.SandboxID = sharedSandbox
	}
	var err error
	if r.opts.Shim.Options != nil {
		if container.Runtime.Options, err = typeurl.MarshalAny(r.opts.Shim.Options); err != nil {
			return nil, fmt.Errorf("encode the options of runtime %s: %w", r.opts.Shim.Name, err)
		}
	}
	if container.Spec, err = typeurl.MarshalAny(spec); err != nil {
		return nil, fmt.Errorf("encode the specification: %w", err)
	}
	if _, err := r.opts.Client.ContainerService().Create(ctx, container); err != nil {
		return nil, err
	}
	return r.opts.Client.LoadContainer(ctx, opts.ID)
}

// verifyLimits reads the limits back from the kernel and returns them, or an
// error where they are not those that were asked for.
func verifyLimits(group cgroup.Group, want Limits, swap bool) (Limits, error) {
	got, err := group.Limits()
	if err != nil {
		return Limits{}, err
	}
	switch {
	case got.MemoryBytes != want.MemoryBytes:
		return Limits{}, fmt.Errorf("verify limits: memory limit in force is %d bytes, asked for %d: %w", got.MemoryBytes, want.MemoryBytes, errdefs.ErrInternal)
	case swap && got.SwapBytes != 0:
		return Limits{}, fmt.Errorf("verify limits: swap limit in force is %d bytes, asked for 0: %w", got.SwapBytes, errdefs.ErrInternal)
	case got.Pids != want.Pids:
		return Limits{}, fmt.Errorf("verify limits: pids limit in force is %d, asked for %d: %w", got.Pids, want.Pids, errdefs.ErrInternal)
	case math.Abs(got.CPUs-want.CPUs) > 1.0/cpuPeriod:
		return Limits{}, fmt.Errorf("verify limits: CPU limit in force is %g cores, asked for %g: %w", got.CPUs, want.CPUs, errdefs.ErrInternal)
	}
	return Limits{MemoryBytes: got.MemoryBytes, Pids: got.Pids, CPUs: got.CPUs}, nil
}

// Limits returns the limits in force, as the kernel told them.
func (c *Container) Limits() Limits {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.limits
}

// Wait returns when pid 1 has ended, and with it everything in the container,
// or with the error of ctx.
func (c *Container) Wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-c.exit:
		return nil
	}
}

// Dying says whether pid 1 has ended or is about to, which ends all else in the
// container first: a program that was killed may have been killed by that.
func (c *Container) Dying() bool {
	pid := int(c.task.Pid())
	held, err := c.group.Holds(pid)
	if err != nil || !held {
		return true // it is gone, or the number is another process's
	}
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return true
	}
	// The name, which is in parentheses, may have any bytes.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	const flags, exiting = 6, 0x4 // PF_EXITING of Linux
	if len(fields) <= flags {
		return false
	}
	n, err := strconv.ParseUint(fields[flags], 10, 64)
	return err == nil && n&exiting != 0
}

// Kill ends everything in the container, and does not wait for it.
func (c *Container) Kill() error { return c.group.Kill() }

// Delete ends and removes a container with everything in it: processes, task,
// shim, mounts, FIFOs, cgroups and record, whichever of them there are. It goes
// on past a failure and returns all of them.
func (r *Runtime) Delete(ctx context.Context, id string) error {
	ctx = r.in(ctx)
	var errs []error
	fail := func(doing string, err error) {
		if err != nil && !errdefs.IsNotFound(err) {
			errs = append(errs, fmt.Errorf("delete container %s: %s: %w", id, doing, err))
		}
	}
	group := r.group(id)
	fail("kill", group.Kill())
	record, err := r.opts.Client.LoadContainer(ctx, id)
	fail("load", err)
	if err == nil {
		task, err := record.Task(ctx, nil)
		fail("load task", err)
		if err == nil {
			_, err = task.Delete(ctx, containerd.WithProcessKill)
			fail("delete task", err)
		}
		// Without its snapshot: that is the caller's.
		fail("delete record", record.Delete(ctx))
	}
	fail("remove cgroup", group.Remove(ctx))
	fail("remove FIFOs", os.RemoveAll(r.fifoDir(id)))
	if r.shims != nil && len(errs) == 0 {
		r.shims.take(id)
	}
	return errors.Join(errs...)
}

// forget removes the cgroup of an execution that has ended, or keeps it in
// mind while processes that it left behind are in it.
func (c *Container) forget(group cgroup.Group) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var errs []error
	busy := c.busy[:0]
	for _, g := range append(c.busy, group) {
		gone, err := g.RemoveIfEmpty()
		if err != nil {
			errs = append(errs, err)
		}
		if !gone {
			busy = append(busy, g)
		}
	}
	c.busy = busy
	return errors.Join(errs...)
}

// mkfifos makes the FIFOs of an execution and returns their set, which removes
// them when it is closed. A terminal has none for stderr.
func (c *Container) mkfifos(execID string, terminal bool) (*cio.FIFOSet, error) {
	dir := filepath.Join(c.runtime.fifoDir(c.id), execID)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	config := cio.Config{
		Terminal: terminal, Stdin: filepath.Join(dir, "in"), Stdout: filepath.Join(dir, "out"), Stderr: filepath.Join(dir, "err"),
	}
	paths := []string{config.Stdin, config.Stdout, config.Stderr}
	if terminal {
		config.Stderr, paths = "", paths[:2]
	}
	set := cio.NewFIFOSet(config, func() error { return os.RemoveAll(dir) })
	for _, path := range paths {
		if err := unix.Mkfifo(path, 0o600); err != nil {
			return nil, errors.Join(fmt.Errorf("make FIFO %s: %w", path, err), set.Close())
		}
	}
	return set, nil
}

package runtime

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"codebeaker/runtime/cgroup"
)

// ClaimOptions say what becomes of a container that was started for nobody.
type ClaimOptions struct {
	// Labels are recorded with the container, beside those that it has.
	Labels map[string]string
	// Limits take the place of those in force.
	Limits Limits
	// Laps is told how long each step took, by its name; nil for nobody. Steps
	// that are taken at the same time are told one after another.
	Laps func(step string, took time.Duration)
}

// Claim gives a running container new limits, reads them back, and records
// labels with it, in one transaction that is on the disk when Claim returns. An
// error leaves some of that done: the container is then good for nothing but to
// be deleted. One that has ended is an errdefs.ErrUnavailable.
func (c *Container) Claim(ctx context.Context, opts ClaimOptions) error {
	// The transaction waits for the disk, and the limits need none.
	recorded := make(chan error, 1)
	var took time.Duration
	go func() {
		started := time.Now()
		err := c.label(ctx, opts.Labels)
		took = time.Since(started)
		recorded <- err
	}()
	step := newLaps(opts.Laps)
	err := c.limit(opts.Limits, step)
	err = errors.Join(err, <-recorded)
	if opts.Laps != nil {
		opts.Laps("record", took)
	}
	if err == nil && !c.alive() {
		err = fmt.Errorf("it has ended: %w", errdefs.ErrUnavailable)
	}
	if err != nil {
		return fmt.Errorf("claim container %s: %w", c.id, err)
	}
	return nil
}

// alive asks the kernel whether pid 1 runs. What containerd knows of its end may
// be late.
func (c *Container) alive() bool {
	pid := int(c.task.Pid())
	pidfd := openPidfd(pid)
	if pidfd == nil {
		return false
	}
	defer pidfd.Close()
	// Now that the number can mean no other process.
	if held, err := c.group.Holds(pid); err != nil || !held {
		return false
	}
	n, err := unix.Poll([]unix.PollFd{{Fd: int32(pidfd.Fd()), Events: unix.POLLIN}}, 0)
	return err == nil && n == 0 // it can be read from once the process has ended
}

// label records labels with the container.
func (c *Container) label(ctx context.Context, labels map[string]string) error {
	container := containers.Container{ID: c.id, Labels: labels}
	paths := make([]string, 0, len(labels))
	for name := range labels {
		paths = append(paths, "labels."+name)
	}
	_, err := c.runtime.opts.Client.ContainerService().Update(c.runtime.in(ctx), container, paths...)
	if err != nil {
		return fmt.Errorf("record labels: %w", err)
	}
	return nil
}

// limit puts limits in force and reads them back.
func (c *Container) limit(limits Limits, step *laps) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.group.SetLimits(cgroupLimits(c.limits), cgroupLimits(limits)); err != nil {
		return err
	}
	if limits.MemoryBytes != c.limits.MemoryBytes {
		if err := errors.Join(c.resizeTmpfs(limits.MemoryBytes), c.slots.bound(limits.MemoryBytes)); err != nil {
			return err
		}
	}
	step.done("limits")
	got, err := verifyLimits(c.group, limits, c.runtime.host.SwapLimit())
	if err != nil {
		return err
	}
	step.done("verify")
	c.limits = got
	return nil
}

func cgroupLimits(l Limits) cgroup.Limits {
	return cgroup.Limits{MemoryBytes: l.MemoryBytes, Pids: l.Pids, CPUs: l.CPUs}
}

package runtime

import (
	"context"
)

// road is how one process of a container is started and its end is learned. There
// are three: directRoad asks the container's shim without containerd, agentRoad asks
// a shim of our own through containerd, and foreignRoad does all that itself which
// the shim of another runtime does not do.
type road interface {
	// start returns when the process runs in its cgroup and is the program, or
	// becomes it without anybody's help.
	start(ctx context.Context) (Streams, error)
	// wait returns how the process ended. Any error but ctx's says that nobody knows.
	wait(ctx context.Context) (ExitStatus, error)
	// forget closes the streams and makes the shim forget the process. The shim kills
	// the process unless ended. It may be called if start failed.
	forget(ctx context.Context, ended bool) error
}

// road returns the road for a program that takes a slot.
func (c *Container) road(p *program, s slot) road {
	switch {
	case c.direct != nil:
		return &directRoad{container: c, program: p, id: s.id}
	case c.runtime.opts.Shim.Agent:
		return &agentRoad{taskExec{container: c, program: p, id: s.id, starts: true}}
	default:
		return &foreignRoad{taskExec: taskExec{container: c, program: p, id: s.id}, group: s.group}
	}
}

package runtime

import (
	"context"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"codebeaker/runtime/shim/direct"
)

// starter has one process of a container started by its shim, and told of until
// it is forgotten: through containerd (taskExec), which every shim can do, or
// without it (directExec).
type starter interface {
	// start returns when the process runs, or waits for what its runtime says
	// that it waits for.
	start(ctx context.Context, process *specs.Process) (pid int, _ Streams, _ error)
	// wait returns how a process ended. Another error than ctx's says that nobody
	// knows of its end.
	wait(ctx context.Context) (direct.Exit, error)
	// forget closes the streams and has the shim forget the process, which it ends
	// first where it has not. It is for one that did not start, too.
	forget(ctx context.Context, ended bool) error
}

// startOptions are what is not in the specification of a process.
type startOptions struct {
	id       string // of the slot that it takes
	kind     slotKind
	terminal bool
	// noInput says that the input has ended, where that can be.
	noInput bool
}

// starter returns what has the container's processes started.
func (c *Container) starter(o startOptions) starter {
	if c.direct != nil {
		return &directExec{container: c, opts: o}
	}
	return &taskExec{container: c, opts: o}
}

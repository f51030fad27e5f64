package runtime

import (
	"context"
	"fmt"

	"github.com/containerd/errdefs"
)

// Forks says whether containers can have a zygote.
func (r *Runtime) Forks() bool { return r.opts.Shim.Agent }

// StartZygote starts the container's zygote (package agent): an interpreter,
// which is the one of the image, with these modules loaded. Those that the image
// has not are named on its standard error. Env is what of a program's environment
// decides how an interpreter starts; only programs that have the same are forked.
// It returns before the modules are loaded; until then, and after its end, programs
// are started without it. An errdefs.ErrNotImplemented is a runtime that has none.
func (c *Container) StartZygote(ctx context.Context, interpreter string, modules, env []string) (*Process, error) {
	if !c.runtime.Forks() {
		return nil, fmt.Errorf("start zygote through runtime %s: %w", c.runtime.opts.Shim.Name, errdefs.ErrNotImplemented)
	}
	return c.start(ctx, &program{role: roleZygote, args: append([]string{interpreter}, modules...), env: env})
}

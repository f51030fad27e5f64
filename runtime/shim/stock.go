// Package shim holds the containerd runtimes that the daemon's binary can be.
//
// A shim is the process between containerd and a container: it serves
// containerd's Task service, outlives the daemon and ends with its container.
// containerd starts one by running a binary with arguments of a fixed form, of
// which the first is a flag with a single dash; that is how a process finds
// that it is to be a shim (IsInvocation), whatever the binary is called. An
// argument, other than a name or a variable of the environment, is there
// however containerd was started and however the shim starts itself again.
package shim

import (
	"context"
	"os"
	"path/filepath"
	"slices"

	"github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2/manager"
	"github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2/task"
	"github.com/containerd/containerd/v2/pkg/shim"
	"github.com/containerd/containerd/v2/pkg/shutdown"
	"github.com/containerd/containerd/v2/plugins"
	"github.com/containerd/plugin"
	"github.com/containerd/plugin/registry"
)

// RuncRoot is the directory of runc's own state, below the state directory.
const RuncRoot = "runc"

// StockName is the name of runc's runtime.
const StockName = "io.containerd.runc.v2"

// IsInvocation says whether args, those of the process without its name, are
// how containerd invokes a shim.
func IsInvocation(args []string) bool {
	return len(args) > 0 && slices.Contains([]string{"-namespace", "-id", "-address", "-publish-binary", "-info", "-v", "-debug"}, args[0])
}

// RunStock is the process of containerd's own shim for runc, and exits when it
// ends. It forgets every plugin that was registered before: those of the
// daemon's containerd would be loaded into the shim.
func RunStock(ctx context.Context) {
	// Asked what it can do, the shim gets no options and looks for runc in PATH.
	if self, err := os.Executable(); err == nil {
		_ = os.Setenv("PATH", filepath.Dir(self)+string(filepath.ListSeparator)+os.Getenv("PATH"))
	}
	registry.Reset()
	registry.Register(&plugin.Registration{
		Type:     plugins.TTRPCPlugin,
		ID:       "task",
		Requires: []plugin.Type{plugins.EventPlugin, plugins.InternalPlugin},
		InitFn: func(ic *plugin.InitContext) (any, error) {
			publisher, err := ic.GetByID(plugins.EventPlugin, "publisher")
			if err != nil {
				return nil, err
			}
			down, err := ic.GetByID(plugins.InternalPlugin, "shutdown")
			if err != nil {
				return nil, err
			}
			return task.NewTaskService(ic.Context, publisher.(shim.Publisher), down.(shutdown.Service)) //nolint:errcheck // RunShim registers both with these types
		},
	})
	shim.RunShim(ctx, manager.NewShimManager(StockName))
}

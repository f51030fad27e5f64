// Package shim holds the containerd runtimes that the daemon's binary can be.
//
// A shim is the process between containerd and a container: it serves
// containerd's Task service, outlives the daemon and ends with its container.
// containerd starts one by running a binary with arguments of a fixed form, of
// which the first is a flag with a single dash; that is how a process finds
// that it is to be a shim (IsInvocation), whatever the binary is called. An
// argument, other than a name or a variable of the environment, is there
// however containerd was started and however the shim starts itself again.
//
// Which shim it is to be, the container says, in whose bundle containerd starts
// it. One with AgentAnnotation has an agent as pid 1 that starts programs, and
// is served by the runtime Name: an exec is then a message to the agent, where
// runc's own shim starts runc. Any other container is that one's, StockName. So
// whoever names the binary as a runtime can run ordinary images with it too.
//
// Of the runtime Name: runc makes the container and starts pid 1 in one go, and
// gives it one end of a socket (package wire); the task's Start is only said.
// For an exec the shim opens the client's FIFOs, or has the pipes of a client of
// package direct, and opens the exec's cgroup, which is the one below the
// container's that has the exec's name, where there is one. The agent makes a process with these; the shim asks the kernel whose it is and
// where, raises its score for the OOM killer, and lets it go. The shim holds the
// other end of each, so that nothing a program does depends on whether a client
// still lives. It takes whatever comes out of a container for a lie, and
// never waits for it without bound. Such a shim can serve many containers
// (Shared), each with locks of its own, and waits for none of them with one that
// others need. Where the shim dies, the agent ends, and with it all; containerd
// then has a new process of the binary clean up.
package shim

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2/manager"
	"github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2/task"
	"github.com/containerd/containerd/v2/pkg/shim"
	"github.com/containerd/containerd/v2/pkg/shutdown"
	"github.com/containerd/containerd/v2/plugins"
	"github.com/containerd/fifo"
	"github.com/containerd/log"
	"github.com/containerd/plugin"
	"github.com/containerd/plugin/registry"
	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"

	"codebeaker/runtime/sched"
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

// Run is the process of a shim: of the one that its first container asks for.
// It returns at its end, or exits with 1 where it fails. It forgets every plugin
// that was registered before: those of the daemon's containerd would be loaded
// into the shim.
func Run(ctx context.Context) error {
	// Asked what it can do, the shim gets no options and looks for runc in PATH.
	if self, err := os.Executable(); err == nil {
		_ = os.Setenv("PATH", filepath.Dir(self)+string(filepath.ListSeparator)+os.Getenv("PATH"))
	}
	name, newTasks, agent := StockName, newStockTasks, isShared() || hasAgent()
	if agent {
		name, newTasks = Name, newTasksWithAgent
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
			service, err := ic.GetByID(plugins.InternalPlugin, "shutdown")
			if err != nil {
				return nil, err
			}
			down := service.(shutdown.Service) //nolint:errcheck // RunShim registers it with this type
			if err := leaveNoSocket(down); err != nil {
				return nil, err
			}
			if err := sched.Share(); err != nil { // it costs time, no more
				log.L.WithError(err).Debug("share the processors with programs")
			}
			return newTasks(ic.Context, publisher.(shim.Publisher), down) //nolint:errcheck // as above
		},
	})
	if serves(os.Args[1:]) {
		if err := logToContainerd(ctx); err != nil {
			return fmt.Errorf("%s: open log: %w", name, err)
		}
	}
	shim.RunShim(ctx, &cleaner{Shim: manager.NewShimManager(name), name: name, agent: agent}, func(c *shim.Config) { c.NoSetupLogger = true })
	return nil
}

// Name is the name of the runtime whose pid 1 is an agent.
const Name = "io.containerd.codebeaker.v1"

// hasAgent says whether the container in whose bundle the process was started
// has an agent that starts its programs.
func hasAgent() bool {
	dir, err := os.Getwd()
	if err != nil {
		return false
	}
	b, err := readBundle(dir)
	return err == nil && b.agent() != ""
}

func newStockTasks(ctx context.Context, publisher shim.Publisher, down shutdown.Service) (any, error) {
	return task.NewTaskService(ctx, publisher, down)
}

func newTasksWithAgent(ctx context.Context, publisher shim.Publisher, down shutdown.Service) (any, error) {
	return newService(ctx, publisher, down)
}

// serves says whether the process is to be the shim itself, which has no action
// behind its flags, or one that starts or removes a shim and then ends.
func serves(args []string) bool {
	last := args[len(args)-1]
	return !slices.Contains([]string{"start", "delete", "-info", "-v"}, last)
}

// logToContainerd sends warnings and errors to the FIFO in the bundle that
// containerd copies from, or that of a shared shim, as RunShim would, but for one
// line: on cgroup v1, a shim that shuts down says it without end, because its
// watcher of memory events takes the cause of its context's end for a failure to
// wait.
func logToContainerd(ctx context.Context) error {
	logger := log.L.Logger
	if isShared() {
		if err := logToStarter(); err != nil {
			return err
		}
		logger.SetOutput(os.Stderr)
	} else {
		fd, err := fifo.OpenFifoDup2(ctx, "log", unix.O_WRONLY, 0o700, int(os.Stderr.Fd()))
		if err != nil {
			return err
		}
		logger.SetOutput(fd)
	}
	logger.SetLevel(logrus.WarnLevel)
	logger.SetFormatter(quietFormatter{&logrus.TextFormatter{TimestampFormat: log.RFC3339NanoFixed, FullTimestamp: true}})
	return nil
}

type quietFormatter struct{ logrus.Formatter }

func (f quietFormatter) Format(e *logrus.Entry) ([]byte, error) {
	if e.Message == "cgroups: epoll wait" {
		return nil, nil
	}
	return f.Formatter.Format(e)
}

package runtime

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	goruntime "runtime"
	"strings"
	"time"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"codebeaker/runtime/cgroup"
	"codebeaker/runtime/filter"
)

// cleanupTimeout bounds what is done to clean up after a failure.
const cleanupTimeout = 30 * time.Second

// Shim says which containerd runtime runs containers.
type Shim struct {
	// Name is the absolute path of a shim, or a runtime's name such as
	// "io.containerd.runsc.v1".
	Name string
	// Options are what the shim takes, a type that containerd's typeurl knows;
	// nil for none.
	Options any
	// Agent says that it starts programs through the agent, as package shim's
	// own runtime does for containers that ask for it.
	Agent bool
	// Runc is the absolute path of the runc that such a shim uses.
	Runc string
	// Sharing has many containers served by one such shim, which is then started
	// here. Without, each has a shim of its own, started by containerd.
	Sharing *Sharing
}

// Options say what a Runtime works with.
type Options struct {
	Client *containerd.Client
	// Shim runs the containers.
	Shim Shim
	// Snapshotter has the containers' snapshots; overlayfs where empty.
	Snapshotter string
	// AgentPath is the agent's binary on the host. It has to be executable by
	// all and writable by root alone. Other files that containers have are written
	// beside it.
	AgentPath string
	// StateDir holds FIFOs while they are used. It is made where missing.
	StateDir string
	// CgroupParent is the cgroup of all containers; /codebeaker if empty. If it
	// does not exist it is made, and all containers together then have as large a
	// share of busy processors as one process for each processor.
	CgroupParent string
	Log          *slog.Logger
}

// Runtime makes containers. It is safe for concurrent use.
type Runtime struct {
	opts     Options
	host     cgroup.Host
	maxFiles uint64
	// filter is the text of the containers' seccomp filter; empty where runc is
	// to build it.
	filter string
	// closed ends waits for containers that go on.
	closed chan struct{}
	// shims are those that containers share; nil where each has its own.
	shims *shims
}

// New checks that the host has what containers need and returns a Runtime.
func New(ctx context.Context, opts Options) (_ *Runtime, retErr error) {
	if opts.Snapshotter == "" {
		opts.Snapshotter = "overlayfs"
	}
	if opts.CgroupParent == "" {
		opts.CgroupParent = "/codebeaker"
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	host, err := cgroup.Detect()
	if err != nil {
		return nil, err
	}
	if missing := host.MissingControllers(opts.CgroupParent); len(missing) > 0 {
		return nil, fmt.Errorf("check cgroups: cgroup %s (%s) has no %s controller, so limits would not hold: delegate it, as in Delegate=cpu memory pids of a systemd unit, or name another cgroup with --cgroup-parent: %w",
			opts.CgroupParent, host.Mode(), strings.Join(missing, ", "), errdefs.ErrFailedPrecondition)
	}
	info, err := os.Stat(opts.AgentPath)
	if err != nil {
		return nil, fmt.Errorf("find the agent: %w", err)
	}
	if info.Mode()&0o022 != 0 {
		return nil, fmt.Errorf("check the agent %s: others than its owner may write it: %w", opts.AgentPath, errdefs.ErrFailedPrecondition)
	}
	if err := os.MkdirAll(opts.StateDir, 0o700); err != nil {
		return nil, fmt.Errorf("make FIFO directory: %w", err)
	}
	if err := writeEtc(filepath.Dir(opts.AgentPath)); err != nil {
		return nil, err
	}
	var files unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &files); err != nil {
		return nil, fmt.Errorf("read limit of open files: %w", err)
	}
	r := &Runtime{opts: opts, host: host, maxFiles: files.Max, closed: make(chan struct{})}
	parent := host.Group(opts.CgroupParent)
	// All sessions together would else have the share of one process.
	if err := parent.MakeWeighing(goruntime.NumCPU()); err != nil {
		return nil, err
	}
	defer func() {
		if retErr != nil {
			retErr = errors.Join(retErr, parent.Prune())
		}
	}()
	if opts.Shim.Agent {
		if r.filter, err = r.learnFilter(ctx); err != nil {
			// The filter is the same; it takes longer.
			opts.Log.WarnContext(ctx, "every container has its seccomp filter built anew", "error", err)
		}
		if opts.Shim.Sharing != nil {
			if err := r.share(ctx, *opts.Shim.Sharing); err != nil {
				return nil, err
			}
		}
	}
	return r, nil
}

// learnFilter has runc build the filter of all containers.
func (r *Runtime) learnFilter(ctx context.Context) (string, error) {
	const name = "filter"
	program, err := filter.Learn(ctx, filter.Options{
		Runc: r.opts.Shim.Runc, AgentPath: r.opts.AgentPath,
		// Not below StateDir, through which the container's user cannot pass.
		Dir:    filepath.Join(filepath.Dir(r.opts.AgentPath), "."+name),
		Cgroup: r.group(name).Path(), IDs: specs.LinuxIDMapping{HostID: idRangeBase, Size: IDRangeSize},
	}, agentProfile())
	if err != nil {
		return "", err
	}
	return program.Text()
}

// Close removes what the Runtime keeps for containers to share. Containers that
// run keep it alive, and go on.
func (r *Runtime) Close() error {
	close(r.closed)
	if r.shims != nil {
		r.shims.close()
	}
	return r.host.Group(r.opts.CgroupParent).Prune()
}

// ShimName returns the name of the shim that runs the containers, or its path.
func (r *Runtime) ShimName() string { return r.opts.Shim.Name }

// RuncVersion asks a runc binary for its version.
func RuncVersion(ctx context.Context, path string) (string, error) {
	out, err := exec.CommandContext(ctx, path, "--version").Output()
	if err != nil {
		return "", fmt.Errorf("ask runc %s for its version: %w", path, err)
	}
	line, _, _ := strings.Cut(string(out), "\n")
	_, version, ok := strings.Cut(line, "runc version ")
	if !ok {
		return "", fmt.Errorf("ask runc %s for its version: it says %q: %w", path, line, errdefs.ErrFailedPrecondition)
	}
	return strings.TrimSpace(version), nil
}

// in returns ctx in the client's namespace, which calls on an in-process
// containerd take from there alone.
func (r *Runtime) in(ctx context.Context) context.Context {
	return namespaces.WithNamespace(ctx, r.opts.Client.DefaultNamespace())
}

func (r *Runtime) group(id string) cgroup.Group {
	return r.host.Group(filepath.Join(r.opts.CgroupParent, id))
}

// fifoDir is the directory of a container's FIFOs.
func (r *Runtime) fifoDir(id string) string { return filepath.Join(r.opts.StateDir, id) }

// Leftovers returns the ids of all containers that have the label, such as
// those that an earlier daemon left.
func (r *Runtime) Leftovers(ctx context.Context, label string) ([]string, error) {
	containers, err := r.opts.Client.ContainerService().List(r.in(ctx), fmt.Sprintf("labels.%q", label))
	if err != nil {
		return nil, fmt.Errorf("list containers: %w", err)
	}
	ids := make([]string, 0, len(containers))
	for _, c := range containers {
		ids = append(ids, c.ID)
	}
	return ids, nil
}

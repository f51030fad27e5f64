package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/containerd/containerd/api/types/runc/options"
	"github.com/containerd/errdefs"

	"codebeaker/images"
	"codebeaker/runtime"
	"codebeaker/runtime/engine"
	"codebeaker/runtime/shim"
	"codebeaker/session"
	"codebeaker/session/output"
	"codebeaker/snapshot"
)

const snapshotter = "overlayfs"

// host is a containerd on a root, and what this process holds to use it.
type host struct {
	engine     *engine.Engine
	images     *images.Store
	containers *runtime.Runtime // nil until newManager
	lock       *engine.Lock     // nil where another process has it
}

// openHost opens the root for one process alone. holder says what the process
// is, for whoever finds the root taken.
func openHost(ctx context.Context, cfg *config, log *slog.Logger, holder string) (_ *host, retErr error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("this command makes containers and has to be started as root")
	}
	lock, err := engine.Acquire(cfg.Root, holder)
	if err != nil {
		return nil, err
	}
	defer func() {
		if retErr != nil {
			lock.Release()
		}
	}()
	var e *engine.Engine
	if cfg.Containerd != "" {
		e, err = engine.Dial(ctx, cfg.Containerd, cfg.Namespace)
	} else {
		e, err = engine.Open(ctx, engine.Options{Root: cfg.Root, State: cfg.State, Namespace: cfg.Namespace, Log: log})
	}
	if err != nil {
		return nil, err
	}
	return &host{engine: e, images: newImageStore(cfg, e, log), lock: lock}, nil
}

// joinTimeout is how long a process that has the root may take to serve on it.
const joinTimeout = 3 * time.Second

// joinHost opens the root, or, where another process has it, uses that one's
// containerd.
func joinHost(ctx context.Context, cfg *config, log *slog.Logger, holder string) (*host, error) {
	address := cfg.Containerd
	if address == "" {
		address = engine.SocketPath(cfg.State)
	}
	timeout := time.NewTimer(joinTimeout)
	defer timeout.Stop()
	retry := time.NewTicker(50 * time.Millisecond)
	defer retry.Stop()
	for {
		h, err := openHost(ctx, cfg, log, holder)
		if !errdefs.IsUnavailable(err) {
			return h, err
		}
		e, dialErr := engine.Dial(ctx, address, cfg.Namespace)
		if dialErr == nil {
			return &host{engine: e, images: newImageStore(cfg, e, log)}, nil
		}
		select {
		case <-retry.C: // it may have just started, or be about to end
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-timeout.C:
			return nil, fmt.Errorf("%w, and its containerd cannot be used: %w", err, dialErr)
		}
	}
}

func newImageStore(cfg *config, e *engine.Engine, log *slog.Logger) *images.Store {
	return images.NewStore(e.Client(), images.Options{
		Catalogue:   cfg.catalogue,
		Snapshotter: snapshotter,
		BuildDir:    filepath.Join(cfg.Root, "build"),
		Registries:  cfg.registries(),
		Bounds:      images.Bounds{Bytes: cfg.ImageMB << 20},
		Log:         log,
	})
}

func (h *host) close() error {
	var err error
	if h.containers != nil {
		err = h.containers.Close()
	}
	err = errors.Join(err, h.engine.Close())
	if h.lock != nil {
		err = errors.Join(err, h.lock.Release())
	}
	return err
}

// shims are those of the host's sessions, once there is a manager.
func (h *host) shims(cfg *config) shim.Family {
	address := cfg.Containerd
	if address == "" {
		address = engine.SocketPath(cfg.State)
	}
	return shim.Family{Runtime: h.containers.ShimName(), Address: address, Namespace: cfg.Namespace}
}

// newManager returns the sessions of a host, with what earlier ones left
// removed. It tells the observer what happens, and counts in kept what it keeps
// of output.
func (h *host) newManager(ctx context.Context, cfg *config, log *slog.Logger, observer session.Observer, kept *output.Kept) (*session.Manager, error) {
	runs, err := findShim(ctx, cfg)
	if err != nil {
		return nil, err
	}
	agent, err := installAgent(cfg)
	if err != nil {
		return nil, err
	}
	h.containers, err = runtime.New(ctx, runtime.Options{
		Client:       h.engine.Client(),
		Shim:         runs,
		Snapshotter:  snapshotter,
		AgentPath:    agent,
		StateDir:     filepath.Join(cfg.State, "fifo"),
		CgroupParent: cfg.CgroupParent,
		Log:          log,
	})
	if err != nil {
		return nil, err
	}
	snapshots, err := snapshot.NewStore(ctx, h.engine.Client(), snapshotter)
	if err != nil {
		return nil, err
	}
	spill, err := output.NewSpill(filepath.Join(cfg.Root, "output"), cfg.OutputFileMB<<20, cfg.OutputTotalMB<<20, log)
	if err != nil {
		return nil, err
	}
	manager := session.New(session.Options{
		Catalogue:       cfg.catalogue,
		Images:          h.images,
		Snapshots:       snapshots,
		Containers:      session.ContainersOf(h.containers),
		Log:             log,
		MaxSessions:     cfg.MaxSessions,
		Pool:            cfg.pool(),
		Zygotes:         cfg.zygotes(h.containers.Forks()),
		CreateTimeout:   time.Duration(cfg.CreateTimeout),
		ExecTimeout:     time.Duration(cfg.ExecTimeout),
		Spill:           spill,
		Kept:            kept,
		Observer:        observer,
		MaxPrintedBytes: cfg.OutputLimitMB << 20,
		KeepExecutions:  time.Duration(cfg.KeepExecutions),
	})
	left, err := manager.Recover(ctx)
	if err != nil {
		return nil, fmt.Errorf("remove what an earlier server left: %w", err)
	}
	if left > 0 {
		log.WarnContext(ctx, "removed sessions and members of the pool that an earlier server left", "containers", left)
	}
	return manager, nil
}

// findShim returns the containerd runtime that the options ask for.
func findShim(ctx context.Context, cfg *config) (runtime.Shim, error) {
	if !cfg.builtIn() {
		return runtime.Shim{Name: cfg.Runtime}, nil
	}
	runc, err := findProgram(cfg.Runc, "runc")
	if err != nil {
		return runtime.Shim{}, err
	}
	v, err := runtime.RuncVersion(ctx, runc)
	if err != nil {
		return runtime.Shim{}, err
	}
	if err := engine.CheckVersion("runc", v); err != nil {
		return runtime.Shim{}, fmt.Errorf("use %s: %w", runc, err)
	}
	self, err := os.Executable()
	if err != nil {
		return runtime.Shim{}, fmt.Errorf("find this program: %w", err)
	}
	if cfg.SessionsPerShim < 1 {
		return runtime.Shim{}, fmt.Errorf("--sessions-per-shim %d: takes a number from 1 on; 1 is a shim for each session", cfg.SessionsPerShim)
	}
	agent := cfg.Runtime != shim.StockName
	var sharing *runtime.Sharing
	// Of somebody else's containerd it is not known where it takes events.
	if agent && cfg.SessionsPerShim > 1 && cfg.Containerd == "" {
		sharing = &runtime.Sharing{
			Containers: cfg.SessionsPerShim, Dir: filepath.Join(cfg.State, "shim"),
			Address: engine.SocketPath(cfg.State), EventAddress: engine.EventSocketPath(cfg.State), TempDir: engine.TempDir(cfg.State),
		}
	}
	return runtime.Shim{
		Name:    self,
		Options: &options.Options{BinaryName: runc, Root: filepath.Join(cfg.State, shim.RuncRoot)},
		Agent:   agent,
		Runc:    runc,
		Sharing: sharing,
	}, nil
}

// findProgram returns the path that an option gives, or finds the program
// beside this one or in PATH.
func findProgram(given, name string) (string, error) {
	if given != "" {
		return filepath.Abs(given)
	}
	if self, err := os.Executable(); err == nil {
		beside := filepath.Join(filepath.Dir(self), name)
		if isFile(beside) {
			return beside, nil
		}
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("find %s: it is neither beside this program nor in PATH; build it, or say where it is with --%s", name, name)
	}
	return filepath.Abs(path)
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && !info.IsDir()
}

// installAgent puts a copy of the agent below the root, executable and not
// readable for sessions, and returns its path. Sessions hold on to the copy
// that they were started with.
func installAgent(cfg *config) (_ string, retErr error) {
	source, err := findProgram(cfg.Agent, "codebeaker-agent")
	if err != nil {
		return "", err
	}
	defer func() {
		if retErr != nil {
			retErr = fmt.Errorf("install the agent: %w", retErr)
		}
	}()
	dir := filepath.Join(cfg.Root, "bin")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	in, err := os.Open(source)
	if err != nil {
		return "", err
	}
	defer in.Close()
	out, err := os.CreateTemp(dir, ".agent-*")
	if err != nil {
		return "", err
	}
	defer func() {
		if retErr != nil {
			retErr = errors.Join(retErr, os.Remove(out.Name()))
		}
	}()
	_, err = io.Copy(out, in)
	if err = errors.Join(err, out.Chmod(0o711), out.Close()); err != nil {
		return "", err
	}
	path := filepath.Join(dir, "codebeaker-agent")
	return path, os.Rename(out.Name(), path)
}

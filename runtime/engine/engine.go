package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/cmd/containerd/server"
	"github.com/containerd/containerd/v2/cmd/containerd/server/config"
	"github.com/containerd/containerd/v2/version"
	"github.com/containerd/errdefs"
)

// DefaultNamespace is the containerd namespace of everything that is ours.
const DefaultNamespace = "codebeaker"

// maxStateLen is what keeps a shim's socket, <state>/s/<64 hex digits>, within
// a socket address. containerd takes 38 bytes for the directory.
const maxStateLen = 36

// gcPlugin decides when containerd collects garbage.
const gcPlugin = "io.containerd.gc.v1.scheduler"

// Options say where an embedded engine lives.
type Options struct {
	// Root is the directory for what lasts: content, snapshots, metadata.
	Root string
	// State is the directory for what a reboot may take: sockets, bundles. At
	// most 36 bytes long, as sockets below it have to fit their address.
	State string
	// Namespace is DefaultNamespace where empty.
	Namespace string
	// Log receives what containerd logs: its errors as warnings and its warnings
	// for debugging, as what matters of them comes back from its calls too.
	Log *slog.Logger
	// StockCollection leaves the pace of garbage collection to containerd's own
	// defaults. Otherwise what is deleted is collected soon after.
	StockCollection bool
}

// Engine is a containerd with a client for it.
type Engine struct {
	client  *containerd.Client
	server  *server.Server // nil where dialled
	version string
}

// Open starts containerd in this process. The caller holds the lock of
// opts.Root (Acquire) for as long as the engine is open. What containerd keeps
// running in the background ends with Close, not with ctx.
func Open(ctx context.Context, opts Options) (_ *Engine, retErr error) {
	if len(opts.State) > maxStateLen {
		return nil, fmt.Errorf("open containerd: state directory %s has %d characters: sockets below it allow %d at most; choose a shorter one: %w",
			opts.State, len(opts.State), maxStateLen, errdefs.ErrInvalidArgument)
	}
	if opts.Namespace == "" {
		opts.Namespace = DefaultNamespace
	}
	routeLogs(opts.Log)

	cfg := serverConfig(opts)
	if err := server.CreateTopLevelDirectories(cfg); err != nil {
		return nil, fmt.Errorf("open containerd: %w", err)
	}
	if err := os.MkdirAll(TempDir(opts.State), 0o700); err != nil {
		return nil, fmt.Errorf("open containerd: %w", err)
	}
	sink := &clientSink{namespace: opts.Namespace}
	srv, err := server.New(context.WithValue(context.WithoutCancel(ctx), clientSinkKey{}, sink), cfg)
	if err != nil {
		return nil, fmt.Errorf("open containerd on %s: %w", opts.Root, err)
	}
	defer func() {
		if retErr != nil {
			srv.Stop()
		}
	}()
	if sink.client == nil {
		return nil, errors.New("open containerd: its client plugin did not load")
	}
	if err := srv.Start(context.WithoutCancel(ctx)); err != nil {
		return nil, fmt.Errorf("open containerd: serve its socket: %w", err)
	}
	srv.Wait()
	return &Engine{client: sink.client, server: srv, version: version.Version}, nil
}

// Dial connects to the containerd that serves at address, a path of a socket.
// It fails at once where nobody listens, and within ten seconds where nobody
// answers.
func Dial(ctx context.Context, address, namespace string) (_ *Engine, retErr error) {
	if namespace == "" {
		namespace = DefaultNamespace
	}
	routeLogs(nil) // what its client logs comes back as errors too
	// containerd's client would go on trying.
	conn, err := new(net.Dialer).DialContext(ctx, "unix", strings.TrimPrefix(address, "unix://"))
	if err != nil {
		return nil, fmt.Errorf("connect to containerd: %w", err)
	}
	conn.Close()
	client, err := containerd.New(address, containerd.WithDefaultNamespace(namespace), containerd.WithTimeout(10*time.Second))
	if err != nil {
		return nil, fmt.Errorf("connect to containerd at %s: %w", address, err)
	}
	defer func() {
		if retErr != nil {
			client.Close()
		}
	}()
	v, err := client.Version(ctx)
	if err != nil {
		return nil, fmt.Errorf("connect to containerd at %s: ask its version: %w", address, err)
	}
	if err := CheckVersion("containerd", v.Version); err != nil {
		return nil, err
	}
	return &Engine{client: client, version: v.Version}, nil
}

// Client returns the engine's client, which stays the engine's to close.
func (e *Engine) Client() *containerd.Client { return e.client }

// Version returns containerd's version.
func (e *Engine) Version() string { return e.version }

// Close stops an embedded containerd, or drops the connection to another. No
// call on the client may be under way or follow.
func (e *Engine) Close() error {
	if e.server != nil {
		// A collection that is under way complains of the end.
		routeLogs(nil)
		e.server.Stop()
		return nil
	}
	return e.client.Close()
}

// SocketPath returns where an engine that is embedded with this state
// directory serves.
func SocketPath(state string) string { return filepath.Join(state, "containerd.sock") }

// EventSocketPath returns where such an engine takes the events of shims.
func EventSocketPath(state string) string { return SocketPath(state) + ".ttrpc" }

// TempDir returns the directory in which shims put mount points for a moment.
func TempDir(state string) string { return filepath.Join(state, "tmp") }

func serverConfig(opts Options) *config.Config {
	root, state := opts.Root, opts.State
	cfg := &config.Config{
		Version: version.ConfigVersion,
		Root:    filepath.Join(root, "containerd"),
		State:   state,
		DisabledPlugins: []string{
			// They register collectors with the process, which is not theirs.
			"io.containerd.metrics.v1.grpc-prometheus",
			"io.containerd.metrics.v1.grpc-otel",
		},
		RequiredPlugins: []string{
			"io.containerd.content.v1.content",
			"io.containerd.metadata.v1.bolt",
			"io.containerd.runtime.v2.task",
			"io.containerd.server.v1.grpc",
			"io.containerd.server.v1.ttrpc",
			"io.containerd.snapshotter.v1.overlayfs",
			string(clientPluginType) + "." + clientPluginID,
		},
		Plugins: map[string]any{
			"io.containerd.server.v1.grpc":  map[string]any{"address": SocketPath(state)},
			"io.containerd.server.v1.ttrpc": map[string]any{"address": EventSocketPath(state)},
			"io.containerd.shim.v1.manager": map[string]any{
				"socket_dir": filepath.Join(state, "s"),
				// Shims put mount points of layers with mapped ids there.
				"env": []string{"TMPDIR=" + TempDir(state)},
			},
			// Its collectors would be registered with the process too, and an
			// engine that is opened after another would panic.
			"io.containerd.monitor.task.v1.cgroups": map[string]any{"no_prometheus": true},
			// A session's files are gone soon after it: by default containerd
			// collects only after a hundred changes of its metadata.
			gcPlugin: map[string]any{"deletion_threshold": int64(1), "schedule_delay": "50ms"},
		},
	}
	if opts.StockCollection {
		delete(cfg.Plugins, gcPlugin)
	}
	return cfg
}

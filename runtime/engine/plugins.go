package engine

import (
	// The parts of containerd that a host for sandboxes needs. What is not
	// here (CRI, NRI, CNI, metrics and debug servers, other snapshotters) is
	// code that cannot be reached.
	_ "github.com/containerd/containerd/api/types/runc/options"
	containerd "github.com/containerd/containerd/v2/client"
	_ "github.com/containerd/containerd/v2/core/metrics/cgroups"
	_ "github.com/containerd/containerd/v2/core/metrics/cgroups/v2"
	_ "github.com/containerd/containerd/v2/core/runtime/v2"
	"github.com/containerd/containerd/v2/plugins"
	_ "github.com/containerd/containerd/v2/plugins/content/local/plugin"
	_ "github.com/containerd/containerd/v2/plugins/diff/walking/plugin"
	_ "github.com/containerd/containerd/v2/plugins/events"
	_ "github.com/containerd/containerd/v2/plugins/gc"
	_ "github.com/containerd/containerd/v2/plugins/leases"
	_ "github.com/containerd/containerd/v2/plugins/metadata"
	_ "github.com/containerd/containerd/v2/plugins/mount"
	_ "github.com/containerd/containerd/v2/plugins/sandbox"
	_ "github.com/containerd/containerd/v2/plugins/server/grpc"
	_ "github.com/containerd/containerd/v2/plugins/server/ttrpc"
	_ "github.com/containerd/containerd/v2/plugins/services/containers"
	_ "github.com/containerd/containerd/v2/plugins/services/content"
	_ "github.com/containerd/containerd/v2/plugins/services/diff"
	_ "github.com/containerd/containerd/v2/plugins/services/events"
	_ "github.com/containerd/containerd/v2/plugins/services/healthcheck"
	_ "github.com/containerd/containerd/v2/plugins/services/images"
	_ "github.com/containerd/containerd/v2/plugins/services/introspection"
	_ "github.com/containerd/containerd/v2/plugins/services/leases"
	_ "github.com/containerd/containerd/v2/plugins/services/mounts"
	_ "github.com/containerd/containerd/v2/plugins/services/namespaces"
	_ "github.com/containerd/containerd/v2/plugins/services/sandbox"
	_ "github.com/containerd/containerd/v2/plugins/services/snapshots"
	_ "github.com/containerd/containerd/v2/plugins/services/streaming"
	_ "github.com/containerd/containerd/v2/plugins/services/tasks"
	_ "github.com/containerd/containerd/v2/plugins/services/transfer"
	_ "github.com/containerd/containerd/v2/plugins/services/version"
	_ "github.com/containerd/containerd/v2/plugins/services/warning"
	_ "github.com/containerd/containerd/v2/plugins/snapshots/overlay/plugin"
	_ "github.com/containerd/containerd/v2/plugins/streaming"
	_ "github.com/containerd/containerd/v2/plugins/transfer"
	"github.com/containerd/plugin"
	"github.com/containerd/plugin/registry"
)

const (
	clientPluginType = plugin.Type("io.codebeaker.client.v1")
	clientPluginID   = "client"
)

// clientSink receives the in-process client; it travels in the context that
// Open gives to containerd, because plugins are registered once for a process
// and an engine is opened later.
type clientSink struct {
	namespace string
	client    *containerd.Client
}

type clientSinkKey struct{}

func init() { //nolint:gochecknoinits // the registry of containerd's plugins is filled so
	registry.Register(&plugin.Registration{
		Type: clientPluginType,
		ID:   clientPluginID,
		Requires: []plugin.Type{
			plugins.EventPlugin,
			plugins.LeasePlugin,
			plugins.MountManagerPlugin,
			plugins.SandboxStorePlugin,
			plugins.ServicePlugin,
			plugins.TransferPlugin,
		},
		InitFn: func(ic *plugin.InitContext) (any, error) {
			sink, ok := ic.Context.Value(clientSinkKey{}).(*clientSink)
			if !ok {
				return nil, plugin.ErrSkipPlugin
			}
			client, err := containerd.New("",
				containerd.WithDefaultNamespace(sink.namespace),
				containerd.WithInMemoryServices(ic))
			if err != nil {
				return nil, err
			}
			sink.client = client
			return client, nil
		},
	})
}

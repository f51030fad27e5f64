// Package snapshot gives sessions their root filesystems.
//
// A session's snapshot is an active snapshot of containerd's overlayfs
// snapshotter: a writable layer of the session's own over the unpacked layers
// of its language's image, which all sessions share and none can change. The
// layers are shared across id ranges too: the snapshotter mounts them with ids
// mapped to the session's range, so nothing is copied and nothing is chowned.
//
// Lifecycle: Prepare makes a snapshot before its container exists; Remove drops
// it after the container is gone, and containerd's garbage collector frees its
// files soon after. Between the two it is a root of the garbage collector, with
// a label that tells it as a session's, so that Leftovers finds what a crashed
// daemon left.
//
// The Store borrows the containerd client and closes nothing.
package snapshot

import (
	"context"
	"fmt"
	"slices"
	"time"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"
)

const (
	labelSession = "org.codebeaker.session"
	labelGCRoot  = "containerd.io/gc.root"
	// remapIDs is what a snapshotter says that can mount with mapped ids.
	remapIDs = "remap-ids"
)

// Store makes and removes sessions' snapshots. It is safe for concurrent use.
type Store struct {
	snapshotter snapshots.Snapshotter
	namespace   string
}

// NewStore returns a Store on the named snapshotter. One that cannot map ids
// is an errdefs.ErrFailedPrecondition: sessions would have to share the ids of
// the image, or copy it.
func NewStore(ctx context.Context, client *containerd.Client, snapshotter string) (*Store, error) {
	capabilities, err := client.GetSnapshotterCapabilities(namespaces.WithNamespace(ctx, client.DefaultNamespace()), snapshotter)
	if err != nil {
		return nil, fmt.Errorf("ask snapshotter %s what it can do: %w", snapshotter, err)
	}
	if !slices.Contains(capabilities, remapIDs) {
		return nil, fmt.Errorf("check snapshotter %s: it cannot mount with mapped ids on this kernel and filesystem (Linux 5.19 or later, and ext4, xfs, btrfs or tmpfs, can): %w",
			snapshotter, errdefs.ErrFailedPrecondition)
	}
	return &Store{snapshotter: client.SnapshotService(snapshotter), namespace: client.DefaultNamespace()}, nil
}

// in returns ctx in the client's namespace, which calls on an in-process
// containerd take from there alone.
func (s *Store) in(ctx context.Context) context.Context {
	return namespaces.WithNamespace(ctx, s.namespace)
}

// Prepare makes the snapshot key on parent, the chain id of an unpacked image,
// for the host ids from hostID on.
func (s *Store) Prepare(ctx context.Context, key, parent string, hostID, size uint32) error {
	mapping := fmt.Sprintf("0:%d:%d", hostID, size)
	_, err := s.snapshotter.Prepare(s.in(ctx), key, parent, snapshots.WithLabels(map[string]string{
		labelSession:                      key,
		labelGCRoot:                       time.Now().UTC().Format(time.RFC3339),
		snapshots.LabelSnapshotUIDMapping: mapping,
		snapshots.LabelSnapshotGIDMapping: mapping,
	}))
	if err != nil {
		return fmt.Errorf("prepare snapshot %s: %w", key, err)
	}
	return nil
}

// Remove drops a snapshot. One that does not exist is no error.
func (s *Store) Remove(ctx context.Context, key string) error {
	if err := s.snapshotter.Remove(s.in(ctx), key); err != nil && !errdefs.IsNotFound(err) {
		return fmt.Errorf("remove snapshot %s: %w", key, err)
	}
	return nil
}

// Leftovers returns the keys of all sessions' snapshots.
func (s *Store) Leftovers(ctx context.Context) ([]string, error) {
	var keys []string
	err := s.snapshotter.Walk(s.in(ctx), func(_ context.Context, info snapshots.Info) error {
		keys = append(keys, info.Name)
		return nil
	}, fmt.Sprintf("labels.%q", labelSession))
	if err != nil {
		return nil, fmt.Errorf("list snapshots: %w", err)
	}
	return keys, nil
}

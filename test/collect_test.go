package test

import (
	"context"
	"testing"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/leases"
)

// collect has containerd collect garbage, as the next removal of anything would.
// Its scheduler forgets a removal that happens while a collection ends, so what
// was removed last may otherwise stay until then.
func collect(ctx context.Context, t *testing.T, client *containerd.Client) {
	t.Helper()
	manager := client.LeasesService()
	lease, err := manager.Create(ctx, leases.WithRandomID())
	if err != nil {
		t.Fatal(err)
	}
	if err := manager.Delete(ctx, lease, leases.SynchronousDelete); err != nil {
		t.Fatal(err)
	}
}

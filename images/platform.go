package images

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/core/content"
	ctrimages "github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// manifestsOf returns the manifests that an index refers to, however deep, or
// the one that root is, each once and with its platform. What it reads has to
// be in the content store: indexes, and where a descriptor has no platform,
// the manifest and its configuration.
func manifestsOf(ctx context.Context, store content.Provider, root ocispec.Descriptor) ([]ocispec.Descriptor, error) {
	var found []ocispec.Descriptor
	collect := func(ctx context.Context, d ocispec.Descriptor) ([]ocispec.Descriptor, error) {
		switch {
		case ctrimages.IsIndexType(d.MediaType):
			return ctrimages.Children(ctx, store, d)
		case !ctrimages.IsManifestType(d.MediaType):
			return nil, nil
		case slices.ContainsFunc(found, func(f ocispec.Descriptor) bool { return f.Digest == d.Digest }):
			return nil, nil // under another name
		}
		if d.Platform == nil {
			p, err := platformOf(ctx, store, d)
			if err != nil {
				return nil, err
			}
			d.Platform = &p
		}
		found = append(found, d)
		return nil, nil
	}
	return found, ctrimages.Walk(ctx, ctrimages.HandlerFunc(collect), root)
}

// platformOf reads a manifest's platform from its configuration.
func platformOf(ctx context.Context, store content.Provider, d ocispec.Descriptor) (ocispec.Platform, error) {
	b, err := content.ReadBlob(ctx, store, d)
	if err != nil {
		return ocispec.Platform{}, err
	}
	var m ocispec.Manifest
	if err := json.Unmarshal(b, &m); err != nil {
		return ocispec.Platform{}, fmt.Errorf("manifest %s: %w: %w", d.Digest, err, errdefs.ErrInvalidArgument)
	}
	return ctrimages.ConfigPlatform(ctx, store, m.Config)
}

// choose returns the manifests that suit a host best; more than one where they
// suit it equally. It fails where none does.
func choose(manifests []ocispec.Descriptor, host platforms.MatchComparer, hostName string) ([]ocispec.Descriptor, error) {
	var fit []ocispec.Descriptor
	var have []string
	for _, m := range manifests {
		if host.Match(*m.Platform) {
			fit = append(fit, m)
		}
		// What goes with an image, such as an attestation, has no platform.
		if name := platforms.Format(*m.Platform); m.Platform.OS != "unknown" && !slices.Contains(have, name) {
			have = append(have, name)
		}
	}
	switch {
	case len(fit) > 0:
	case len(have) == 0:
		return nil, fmt.Errorf("it holds no image: %w", errdefs.ErrInvalidArgument)
	default:
		return nil, fmt.Errorf("it is for %s, and this host takes %s: %w",
			strings.Join(have, ", "), hostName, errdefs.ErrInvalidArgument)
	}
	slices.SortStableFunc(fit, func(a, b ocispec.Descriptor) int {
		switch {
		case host.Less(*a.Platform, *b.Platform):
			return -1
		case host.Less(*b.Platform, *a.Platform):
			return 1
		}
		return 0
	})
	best := 1
	for best < len(fit) && !host.Less(*fit[0].Platform, *fit[best].Platform) {
		best++
	}
	return fit[:best], nil
}

// plain returns a descriptor without what an index or archive says about it.
func plain(d ocispec.Descriptor) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size}
}

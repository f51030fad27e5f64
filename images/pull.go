package images

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"

	"github.com/containerd/containerd/v2/core/content"
	ctrimages "github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/containerd/v2/core/remotes/docker/config"
	remoteerrors "github.com/containerd/containerd/v2/core/remotes/errors"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	"github.com/distribution/reference"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Pull makes an image in a registry the image of a language. The reference may
// be short, such as "python:3.13-slim". Only what anybody may pull can be
// pulled.
//
// An image that was not made for this project may lack the user with uid 1000
// and the directory /workspace; whoever starts a container supplies them.
func (s *Store) Pull(ctx context.Context, language, ref string, progress Progress) (Image, error) {
	ctx = s.context(ctx)
	lang, err := s.lookup(language)
	if err != nil {
		return Image{}, fmt.Errorf("pull image: %w", err)
	}
	named, err := reference.ParseDockerRef(ref)
	if err != nil {
		return Image{}, fmt.Errorf("pull image of %s: %q is no image reference: %w: %w", lang.Name, ref, err, errdefs.ErrInvalidArgument)
	}
	ref = named.String()
	unlock, err := s.changing.lock(ctx, lang.Name)
	if err != nil {
		return Image{}, fmt.Errorf("pull image of %s: %w", lang.Name, err)
	}
	defer unlock()
	ctx, release, err := s.lease(ctx, leases.WithRandomID())
	if err != nil {
		return Image{}, fmt.Errorf("pull image of %s: %w", lang.Name, err)
	}
	defer release()

	report := &reporter{fn: progress}
	report.report(Event{Stage: StageFetch, Message: "looking up " + ref})
	manifest, err := s.fetch(ctx, ref, report)
	if err != nil {
		return Image{}, fmt.Errorf("pull %s: %w", ref, explainPull(ctx, err, reference.Domain(named)))
	}
	return s.publish(ctx, lang, manifest, map[string]string{labelSource: "pull " + ref}, report)
}

// fetch downloads the image for this host's platform and returns its manifest.
func (s *Store) fetch(ctx context.Context, ref string, report *reporter) (ocispec.Descriptor, error) {
	hosts := config.HostOptions{}
	if s.opts.HostsDir != "" {
		hosts.HostDir = config.HostDirFromRoot(s.opts.HostsDir)
	}
	resolver := docker.NewResolver(docker.ResolverOptions{Hosts: config.ConfigureHosts(ctx, hosts)})
	name, root, err := resolver.Resolve(ctx, ref)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	plainFetcher, err := resolver.Fetcher(ctx, name)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	fetcher := &countingFetcher{fetcher: plainFetcher, report: report}
	store := s.client.ContentStore()

	// First what says which manifest is for this host,
	err = ctrimages.Walk(ctx, ctrimages.HandlerFunc(func(ctx context.Context, d ocispec.Descriptor) ([]ocispec.Descriptor, error) {
		if !ctrimages.IsIndexType(d.MediaType) && (d.Platform != nil || !ctrimages.IsManifestType(d.MediaType) && !ctrimages.IsConfigType(d.MediaType)) {
			return nil, nil
		}
		if err := remotes.Fetch(ctx, store, fetcher, d); err != nil && !errdefs.IsAlreadyExists(err) {
			return nil, err
		}
		return ctrimages.Children(ctx, store, d)
	}), root)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	manifests, err := manifestsOf(ctx, store, root)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	best, err := choose(manifests, platforms.Default(), platforms.DefaultString())
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	manifest := plain(best[0])

	// then that manifest and all that it refers to.
	source, err := docker.AppendDistributionSourceLabel(store, ref)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	children := ctrimages.SetChildrenLabels(store, ctrimages.ChildrenHandler(store))
	total := ctrimages.HandlerFunc(func(ctx context.Context, d ocispec.Descriptor) ([]ocispec.Descriptor, error) {
		descs, err := children(ctx, d)
		if ctrimages.IsManifestType(d.MediaType) {
			fetcher.expect(ctx, store, descs)
		}
		return descs, err
	})
	err = ctrimages.Dispatch(ctx, ctrimages.Handlers(remotes.FetchHandler(store, fetcher), total, source), nil, manifest)
	return manifest, err
}

// explainPull says what went wrong in a pull, and what to do.
func explainPull(ctx context.Context, err error, registry string) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	status, _ := errors.AsType[remoteerrors.ErrUnexpectedStatus](err)
	code := status.StatusCode
	switch {
	case code == http.StatusUnauthorized, code == http.StatusForbidden, errors.Is(err, docker.ErrInvalidAuthorization):
		return fmt.Errorf("%s has no such image that anybody may pull; check the name: %w: %w", registry, err, errdefs.ErrPermissionDenied)
	case code == http.StatusTooManyRequests:
		return fmt.Errorf("%s takes no more requests for now; try again later: %w: %w", registry, err, errdefs.ErrUnavailable)
	case code >= 500:
		return fmt.Errorf("%s has a failure; try again later: %w: %w", registry, err, errdefs.ErrUnavailable)
	case errdefs.IsNotFound(err):
		return fmt.Errorf("%s has no such image; check the name and the tag: %w", registry, err)
	case isNetError(err):
		return fmt.Errorf("%s was not reached; check the network: %w: %w", registry, err, errdefs.ErrUnavailable)
	}
	return err
}

func isNetError(err error) bool {
	_, ok := errors.AsType[net.Error](err)
	return ok
}

// countingFetcher reports the bytes that it fetches.
type countingFetcher struct {
	fetcher     remotes.Fetcher
	report      *reporter
	done, total atomic.Int64
}

// Fetch implements remotes.Fetcher.
func (f *countingFetcher) Fetch(ctx context.Context, d ocispec.Descriptor) (io.ReadCloser, error) {
	rc, err := f.fetcher.Fetch(ctx, d)
	if err != nil || !ctrimages.IsLayerType(d.MediaType) {
		return rc, err
	}
	return &countedBody{ReadCloser: rc, fetcher: f}, nil
}

// expect adds the layers that are not in the content store yet to the total.
func (f *countingFetcher) expect(ctx context.Context, store content.InfoProvider, descs []ocispec.Descriptor) {
	for _, d := range descs {
		if !ctrimages.IsLayerType(d.MediaType) {
			continue
		}
		if _, err := store.Info(ctx, d.Digest); errdefs.IsNotFound(err) {
			f.total.Add(d.Size)
		}
	}
}

type countedBody struct {
	io.ReadCloser
	fetcher *countingFetcher
}

func (b *countedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if n == 0 {
		return n, err
	}
	f := b.fetcher
	f.report.report(Event{Stage: StageFetch, Done: f.done.Add(int64(n)), Total: f.total.Load()})
	return n, err
}

package images

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/containerd/containerd/v2/core/content"
	ctrimages "github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/containerd/containerd/v2/core/remotes/docker"
	remoteerrors "github.com/containerd/containerd/v2/core/remotes/errors"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	"github.com/distribution/reference"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Pull makes an image in a registry the image of a language. The reference may
// be short, such as "python:3.13-slim", or empty for the one that the catalogue
// has for the language. Only what anybody may pull can be pulled.
//
// A download that breaks off goes on where it was as long as the registry is
// there. What a Pull that fails has downloaded is dropped.
//
// An image that was not made for this project may lack the user with uid 1000
// and the directory /workspace; whoever starts a container supplies them.
func (s *Store) Pull(ctx context.Context, language, ref string, progress Progress) (Image, error) {
	ctx = s.context(ctx)
	lang, err := s.lookup(language)
	if err != nil {
		return Image{}, fmt.Errorf("pull image: %w", err)
	}
	if ref == "" {
		ref = lang.Image
	}
	if ref == "" {
		return Image{}, fmt.Errorf("pull image of %s: no image is configured for it; name one: codebeaker images pull %s REFERENCE: %w",
			lang.Name, lang.Name, errdefs.ErrInvalidArgument)
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
		return Image{}, fmt.Errorf("pull %s: %w", ref, s.explainPull(ctx, err, reference.Domain(named)))
	}
	if err := s.opts.Bounds.check(ctx, s.client.ContentStore(), manifest); err != nil {
		return Image{}, fmt.Errorf("pull %s: %w", ref, err)
	}
	return s.publish(ctx, lang, manifest, map[string]string{labelSource: "pull " + ref}, report)
}

// fetch downloads the image for this host's platform and returns its manifest.
func (s *Store) fetch(ctx context.Context, ref string, report *reporter) (_ ocispec.Descriptor, retErr error) {
	resolver := docker.NewResolver(docker.ResolverOptions{Hosts: s.registryHosts(ctx)})
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
	defer func() {
		if retErr != nil {
			s.abort(ctx, fetcher.fetched())
		}
	}()

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

// abort drops what was downloaded of blobs that are not complete. A complete one
// with the wrong digest would else be taken for a part of the next download.
func (s *Store) abort(ctx context.Context, blobs []ocispec.Descriptor) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTime)
	defer cancel()
	for _, d := range blobs {
		err := s.client.ContentStore().Abort(ctx, remotes.MakeRefKey(ctx, d))
		if err != nil && !errdefs.IsNotFound(err) {
			s.opts.Log.WarnContext(ctx, "a part of a download was left behind; containerd removes it within a day", "digest", d.Digest, "error", err)
		}
	}
}

// explainPull says what went wrong in a pull, and what to do.
func (s *Store) explainPull(ctx context.Context, err error, registry string) error {
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
	case code == http.StatusBadRequest && s.opts.Registries[registry].PlainHTTP:
		return fmt.Errorf("%s does not take plain HTTP; remove plain_http from its configuration: %w: %w", registry, err, errdefs.ErrFailedPrecondition)
	case isCertificateError(err):
		return fmt.Errorf("the certificate of %s is not trusted; where it has a CA of its own, name its file in the configuration, as ca of [registries.%q]: %w: %w",
			registry, registry, err, errdefs.ErrFailedPrecondition)
	case errors.Is(err, http.ErrSchemeMismatch):
		return fmt.Errorf("%s has no TLS; where that is meant, say plain_http = true in the configuration, in [registries.%q]: %w: %w",
			registry, registry, err, errdefs.ErrFailedPrecondition)
	case isDigestError(err):
		return fmt.Errorf("%s sent something else than was asked for, so it is damaged there or was changed on the way; pull again, and if that is no help, push the image again: %w: %w",
			registry, err, errdefs.ErrDataLoss)
	case errdefs.IsNotFound(err):
		return fmt.Errorf("%s has no such image; check the name and the tag: %w", registry, err)
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET):
		return fmt.Errorf("the connection to %s broke; try again: %w: %w", registry, err, errdefs.ErrUnavailable)
	case isNetError(err):
		return fmt.Errorf("%s was not reached; check the network: %w: %w", registry, err, errdefs.ErrUnavailable)
	}
	return err
}

func isCertificateError(err error) bool {
	_, verify := errors.AsType[*tls.CertificateVerificationError](err)
	return verify
}

// isDigestError says whether a blob was other than its descriptor says. The
// content store has no class of its own for that.
func isDigestError(err error) bool {
	if !errdefs.IsFailedPrecondition(err) {
		return false
	}
	for _, sign := range []string{"unexpected commit digest", "unexpected commit size", "expected size"} {
		if strings.Contains(err.Error(), sign) {
			return true
		}
	}
	return false
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

	mu    sync.Mutex
	blobs []ocispec.Descriptor // whose download was begun
}

// Fetch implements remotes.Fetcher.
func (f *countingFetcher) Fetch(ctx context.Context, d ocispec.Descriptor) (io.ReadCloser, error) {
	f.mu.Lock()
	f.blobs = append(f.blobs, d)
	f.mu.Unlock()
	rc, err := f.fetcher.Fetch(ctx, d)
	if err != nil || !ctrimages.IsLayerType(d.MediaType) {
		return rc, err
	}
	return &countedBody{ReadCloser: rc, fetcher: f}, nil
}

// fetched returns the blobs whose download was begun.
func (f *countingFetcher) fetched() []ocispec.Descriptor {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.blobs)
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

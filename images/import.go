package images

import (
	"context"
	"errors"
	"fmt"
	"io"

	ctrimages "github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/images/archive"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
)

// Import makes an image in an archive the image of a language. The archive is
// of OCI's layout or from "docker save", not compressed, and holds one image
// for this host's platform.
func (s *Store) Import(ctx context.Context, language string, r io.Reader, progress Progress) (Image, error) {
	ctx = s.context(ctx)
	lang, err := s.lookup(language)
	if err != nil {
		return Image{}, fmt.Errorf("import image: %w", err)
	}
	unlock, err := s.changing.lock(ctx, lang.Name)
	if err != nil {
		return Image{}, fmt.Errorf("import image of %s: %w", lang.Name, err)
	}
	defer unlock()
	ctx, release, err := s.lease(ctx, leases.WithRandomID())
	if err != nil {
		return Image{}, fmt.Errorf("import image of %s: %w", lang.Name, err)
	}
	defer release()

	report := &reporter{fn: progress}
	bounded := &boundedReader{r: r, bounds: s.opts.Bounds}
	count := &countingReader{r: bounded, count: func(n int64) { report.report(Event{Stage: StageFetch, Done: n}) }}
	store := newIngests(s.client.ContentStore())
	root, err := archive.ImportIndex(ctx, store, count)
	if err != nil {
		cleanup, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTime)
		defer cancel()
		if err := store.abort(cleanup); err != nil {
			s.opts.Log.WarnContext(ctx, "a part of an import was left behind; containerd removes it within a day", "error", err)
		}
		return Image{}, fmt.Errorf("import image of %s: %w", lang.Name, badArchive(ctx, err))
	}
	manifests, err := manifestsOf(ctx, store, root)
	if err != nil {
		return Image{}, fmt.Errorf("import image of %s: %w", lang.Name, badArchive(ctx, err))
	}
	best, err := choose(manifests, platforms.Default(), platforms.DefaultString())
	if err != nil {
		return Image{}, fmt.Errorf("import image of %s: %w", lang.Name, err)
	}
	if len(best) > 1 {
		return Image{}, fmt.Errorf("import image of %s: the archive holds %d images for %s; save the one to import alone: %w",
			lang.Name, len(best), platforms.DefaultString(), errdefs.ErrInvalidArgument)
	}
	manifest := plain(best[0])
	// The content store would not notice what the archive lacks before the
	// image is unpacked.
	_, _, _, missing, err := ctrimages.Check(ctx, store, manifest, platforms.Default())
	if err == nil && len(missing) > 0 {
		err = fmt.Errorf("%s: %w", missing[0].Digest, errdefs.ErrNotFound)
	}
	if err != nil {
		return Image{}, fmt.Errorf("import image of %s: %w", lang.Name, badArchive(ctx, err))
	}
	// The labels keep configuration and layers for as long as the manifest.
	err = ctrimages.Walk(ctx, ctrimages.SetChildrenLabels(store, ctrimages.ChildrenHandler(store)), manifest)
	if err != nil {
		return Image{}, fmt.Errorf("import image of %s: %w", lang.Name, badArchive(ctx, err))
	}
	if err := s.opts.Bounds.check(ctx, store, manifest); err != nil {
		return Image{}, fmt.Errorf("import image of %s: %w", lang.Name, err)
	}
	return s.publish(ctx, lang, manifest, map[string]string{labelSource: "import"}, report)
}

// badArchive explains an error from reading an archive.
func badArchive(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if large := (*tooLargeError)(nil); errors.As(err, &large) {
		return large.bounds.exceeded()
	}
	if errdefs.IsNotFound(err) {
		return fmt.Errorf("a part of the archive is missing: %w: %w", err, errdefs.ErrInvalidArgument)
	}
	return fmt.Errorf("this is no OCI or Docker archive of an image, or it is damaged: %w: %w", err, errdefs.ErrInvalidArgument)
}

// tooLargeError is an archive that exceeds the bounds by itself.
type tooLargeError struct{ bounds Bounds }

func (e *tooLargeError) Error() string { return e.bounds.exceeded().Error() }

// boundedReader reads as much as the bounds allow.
type boundedReader struct {
	r      io.Reader
	bounds Bounds
	total  int64
}

func (b *boundedReader) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if b.total += int64(n); b.total > b.bounds.Bytes {
		return 0, &tooLargeError{b.bounds}
	}
	return n, err
}

// countingReader counts what is read.
type countingReader struct {
	r     io.Reader
	count func(total int64)
	total int64
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	if n > 0 {
		c.total += int64(n)
		c.count(c.total)
	}
	return n, err
}

package images

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/containerd/containerd/v2/core/content"
	ctrimages "github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/pkg/archive/compression"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Bounds are the most that an image from elsewhere may take. Its author is not
// trusted with the disk: what an archive or a manifest says of its size does not count.
type Bounds struct {
	// Bytes are of the archive, and of the files once they are unpacked; 16 GiB.
	Bytes int64
	// Files are the files of all layers; a million.
	Files int64
}

func (b Bounds) withDefaults() Bounds {
	if b.Bytes == 0 {
		b.Bytes = 16 << 30
	}
	if b.Files == 0 {
		b.Files = 1 << 20
	}
	return b
}

// exceeded is an image that takes more.
func (b Bounds) exceeded() error {
	return fmt.Errorf("it takes more than %d MiB, which --image-limit-mb allows, or more than %d files unpacked: %w", b.Bytes>>20, b.Files, errdefs.ErrInvalidArgument)
}

// check unpacks an image's layers to nowhere, to see what they take.
func (b Bounds) check(ctx context.Context, store content.Store, manifest ocispec.Descriptor) error {
	m, err := ctrimages.Manifest(ctx, store, manifest, platforms.Default())
	if err != nil {
		return err
	}
	left := b
	for _, layer := range m.Layers {
		if err := left.take(ctx, store, layer); err != nil {
			return fmt.Errorf("layer %s: %w", layer.Digest, err)
		}
		if left.Bytes < 0 || left.Files < 0 {
			return b.exceeded()
		}
	}
	return nil
}

// take takes off what a layer needs, and stops where nothing is left.
func (b *Bounds) take(ctx context.Context, store content.Store, layer ocispec.Descriptor) error {
	blob, err := store.ReaderAt(ctx, layer)
	if err != nil {
		return err
	}
	defer blob.Close()
	stream, err := compression.DecompressStream(content.NewReader(blob))
	if err != nil {
		return fmt.Errorf("%w: %w", err, errdefs.ErrInvalidArgument)
	}
	defer stream.Close()
	files := tar.NewReader(&contextReader{ctx, stream})
	for b.Bytes >= 0 && b.Files >= 0 {
		h, err := files.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%w: %w", err, errdefs.ErrInvalidArgument)
		}
		b.Files--
		b.Bytes -= h.Size // of a sparse file, with its holes: unpacking fills them
	}
	return nil
}

// contextReader reads until ctx ends.
type contextReader struct {
	ctx context.Context //nolint:containedctx // a reader has no other way to get it
	r   io.Reader
}

func (c *contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

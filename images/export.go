package images

import (
	"context"
	"fmt"
	"io"

	"github.com/containerd/containerd/v2/core/images/archive"
	"github.com/containerd/platforms"
)

// Export writes the image of a language to w, as an archive of OCI's layout for this
// host's platform, which Import takes. A language without an image is an
// errdefs.ErrNotFound.
func (s *Store) Export(ctx context.Context, language string, w io.Writer) (Image, error) {
	ctx = s.context(ctx)
	image, err := s.Resolve(ctx, language)
	if err != nil {
		return Image{}, fmt.Errorf("export image: %w", err)
	}
	err = s.client.Export(ctx, w, archive.WithImage(s.client.ImageService(), image.Name),
		archive.WithPlatform(platforms.DefaultStrict()), archive.WithSkipDockerManifest())
	if err != nil {
		return Image{}, fmt.Errorf("export image of %s: %w", image.Language, err)
	}
	return image, nil
}

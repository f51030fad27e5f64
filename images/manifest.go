package images

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"time"

	digest "github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Labels of our names in containerd's image store. Those of a built image are
// in its configuration and annotations as well.
const (
	labelLanguage = "org.codebeaker.language"
	labelVersion  = "org.codebeaker.version"
	labelRecipe   = "org.codebeaker.recipe"
	labelSource   = "org.codebeaker.source"
)

// layer is what Build makes of a root file system, or of what it has beside
// another.
type layer struct {
	// Blob is the compressed layer in the content store.
	Blob ocispec.Descriptor
	// DiffID is the digest of the layer before compression.
	DiffID digest.Digest
}

// blob is content with its descriptor.
type blob struct {
	ocispec.Descriptor
	Bytes []byte
	// Labels are the ones to store it with.
	Labels map[string]string
}

// manifestOf returns the configuration and the manifest of a built image: the
// base's layer below the language's own. version is that of the toolchain. They
// are the same bytes for the same arguments.
func manifestOf(lang Language, base, own layer, version string, platform ocispec.Platform) (config, manifest blob, err error) {
	r := lang.recipe
	created := time.Unix(r.Base.Epoch, 0).UTC()
	about := map[string]string{
		labelLanguage: lang.Name,
		labelVersion:  version,
		labelRecipe:   r.digest().String(),
	}
	config, err = encode(ocispec.MediaTypeImageConfig, ocispec.Image{
		Created:  &created,
		Platform: platform,
		Config: ocispec.ImageConfig{
			User:       sandboxID + ":" + sandboxID,
			Env:        r.Env,
			Cmd:        []string{"/bin/bash"},
			WorkingDir: workspace,
			Labels:     about,
		},
		RootFS: ocispec.RootFS{Type: "layers", DiffIDs: []digest.Digest{base.DiffID, own.DiffID}},
		History: []ocispec.History{
			{Created: &created, CreatedBy: "codebeaker images build"},
			{Created: &created, CreatedBy: "codebeaker images build " + lang.Name},
		},
	})
	if err != nil {
		return blob{}, blob{}, err
	}
	manifest, err = encode(ocispec.MediaTypeImageManifest, ocispec.Manifest{
		Versioned:   specs.Versioned{SchemaVersion: 2},
		MediaType:   ocispec.MediaTypeImageManifest,
		Config:      config.Descriptor,
		Layers:      []ocispec.Descriptor{base.Blob, own.Blob},
		Annotations: about,
	})
	if err != nil {
		return blob{}, blob{}, err
	}
	manifest.Labels = map[string]string{
		"containerd.io/gc.ref.content.config": config.Digest.String(),
		"containerd.io/gc.ref.content.l.0":    base.Blob.Digest.String(),
		"containerd.io/gc.ref.content.l.1":    own.Blob.Digest.String(),
	}
	return config, manifest, nil
}

// encode makes content of a document.
func encode(mediaType string, document any) (blob, error) {
	b, err := json.Marshal(document)
	if err != nil {
		return blob{}, fmt.Errorf("encode %s: %w", mediaType, err)
	}
	return blob{
		Descriptor: ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(b), Size: int64(len(b))},
		Bytes:      b,
	}, nil
}

func (b blob) reader() io.Reader { return bytes.NewReader(b.Bytes) }

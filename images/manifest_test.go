package images

import (
	"bytes"
	"encoding/json"
	"slices"
	"testing"

	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func TestManifestOf(t *testing.T) {
	lang, _ := NewCatalogue().Lookup("python")
	layerOf := func(name string) layer {
		return layer{
			Blob:   ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayerZstd, Digest: digest.FromString(name), Size: 4},
			DiffID: digest.FromString(name + " unpacked"),
		}
	}
	base, own := layerOf("base"), layerOf("own")
	platform := ocispec.Platform{OS: "linux", Architecture: "amd64"}
	config, manifest, err := manifestOf(lang, base, own, "3.13.5", platform)
	if err != nil {
		t.Fatal(err)
	}
	config2, manifest2, err := manifestOf(lang, base, own, "3.13.5", platform)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(config.Bytes, config2.Bytes) || !bytes.Equal(manifest.Bytes, manifest2.Bytes) {
		t.Error("the same image is other bytes the second time")
	}

	var c ocispec.Image
	if err := json.Unmarshal(config.Bytes, &c); err != nil {
		t.Fatal(err)
	}
	if c.OS != "linux" || c.Architecture != "amd64" || c.Config.User != "1000:1000" || c.Config.WorkingDir != "/workspace" {
		t.Errorf("configuration is %s", config.Bytes)
	}
	if c.Created.Unix() != lang.recipe.Base.Epoch {
		t.Errorf("created at %s; want the recipe's epoch", c.Created)
	}
	if !slices.Equal(c.RootFS.DiffIDs, []digest.Digest{base.DiffID, own.DiffID}) {
		t.Errorf("layers are %v; want %s and %s", c.RootFS.DiffIDs, base.DiffID, own.DiffID)
	}
	var m ocispec.Manifest
	if err := json.Unmarshal(manifest.Bytes, &m); err != nil {
		t.Fatal(err)
	}
	if m.Config.Digest != digest.FromBytes(config.Bytes) || len(m.Layers) != 2 || m.Layers[0].Digest != base.Blob.Digest || m.Layers[1].Digest != own.Blob.Digest {
		t.Errorf("manifest is %s", manifest.Bytes)
	}
	for _, about := range []map[string]string{c.Config.Labels, m.Annotations} {
		if about[labelLanguage] != "python" || about[labelVersion] != "3.13.5" || about[labelRecipe] != lang.RecipeDigest().String() {
			t.Errorf("labels are %v", about)
		}
	}
	// What has no label here is collected as soon as the lease ends.
	for label, want := range map[string]digest.Digest{
		"containerd.io/gc.ref.content.config": m.Config.Digest,
		"containerd.io/gc.ref.content.l.0":    base.Blob.Digest,
		"containerd.io/gc.ref.content.l.1":    own.Blob.Digest,
	} {
		if got := manifest.Labels[label]; got != want.String() {
			t.Errorf("label %s is %q; want %s", label, got, want)
		}
	}
}

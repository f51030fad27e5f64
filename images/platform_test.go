package images

import (
	"errors"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// on returns a manifest for a platform; its digest is that of its name.
func on(t *testing.T, name, platform string) ocispec.Descriptor {
	t.Helper()
	p, err := platforms.Parse(platform)
	if err != nil {
		t.Fatal(err)
	}
	return ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromString(name), Platform: &p}
}

func TestChooseManifestForHost(t *testing.T) {
	const host = "linux/arm64"
	matcher := platforms.Only(platforms.MustParse(host))
	attestation := on(t, "attestation", "linux/amd64")
	attestation.Platform = &ocispec.Platform{OS: "unknown", Architecture: "unknown"}
	for _, tc := range []struct {
		name      string
		manifests []ocispec.Descriptor
		want      []string
		text      string
	}{
		{"one of many", []ocispec.Descriptor{on(t, "a", "linux/amd64"), on(t, "b", host), attestation}, []string{"b"}, ""},
		{"best of two", []ocispec.Descriptor{on(t, "a", "linux/arm/v7"), on(t, "b", host)}, []string{"b"}, ""},
		{"two alike", []ocispec.Descriptor{on(t, "a", host), on(t, "b", host)}, []string{"a", "b"}, ""},
		{"wrong platform", []ocispec.Descriptor{on(t, "a", "linux/amd64"), attestation, on(t, "b", "windows/amd64")}, nil, "linux/amd64, windows/amd64, and this host takes linux/arm64"},
		{"attestation alone", []ocispec.Descriptor{attestation}, nil, "no image"},
		{"nothing", nil, nil, "no image"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := choose(tc.manifests, matcher, host)
			if tc.text != "" {
				if !errors.Is(err, errdefs.ErrInvalidArgument) || !strings.Contains(err.Error(), tc.text) {
					t.Errorf("error is %v; want an invalid argument with %q", err, tc.text)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if len(got) != len(tc.want) {
				t.Fatalf("chose %d; want %d", len(got), len(tc.want))
			}
			for i, want := range tc.want {
				if got[i].Digest != digest.FromString(want) {
					t.Errorf("choice %d is another than %s", i, want)
				}
			}
		})
	}
}

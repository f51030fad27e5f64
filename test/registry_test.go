package test

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// blobs are the content of an image in a registry or an archive.
type blobs struct {
	by       map[string][]byte // by digest, or by tag
	manifest string            // the digest of the manifest that was built last
}

func newBlobs() *blobs { return &blobs{by: make(map[string][]byte)} }

func (b *blobs) add(data []byte) (digest string) {
	b.by[sha(data)] = data
	return sha(data)
}

// build adds configuration and manifest for a layer, and returns the manifest's
// descriptor. The layer itself is the caller's to add.
func (b *blobs) build(t *testing.T, platform string, layer []byte) map[string]any {
	t.Helper()
	goos, arch, _ := strings.Cut(platform, "/")
	config := mustJSON(t, map[string]any{
		"os": goos, "architecture": arch, "config": map[string]any{"Env": []string{"ON=" + platform}},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{sha(layer)}},
	})
	const mediaType = "application/vnd.oci.image."
	manifest := mustJSON(t, map[string]any{
		"schemaVersion": 2, "mediaType": mediaType + "manifest.v1+json",
		"config": map[string]any{"mediaType": mediaType + "config.v1+json", "digest": b.add(config), "size": len(config)},
		"layers": []any{map[string]any{"mediaType": mediaType + "layer.v1.tar", "digest": sha(layer), "size": len(layer)}},
	})
	b.manifest = b.add(manifest)
	return map[string]any{
		"mediaType": mediaType + "manifest.v1+json", "digest": b.manifest, "size": len(manifest),
		"platform": map[string]any{"os": goos, "architecture": arch},
	}
}

// archive writes an OCI archive of an image for a platform, with its layer only
// where that was added.
func (b *blobs) archive(t *testing.T, platform string) string {
	t.Helper()
	index := mustJSON(t, map[string]any{"schemaVersion": 2, "manifests": []any{b.build(t, platform, newLayer(t))}})
	files := []any{"oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`), "index.json", index}
	for digest, data := range b.by {
		files = append(files, "blobs/sha256/"+strings.TrimPrefix(digest, "sha256:"), data)
	}
	path := filepath.Join(t.TempDir(), "image.tar")
	if err := os.WriteFile(path, tarFiles(t, files...), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// ServeHTTP is a registry with the image lib/image:index, for two platforms,
// and lib/other:index, for none of ours.
func (b *blobs) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name := r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]
	if strings.Contains(r.URL.Path, "/private/") {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	if strings.Contains(r.URL.Path, "/lib/other/manifests/index") {
		name = "other"
	}
	data, ok := b.by[name]
	if !ok {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	mediaType := "application/octet-stream"
	if strings.Contains(r.URL.Path, "/manifests/") {
		var m struct{ MediaType string }
		if json.Unmarshal(data, &m) == nil {
			mediaType = m.MediaType
		}
	}
	w.Header().Set("Content-Type", mediaType)
	w.Header().Set("Docker-Content-Digest", sha(data))
	w.Header().Set("Content-Length", fmt.Sprint(len(data)))
	if r.Method != http.MethodHead {
		_, _ = w.Write(data) // the client may have gone
	}
}

// newLayer is a layer with one directory and one file.
func newLayer(t *testing.T) []byte {
	t.Helper()
	return tarFiles(t, "etc/motd", []byte("hello\n"))
}

// tarFiles makes a tar stream of names and contents.
func tarFiles(t *testing.T, namesAndContents ...any) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for pair := range slices.Chunk(namesAndContents, 2) {
		name, _ := pair[0].(string)
		data, _ := pair[1].([]byte)
		if err := w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(data))}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(w, bytes.NewReader(data)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func mustJSON(t *testing.T, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func sha(b []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(b)) }

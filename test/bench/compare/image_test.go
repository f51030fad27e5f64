package compare

import (
	"archive/tar"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestDockerArchiveNamesWhatItHolds(t *testing.T) {
	dir := t.TempDir()
	layer, archive := filepath.Join(dir, "layer.tar"), filepath.Join(dir, "docker.tar")
	if err := os.WriteFile(layer, []byte("a layer"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := writeDockerArchive(archive, []byte(`{"os":"linux"}`), []string{layer, layer}); err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	held := map[string]string{}
	for r := tar.NewReader(file); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		held[h.Name] = string(text)
	}
	var list []dockerManifest
	if err := json.NewDecoder(strings.NewReader(held["manifest.json"])).Decode(&list); err != nil {
		t.Fatal(err)
	}
	if len(list) != 1 || len(list[0].Layers) != 2 || held[list[0].Config] != `{"os":"linux"}` || list[0].RepoTags[0] != dockerImage {
		t.Fatalf("the list is %+v, of %v", list, held)
	}
	for _, l := range list[0].Layers {
		if held[l] != "a layer" {
			t.Errorf("layer %s is %q", l, held[l])
		}
	}
}

package bench

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/content"
	ctrimages "github.com/containerd/containerd/v2/core/images"
	imagearchive "github.com/containerd/containerd/v2/core/images/archive"
	"github.com/containerd/containerd/v2/pkg/archive"
	"github.com/containerd/containerd/v2/pkg/archive/compression"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/platforms"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// dockerImage is what the image is called in Docker.
const dockerImage = "codebeaker-bench:latest"

// Image is the image of all sandboxes, in the forms that subjects take.
type Image struct {
	// Archive is of OCI's layout.
	Archive string
	// DockerArchive is what every Docker loads: older ones know neither OCI's
	// layout nor zstd.
	DockerArchive string
	// Rootfs is its tree.
	Rootfs string
	// Env is the environment that it is configured with.
	Env []string
}

// ExportImage puts an image of containerd below dir, in all forms.
func ExportImage(ctx context.Context, client *containerd.Client, name, dir string) (_ Image, retErr error) {
	defer func() {
		if retErr != nil {
			retErr = fmt.Errorf("export image %s: %w", name, retErr)
		}
	}()
	ctx = namespaces.WithNamespace(ctx, client.DefaultNamespace())
	image := Image{
		Archive: filepath.Join(dir, "image.tar"), DockerArchive: filepath.Join(dir, "docker.tar"), Rootfs: filepath.Join(dir, "rootfs"),
	}
	out, err := os.OpenFile(image.Archive, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return Image{}, err
	}
	defer out.Close()
	err = client.Export(ctx, out, imagearchive.WithImage(client.ImageService(), name),
		imagearchive.WithPlatform(platforms.DefaultStrict()), imagearchive.WithSkipDockerManifest())
	if err != nil {
		return Image{}, err
	}
	if err := out.Close(); err != nil {
		return Image{}, err
	}

	found, err := client.ImageService().Get(ctx, name)
	if err != nil {
		return Image{}, err
	}
	store := client.ContentStore()
	manifest, err := ctrimages.Manifest(ctx, store, found.Target, platforms.Default())
	if err != nil {
		return Image{}, err
	}
	config, err := content.ReadBlob(ctx, store, manifest.Config)
	if err != nil {
		return Image{}, err
	}
	var parsed ocispec.Image
	if err := json.Unmarshal(config, &parsed); err != nil {
		return Image{}, err
	}
	image.Env = parsed.Config.Env
	layers := make([]string, 0, len(manifest.Layers))
	for i, layer := range manifest.Layers {
		path := filepath.Join(dir, fmt.Sprintf("layer%d.tar", i))
		if err := unpackLayer(ctx, store, layer, path, image.Rootfs); err != nil {
			return Image{}, err
		}
		layers = append(layers, path)
	}
	if err := writeDockerArchive(image.DockerArchive, config, layers); err != nil {
		return Image{}, err
	}
	for _, layer := range layers {
		if err := os.Remove(layer); err != nil {
			return Image{}, err
		}
	}
	return image, nil
}

// unpackLayer writes a layer without its compression to path, and applies it to
// the tree at rootfs.
func unpackLayer(ctx context.Context, store content.Store, layer ocispec.Descriptor, path, rootfs string) error {
	blob, err := store.ReaderAt(ctx, layer)
	if err != nil {
		return err
	}
	defer blob.Close()
	plain, err := compression.DecompressStream(content.NewReader(blob))
	if err != nil {
		return err
	}
	defer plain.Close()
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer file.Close()
	if _, err := io.Copy(file, plain); err != nil {
		return err
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	if err := os.MkdirAll(rootfs, 0o755); err != nil {
		return err
	}
	_, err = archive.Apply(ctx, rootfs, file)
	return err
}

// writeDockerArchive writes what docker load takes: the configuration, the
// layers, and a list that names them.
func writeDockerArchive(path string, config []byte, layers []string) (retErr error) {
	out, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err := out.Close(); retErr == nil {
			retErr = err
		}
	}()
	w := tar.NewWriter(out)
	list := []dockerManifest{{Config: "config.json", RepoTags: []string{dockerImage}}}
	for i, layer := range layers {
		name := fmt.Sprintf("layer%d/layer.tar", i)
		if err := putFile(w, name, layer); err != nil {
			return err
		}
		list[0].Layers = append(list[0].Layers, name)
	}
	manifest, err := json.Marshal(list)
	if err != nil {
		return err
	}
	if err := putBytes(w, "config.json", config); err != nil {
		return err
	}
	if err := putBytes(w, "manifest.json", manifest); err != nil {
		return err
	}
	return w.Close()
}

func putFile(w *tar.Writer, name, path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	return put(w, name, info.Size(), file)
}

func putBytes(w *tar.Writer, name string, text []byte) error {
	return put(w, name, int64(len(text)), bytes.NewReader(text))
}

func put(w *tar.Writer, name string, size int64, r io.Reader) error {
	err := w.WriteHeader(&tar.Header{
		Name: name, Typeflag: tar.TypeReg, Mode: 0o644, Size: size, ModTime: time.Unix(0, 0), Uid: userID, Gid: userID,
	})
	if err != nil {
		return err
	}
	_, err = io.Copy(w, r)
	return err
}

// dockerManifest is an image of a Docker archive.
type dockerManifest struct {
	Config   string
	RepoTags []string
	Layers   []string
}

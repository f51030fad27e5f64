package compare

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

	"github.com/containerd/containerd/v2/core/content"
	ctrimages "github.com/containerd/containerd/v2/core/images"
	imagearchive "github.com/containerd/containerd/v2/core/images/archive"
	"github.com/containerd/containerd/v2/pkg/archive"
	"github.com/containerd/containerd/v2/pkg/archive/compression"
	"github.com/containerd/containerd/v2/plugins/content/local"
	"github.com/containerd/platforms"
	"github.com/opencontainers/go-digest"
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
	// Digest is that of its configuration.
	Digest digest.Digest
}

// UnpackImage puts an archive of OCI's layout, which has one image for this host's
// platform, below dir in all forms. The archive stays the caller's.
func UnpackImage(ctx context.Context, file, dir string) (_ Image, retErr error) {
	defer func() {
		if retErr != nil {
			retErr = fmt.Errorf("unpack image %s: %w", file, retErr)
		}
	}()
	image := Image{Archive: file, DockerArchive: filepath.Join(dir, "docker.tar"), Rootfs: filepath.Join(dir, "rootfs")}
	in, err := os.Open(file)
	if err != nil {
		return Image{}, err
	}
	defer in.Close()
	blobs := filepath.Join(dir, "content")
	store, err := local.NewStore(blobs)
	if err != nil {
		return Image{}, err
	}
	index, err := imagearchive.ImportIndex(ctx, store, in)
	if err != nil {
		return Image{}, err
	}
	config, layers, err := image.unpack(ctx, store, index, dir)
	if err != nil {
		return Image{}, err
	}
	if err := writeDockerArchive(image.DockerArchive, config, layers); err != nil {
		return Image{}, err
	}
	for _, made := range append(layers, blobs) {
		if err := os.RemoveAll(made); err != nil {
			return Image{}, err
		}
	}
	return image, nil
}

// unpack unpacks the layers to the image's tree, and returns its configuration and
// the files with its layers.
func (i *Image) unpack(ctx context.Context, store content.Store, index ocispec.Descriptor, dir string) (config []byte, layers []string, _ error) {
	manifest, err := ctrimages.Manifest(ctx, store, index, platforms.Default())
	if err != nil {
		return nil, nil, err
	}
	if config, err = content.ReadBlob(ctx, store, manifest.Config); err != nil {
		return nil, nil, err
	}
	var parsed ocispec.Image
	if err := json.Unmarshal(config, &parsed); err != nil {
		return nil, nil, err
	}
	i.Env, i.Digest = parsed.Config.Env, manifest.Config.Digest
	for n, layer := range manifest.Layers {
		path := filepath.Join(dir, fmt.Sprintf("layer%d.tar", n))
		if err := unpackLayer(ctx, store, layer, path, i.Rootfs); err != nil {
			return nil, nil, err
		}
		layers = append(layers, path)
	}
	return config, layers, nil
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

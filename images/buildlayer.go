package images

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/pkg/archive/compression"
	"github.com/containerd/containerd/v2/pkg/labels"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// baseFile is the base's root file system, in its build's directory.
const baseFile = "base.tar"

// buildBaseLayer makes the base's root file system, as a file with all that
// installing more takes and as a layer without that.
func (s *Store) buildBaseLayer(ctx context.Context, r *baseRecipe, b *base, dir *buildDir, report *reporter) (l layer, all tree, retErr error) {
	if err := s.writeAptConfig(ctx, dir); err != nil {
		return layer{}, nil, err
	}
	if _, err := os.Stat(keyring); err != nil {
		return layer{}, nil, fmt.Errorf("find the keys of Debian's archive: %w; run: apt-get install debian-archive-keyring: %w", err, errdefs.ErrFailedPrecondition)
	}
	file, err := os.OpenFile(b.path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return layer{}, nil, fmt.Errorf("store the base: %w", err)
	}
	defer func() { retErr = errors.Join(retErr, file.Close()) }()
	l, _, err = s.storeLayer(ctx, dir, baseArguments(r, b.from), environment(r, dir.path, os.Environ()), report,
		func(w io.Writer, rootfs io.Reader) (status []byte, err error) {
			all, status, err = canonicalize(w, io.TeeReader(rootfs, file), layerRules{Epoch: r.Epoch, Private: r.Private}, nil)
			return status, err
		})
	return l, all, err
}

// buildLanguageLayer installs a recipe's packages into the base, and makes a
// layer of what is other than there. It returns the version of the toolchain,
// too.
func (s *Store) buildLanguageLayer(ctx context.Context, r *recipe, b *base, dir *buildDir, report *reporter) (layer, string, error) {
	env := append(environment(&r.Base, dir.path, os.Environ()), baseVariable+"="+b.path)
	l, status, err := s.storeLayer(ctx, dir, languageArguments(r, b.from), env, report,
		func(w io.Writer, rootfs io.Reader) ([]byte, error) {
			_, status, err := canonicalize(w, rootfs, layerRules{Epoch: r.Base.Epoch, Caches: r.Caches}, b.tree)
			return status, err
		})
	return l, packageVersion(status, r.VersionOf), err
}

// storeLayer runs mmdebstrap and stores what pack makes of the root file system
// that it writes. pack returns dpkg's status file, and so does storeLayer.
func (s *Store) storeLayer(ctx context.Context, dir *buildDir, args, env []string, report *reporter,
	pack func(w io.Writer, rootfs io.Reader) (status []byte, err error),
) (_ layer, status []byte, retErr error) {
	store := s.client.ContentStore()
	ref := dir.id + "-layer"
	w, err := content.OpenWriter(ctx, store, content.WithRef(ref), content.WithDescriptor(ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayerZstd}))
	if err != nil {
		return layer{}, nil, fmt.Errorf("store layer: %w", err)
	}
	defer func() {
		w.Close()
		if retErr == nil {
			return
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTime)
		defer cancel()
		if err := store.Abort(ctx, ref); err != nil && !errdefs.IsNotFound(err) {
			s.opts.Log.WarnContext(ctx, "a part of a layer was left behind; containerd removes it within a day", "error", err)
		}
	}()

	diffID := digest.Canonical.Digester()
	consume := func(rootfs io.Reader) error {
		z, err := compression.CompressStream(w, compression.Zstd)
		if err != nil {
			return fmt.Errorf("compress layer: %w", err)
		}
		counted := &countingReader{r: rootfs, count: func(n int64) { report.report(Event{Stage: StageLayer, Done: n}) }}
		status, err = pack(io.MultiWriter(diffID.Hash(), z), counted)
		return errors.Join(err, z.Close())
	}
	line := func(l string) {
		if text, ok := parseLine(l); ok {
			report.report(Event{Stage: StagePackages, Message: text})
		}
		if text, ok := strings.CutPrefix(l, "W: "); ok {
			s.opts.Log.InfoContext(ctx, "a warning of mmdebstrap", "warning", text)
		}
	}
	if err := runMmdebstrap(ctx, s.opts.Mmdebstrap, args, env, dir, consume, line); err != nil {
		return layer{}, nil, err
	}
	if status == nil {
		return layer{}, nil, fmt.Errorf("install packages: mmdebstrap wrote no root file system: %w", errdefs.ErrUnknown)
	}

	st, err := w.Status()
	if err != nil {
		return layer{}, nil, fmt.Errorf("store layer: %w", err)
	}
	blobDigest := w.Digest()
	err = w.Commit(ctx, st.Offset, blobDigest, content.WithLabels(map[string]string{labels.LabelUncompressed: diffID.Digest().String()}))
	if err != nil && !errdefs.IsAlreadyExists(err) {
		return layer{}, nil, fmt.Errorf("store layer: %w", err)
	}
	return layer{
		Blob:   ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayerZstd, Digest: blobDigest, Size: st.Offset},
		DiffID: diffID.Digest(),
	}, status, nil
}

// writeImage stores the configuration and the manifest of an image.
func (s *Store) writeImage(ctx context.Context, lang Language, base, own layer, version string) (ocispec.Descriptor, error) {
	config, manifest, err := manifestOf(lang, base, own, version, platforms.DefaultSpec())
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	for _, b := range []blob{config, manifest} {
		err := content.WriteBlob(ctx, s.client.ContentStore(), b.Digest.String(), b.reader(), b.Descriptor, content.WithLabels(b.Labels))
		if err != nil {
			return ocispec.Descriptor{}, fmt.Errorf("store %s: %w", b.MediaType, err)
		}
	}
	return manifest.Descriptor, nil
}

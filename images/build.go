package images

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/pkg/archive/compression"
	"github.com/containerd/containerd/v2/pkg/labels"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Build makes a language's image from Debian packages. It takes root, and
// about a minute. The same recipe and the same packages in the mirror make an
// image of the same digest, on any host, with the same release of CodeBeaker,
// as that decides how the layer is compressed.
//
// It fails with ErrNotImplemented where the language has no recipe.
func (s *Store) Build(ctx context.Context, language string, progress Progress) (_ Image, retErr error) {
	ctx = s.context(ctx)
	lang, err := s.lookup(language)
	if err != nil {
		return Image{}, fmt.Errorf("build image: %w", err)
	}
	if !lang.Buildable() {
		return Image{}, fmt.Errorf("build image of %s: this release can build %s; run: codebeaker images %s: %w",
			lang.Name, s.buildable(), howToGet(lang), errdefs.ErrNotImplemented)
	}
	defer func() {
		if retErr != nil {
			retErr = fmt.Errorf("build image of %s: %w", lang.Name, retErr)
		}
	}()
	unlock, err := s.changing.lock(ctx, lang.Name)
	if err != nil {
		return Image{}, err
	}
	defer unlock()

	s.clean(ctx)
	dir, err := newBuildDir(s.opts.BuildDir)
	if err != nil {
		return Image{}, err
	}
	defer func() {
		if err := dir.remove(); err != nil {
			s.opts.Log.WarnContext(ctx, "a build directory was not removed; the next build tries again", "directory", dir.path, "error", err)
		}
	}()
	ctx, release, err := s.lease(ctx, leases.WithID(dir.id))
	if err != nil {
		return Image{}, err
	}
	defer release()

	report := &reporter{fn: progress}
	l, err := s.buildLayer(ctx, lang.recipe, dir, report)
	if err != nil {
		return Image{}, err
	}
	manifest, err := s.writeImage(ctx, lang, l)
	if err != nil {
		return Image{}, err
	}
	return s.publish(ctx, lang, manifest, map[string]string{
		labelSource:  "build",
		labelVersion: l.Version,
		labelRecipe:  lang.RecipeDigest().String(),
	}, report)
}

// buildable names the languages that Build can make.
func (s *Store) buildable() string {
	var names []string
	for _, l := range s.opts.Catalogue.Languages() {
		if l.Buildable() {
			names = append(names, l.Name)
		}
	}
	return strings.Join(names, ", ")
}

// clean removes what killed builders left. Failing to is no reason not to
// build.
func (s *Store) clean(ctx context.Context) {
	ids, err := removeStale(s.opts.BuildDir)
	if err != nil {
		s.opts.Log.WarnContext(ctx, "what a killed build left was not removed", "error", err)
	}
	for _, id := range ids {
		s.opts.Log.InfoContext(ctx, "removed what a killed build left", "build", id)
		if err := s.client.LeasesService().Delete(ctx, leases.Lease{ID: id}); err != nil && !errdefs.IsNotFound(err) {
			s.opts.Log.WarnContext(ctx, "the lease of a killed build was not removed; it ends within a day", "lease", id, "error", err)
		}
	}
}

// buildLayer makes the recipe's root file system and stores it as a layer.
func (s *Store) buildLayer(ctx context.Context, r *recipe, dir *buildDir, report *reporter) (_ layer, retErr error) {
	report.report(Event{Stage: StagePackages, Message: "looking for mirrors"})
	m, err := s.mirrors(ctx)
	if err != nil {
		return layer{}, err
	}
	if err := s.writeAptConfig(ctx, dir); err != nil {
		return layer{}, err
	}
	if _, err := os.Stat(keyring); err != nil {
		return layer{}, fmt.Errorf("find the keys of Debian's archive: %w; run: apt-get install debian-archive-keyring: %w", err, errdefs.ErrFailedPrecondition)
	}

	store := s.client.ContentStore()
	ref := dir.id + "-layer"
	w, err := content.OpenWriter(ctx, store, content.WithRef(ref), content.WithDescriptor(ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayerZstd}))
	if err != nil {
		return layer{}, fmt.Errorf("store layer: %w", err)
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

	var (
		diffID = digest.Canonical.Digester()
		status []byte
		size   int64
	)
	consume := func(rootfs io.Reader) error {
		z, err := compression.CompressStream(w, compression.Zstd)
		if err != nil {
			return fmt.Errorf("compress layer: %w", err)
		}
		counted := &countingReader{r: rootfs, count: func(n int64) { report.report(Event{Stage: StageLayer, Done: n}) }}
		status, err = canonicalize(io.MultiWriter(diffID.Hash(), z), counted, r)
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
	err = runMmdebstrap(ctx, s.opts.Mmdebstrap, arguments(r, m), environment(r, dir.path, os.Environ()), dir, consume, line)
	if err != nil {
		return layer{}, err
	}
	if status == nil {
		return layer{}, fmt.Errorf("install packages: mmdebstrap wrote no root file system: %w", errdefs.ErrUnknown)
	}

	st, err := w.Status()
	if err != nil {
		return layer{}, fmt.Errorf("store layer: %w", err)
	}
	size = st.Offset
	blobDigest := w.Digest()
	err = w.Commit(ctx, size, blobDigest, content.WithLabels(map[string]string{labels.LabelUncompressed: diffID.Digest().String()}))
	if err != nil && !errdefs.IsAlreadyExists(err) {
		return layer{}, fmt.Errorf("store layer: %w", err)
	}
	return layer{
		Blob:    ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayerZstd, Digest: blobDigest, Size: size},
		DiffID:  diffID.Digest(),
		Version: packageVersion(status, r.VersionOf),
	}, nil
}

// writeImage stores the configuration and the manifest of a layer's image.
func (s *Store) writeImage(ctx context.Context, lang Language, l layer) (ocispec.Descriptor, error) {
	config, manifest, err := manifestOf(lang, l, platforms.DefaultSpec())
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

// mirrors returns the mirrors to build from.
func (s *Store) mirrors(ctx context.Context) (mirrors, error) {
	m := mirrors{Archive: s.opts.Mirror, Security: s.opts.SecurityMirror}
	if m.Archive != "" && m.Security != "" {
		return m, nil
	}
	out, err := output(ctx, "apt-get", "indextargets", "Created-By: Packages")
	if err != nil {
		return mirrors{}, fmt.Errorf("find mirrors: %w", err)
	}
	of := parseMirrors(out)
	for _, kind := range []struct {
		use                  *string
		host, standard, what string
	}{
		{&m.Archive, of.Archive, defaultArchive, "archive"},
		{&m.Security, of.Security, defaultSecurity, "security archive"},
	} {
		switch {
		case *kind.use != "":
		case kind.host != "":
			*kind.use = kind.host
		default:
			*kind.use = kind.standard
			s.opts.Log.InfoContext(ctx, "apt of this host has no mirror of Debian's "+kind.what+"; using "+kind.standard)
		}
	}
	return m, nil
}

// writeAptConfig puts the host's part of apt's configuration into a build
// directory.
func (s *Store) writeAptConfig(ctx context.Context, dir *buildDir) error {
	dump, err := output(ctx, "apt-config", "dump")
	if err != nil {
		return fmt.Errorf("read configuration of apt: %w", err)
	}
	if err := dir.write(hostConfigFile, aptConfig(dump)); err != nil {
		return fmt.Errorf("write configuration of apt: %w", err)
	}
	return nil
}

// output runs a program that only reports something.
func output(ctx context.Context, program string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
	out, err := cmd.Output()
	if err == nil {
		return out, nil
	}
	if errors.Is(err, exec.ErrNotFound) {
		return nil, fmt.Errorf("%s is not installed; images are built on Debian and its derivatives, or pulled: %w", program, errdefs.ErrFailedPrecondition)
	}
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return nil, fmt.Errorf("%s: %w: %s", program, err, strings.TrimSpace(string(exit.Stderr)))
	}
	return nil, fmt.Errorf("%s: %w", program, err)
}

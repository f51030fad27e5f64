package images

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/diff"
	ctrimages "github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	digest "github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/identity"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// imageConfig is what an image's manifest and configuration say.
type imageConfig struct {
	chainID string
	env     []string
	labels  map[string]string
	size    int64
	layers  int64 // bytes of the layers as stored
}

// publish is the last step of Build, Pull and Import: it unpacks an image and
// moves the language's name to it. The caller holds a lease and the language's
// lock.
func (s *Store) publish(ctx context.Context, lang Language, manifest ocispec.Descriptor, labels map[string]string, report *reporter) (Image, error) {
	labels[labelLanguage] = lang.Name
	img := ctrimages.Image{Name: ImageName(lang.Name), Target: manifest, Labels: labels}
	if err := s.unpack(ctx, img, report); err != nil {
		return Image{}, err
	}
	if labels[labelVersion] == "" {
		c, err := s.config(ctx, img)
		if err != nil {
			return Image{}, fmt.Errorf("read image of %s: %w", lang.Name, err)
		}
		if v := configVersion(lang, c); v != "" {
			labels[labelVersion] = v
		}
	}
	named, err := s.setName(ctx, img)
	if err != nil {
		return Image{}, fmt.Errorf("name image of %s: %w", lang.Name, err)
	}
	report.report(Event{Stage: StageDone, Message: named.Name + " is " + manifest.Digest.String()})
	return s.describe(ctx, named)
}

// setName moves a name to an image.
func (s *Store) setName(ctx context.Context, img ctrimages.Image) (ctrimages.Image, error) {
	store := s.client.ImageService()
	for {
		named, err := store.Update(ctx, img)
		if !errdefs.IsNotFound(err) {
			return named, err
		}
		named, err = store.Create(ctx, img)
		if !errdefs.IsAlreadyExists(err) {
			return named, err
		}
	}
}

// unpack unpacks an image that need not have its name yet.
func (s *Store) unpack(ctx context.Context, img ctrimages.Image, report *reporter) error {
	c, err := s.config(ctx, img)
	if err != nil {
		return fmt.Errorf("read image of %s: %w", img.Labels[labelLanguage], err)
	}
	var mu sync.Mutex
	done := make(map[digest.Digest]int64) // guarded by mu
	progress := func(l ocispec.Descriptor, n int64) {
		mu.Lock()
		defer mu.Unlock()
		done[l.Digest] = n
		e := Event{Stage: StageUnpack, Total: c.layers}
		for _, n := range done {
			e.Done += n
		}
		report.report(e)
	}
	report.report(Event{Stage: StageUnpack, Total: c.layers})
	err = containerd.NewImage(s.client, img).Unpack(ctx, s.opts.Snapshotter, func(_ context.Context, u *containerd.UnpackConfig) error {
		u.ApplyOpts = append(u.ApplyOpts, diff.WithProgress(progress))
		return nil
	})
	if err != nil {
		language := img.Labels[labelLanguage]
		if errdefs.IsNotFound(err) {
			return fmt.Errorf("unpack image of %s: a part of it is missing; build, pull or import it again: %w", language, err)
		}
		return fmt.Errorf("unpack image of %s: %w", language, err)
	}
	return nil
}

// config reads an image's manifest and configuration, once.
func (s *Store) config(ctx context.Context, img ctrimages.Image) (imageConfig, error) {
	s.mu.Lock()
	c, ok := s.configs[img.Target.Digest]
	s.mu.Unlock()
	if ok {
		return c, nil
	}
	store := s.client.ContentStore()
	m, err := ctrimages.Manifest(ctx, store, img.Target, platforms.Default())
	if err != nil {
		return imageConfig{}, err
	}
	b, err := content.ReadBlob(ctx, store, m.Config)
	if err != nil {
		return imageConfig{}, err
	}
	var config ocispec.Image
	if err := json.Unmarshal(b, &config); err != nil {
		return imageConfig{}, fmt.Errorf("configuration %s: %w: %w", m.Config.Digest, err, errdefs.ErrInvalidArgument)
	}
	c = imageConfig{
		chainID: identity.ChainID(config.RootFS.DiffIDs).String(),
		env:     config.Config.Env,
		labels:  config.Config.Labels,
	}
	for _, l := range m.Layers {
		c.layers += l.Size
	}
	c.size = c.layers + m.Config.Size + img.Target.Size
	s.mu.Lock()
	s.configs[img.Target.Digest] = c
	s.mu.Unlock()
	return c, nil
}

// configVersion returns the version of the toolchain as an image's
// configuration tells it: our own label, or the variable that the official
// image of the language sets.
func configVersion(lang Language, c imageConfig) string {
	if v := c.labels[labelVersion]; v != "" {
		return v
	}
	for _, kv := range c.env {
		if name, value, ok := strings.Cut(kv, "="); ok && name == lang.versionEnv {
			return value
		}
	}
	return ""
}

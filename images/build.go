package images

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	goruntime "runtime"
	"slices"
	"strings"
	"sync"

	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/errdefs"
)

// Build makes a language's image from Debian packages. It takes root, and
// about a minute. The same recipe and the same packages in the mirror make an
// image of the same digest, on any host, with the same release of CodeBeaker,
// as that decides how the layers are compressed.
//
// It fails with ErrNotImplemented where the language has no recipe.
func (s *Store) Build(ctx context.Context, language string, progress Progress) (Image, error) {
	built, err := s.BuildAll(ctx, []string{language}, func(string) Progress { return progress })
	if err != nil {
		return Image{}, err
	}
	return built[0], nil
}

// BuildAll makes the images of languages as Build does, twice as many at one
// time as the host has processors, as each waits for the network and the disk
// as well, and what they have in common once. progress returns
// what receives the events of a language, and of the common part for "".
//
// Where some builds fail, the images of the others are made all the same, and
// returned in the order of their languages. The error joins those of the
// languages, each of which names its own.
func (s *Store) BuildAll(ctx context.Context, languages []string, progress func(language string) Progress) ([]Image, error) {
	ctx = s.context(ctx)
	langs := make([]Language, 0, len(languages))
	names := make([]string, 0, len(languages))
	for _, name := range languages {
		lang, err := s.lookup(name)
		if err != nil {
			return nil, fmt.Errorf("build image: %w", err)
		}
		if !lang.Buildable() {
			return nil, fmt.Errorf("build image of %s: this release can build %s; run: codebeaker images %s: %w",
				lang.Name, s.buildable(), howToGet(lang), errdefs.ErrNotImplemented)
		}
		if !slices.Contains(names, lang.Name) {
			langs, names = append(langs, lang), append(names, lang.Name)
		}
	}
	if len(langs) == 0 {
		return nil, nil
	}
	s.clean(ctx)
	base, release, err := s.buildBase(ctx, &langs[0].recipe.Base, &reporter{fn: progress("")})
	if err != nil {
		return nil, fmt.Errorf("build image of %s: %w", strings.Join(names, ", "), err)
	}
	defer release()

	made, errs := make([]Image, len(langs)), make([]error, len(langs))
	var building sync.WaitGroup
	turns := make(chan struct{}, 2*goruntime.NumCPU())
	for i, lang := range langs {
		report := &reporter{fn: progress(lang.Name)}
		building.Go(func() {
			turns <- struct{}{}
			defer func() { <-turns }()
			if made[i], errs[i] = s.buildOn(ctx, base, lang, report); errs[i] != nil {
				errs[i] = fmt.Errorf("build image of %s: %w", lang.Name, errs[i])
			}
		})
	}
	building.Wait()
	var built []Image
	for i, image := range made {
		if errs[i] == nil {
			built = append(built, image)
		}
	}
	return built, errors.Join(errs...)
}

// base is the root file system that languages' images are built from.
type base struct {
	path  string // of its tar stream
	layer layer
	tree  tree
	from  mirrors
}

// buildBase makes it. The caller calls release when nothing is built from it
// any more.
func (s *Store) buildBase(ctx context.Context, r *baseRecipe, report *reporter) (_ *base, release func(), retErr error) {
	report.report(Event{Stage: StagePackages, Message: "looking for mirrors"})
	m, err := s.mirrors(ctx)
	if err != nil {
		return nil, nil, err
	}
	ctx, dir, end, err := s.newBuild(ctx)
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		if retErr != nil {
			end()
		}
	}()
	b := &base{path: filepath.Join(dir.path, baseFile), from: m}
	if b.layer, b.tree, err = s.buildBaseLayer(ctx, r, b, dir, report); err != nil {
		return nil, nil, err
	}
	return b, end, nil
}

// buildOn makes a language's image from its base.
func (s *Store) buildOn(ctx context.Context, b *base, lang Language, report *reporter) (Image, error) {
	unlock, err := s.changing.lock(ctx, lang.Name)
	if err != nil {
		return Image{}, err
	}
	defer unlock()
	ctx, dir, release, err := s.newBuild(ctx)
	if err != nil {
		return Image{}, err
	}
	defer release()
	own, version, err := s.buildLanguageLayer(ctx, lang.recipe, b, dir, report)
	if err != nil {
		return Image{}, err
	}
	manifest, err := s.writeImage(ctx, lang, b.layer, own, version)
	if err != nil {
		return Image{}, err
	}
	return s.publish(ctx, lang, manifest, map[string]string{
		labelSource:  "build",
		labelVersion: version,
		labelRecipe:  lang.RecipeDigest().String(),
	}, report)
}

// newBuild makes a directory for a build, and a lease of the same name that the
// context carries. The caller calls release at the build's end.
func (s *Store) newBuild(ctx context.Context) (leased context.Context, dir *buildDir, release func(), err error) {
	if dir, err = newBuildDir(s.opts.BuildDir); err != nil {
		return nil, nil, nil, err
	}
	remove := func() {
		if err := dir.remove(); err != nil {
			s.opts.Log.WarnContext(ctx, "a build directory was not removed; the next build tries again", "directory", dir.path, "error", err)
		}
	}
	leased, end, err := s.lease(ctx, leases.WithID(dir.id))
	if err != nil {
		remove()
		return nil, nil, nil, err
	}
	return leased, dir, func() {
		end()
		remove()
	}, nil
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

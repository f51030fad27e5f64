package images

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	containerd "github.com/containerd/containerd/v2/client"
	ctrimages "github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"
	digest "github.com/opencontainers/go-digest"
)

// cleanupTime bounds what a call still does after its context ended.
const cleanupTime = 30 * time.Second

// Image is the image of a language.
type Image struct {
	// Name is its name in containerd.
	Name string
	// Language is the language's name in the catalogue.
	Language string
	// Version is that of the language's toolchain; empty where it is unknown.
	Version string
	// Source says where the image is from: "build", "import", or "pull" and
	// the reference.
	Source string
	// Digest is that of the manifest for this host's platform.
	Digest digest.Digest
	// RecipeDigest is that of the recipe that it was built from; empty where it
	// was not built here.
	RecipeDigest string
	// ChainID is the key in the snapshotter of the parent for snapshots.
	ChainID string
	// Env is the environment of the image's configuration.
	Env []string
	// Size is what the image's content takes in the content store, in bytes.
	Size int64
	// CreatedAt is when the language had its first image, UpdatedAt when it was
	// moved to this one.
	CreatedAt, UpdatedAt time.Time
	// Ready says that the image is unpacked.
	Ready bool
}

// Options configure a Store. The zero value of each field has a default.
type Options struct {
	// Catalogue is the languages that there are: NewCatalogue's.
	Catalogue *Catalogue
	// Snapshotter is the name of the snapshotter to unpack into: overlayfs.
	Snapshotter string
	// BuildDir is where builds have their directories, on a file system with
	// 1 GiB to spare for each build that runs: codebeaker-build below the
	// directory for temporary files that outlive a reboot. For apt to download as
	// a user of its own, others may pass through it and all above it.
	BuildDir string
	// HostsDir has a directory with a hosts.toml for each registry that is not
	// reached in the usual way, as containerd's certs.d does: no such registry.
	HostsDir string
	// Registries are those that are not reached in the usual way, by host and
	// port as in references: none. HostsDir has precedence.
	Registries map[string]Registry
	// Mirror and SecurityMirror are URIs of Debian's archive and of its
	// security archive: those that the host's apt uses.
	Mirror, SecurityMirror string
	// Mmdebstrap is the program: mmdebstrap, looked up in PATH.
	Mmdebstrap string
	// Bounds are the most that a pulled or imported image may take.
	Bounds Bounds
	// Log receives what a person who builds may want to know: nothing.
	Log *slog.Logger
}

// Store keeps the images of languages in containerd. Its methods are safe for
// concurrent use.
//
// Errors wrap a class of errdefs: ErrInvalidArgument for a language that is not
// in the catalogue or an image that cannot be used, ErrNotFound for one that
// is not there, ErrUnavailable where a network or its other end failed.
type Store struct {
	client *containerd.Client
	opts   Options

	// changing is held, by language, while its image is made or moved;
	// unpacking while an image is unpacked for Resolve. Neither is taken under
	// the other or under mu.
	changing, unpacking keyLock

	mu sync.Mutex
	// configs are what was read of images, by the digest of their manifest.
	configs map[digest.Digest]imageConfig
}

// NewStore returns a store on containerd's client, which stays the caller's.
func NewStore(client *containerd.Client, opts Options) *Store {
	if opts.Catalogue == nil {
		opts.Catalogue = NewCatalogue()
	}
	if opts.Snapshotter == "" {
		opts.Snapshotter = "overlayfs"
	}
	if opts.BuildDir == "" {
		opts.BuildDir = filepath.Join("/var/tmp", "codebeaker-build")
	}
	if opts.Mmdebstrap == "" {
		opts.Mmdebstrap = "mmdebstrap"
	}
	opts.Bounds = opts.Bounds.withDefaults()
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	return &Store{client: client, opts: opts, configs: make(map[digest.Digest]imageConfig)}
}

// List returns the images of all languages that have one, by name.
func (s *Store) List(ctx context.Context) ([]Image, error) {
	ctx = s.context(ctx)
	found, err := s.client.ImageService().List(ctx, fmt.Sprintf("labels.%q", labelLanguage))
	if err != nil {
		return nil, fmt.Errorf("list images: %w", err)
	}
	list := make([]Image, 0, len(found))
	for _, f := range found {
		if f.Name != ImageName(f.Labels[labelLanguage]) {
			continue // a name that an operator gave to one of our images
		}
		img, err := s.describe(ctx, f)
		if err != nil {
			return nil, err
		}
		list = append(list, img)
	}
	slices.SortFunc(list, func(a, b Image) int { return strings.Compare(a.Language, b.Language) })
	return list, nil
}

// Remove drops a language's image. Sessions that run keep what they use of it;
// the rest is garbage, which containerd collects soon after.
func (s *Store) Remove(ctx context.Context, language string) error {
	ctx = s.context(ctx)
	lang, ok := s.opts.Catalogue.Lookup(language)
	if !ok {
		return fmt.Errorf("remove image: no language is called %q: %w", language, errdefs.ErrNotFound)
	}
	unlock, err := s.changing.lock(ctx, lang.Name)
	if err != nil {
		return fmt.Errorf("remove image of %s: %w", lang.Name, err)
	}
	defer unlock()
	if err := s.client.ImageService().Delete(ctx, ImageName(lang.Name)); err != nil {
		if errdefs.IsNotFound(err) {
			return fmt.Errorf("remove image of %s: there is none: %w", lang.Name, errdefs.ErrNotFound)
		}
		return fmt.Errorf("remove image of %s: %w", lang.Name, err)
	}
	return nil
}

// Resolve returns a language's image, unpacked. It is cheap where the image is
// unpacked already, which it is unless somebody removed its snapshots.
//
// Nothing keeps the image from being removed after Resolve: making a snapshot
// on it then fails with ErrNotFound.
func (s *Store) Resolve(ctx context.Context, language string) (Image, error) {
	ctx = s.context(ctx)
	lang, err := s.lookup(language)
	if err != nil {
		return Image{}, err
	}
	found, err := s.client.ImageService().Get(ctx, ImageName(lang.Name))
	if errdefs.IsNotFound(err) {
		return Image{}, fmt.Errorf("find image of %s: there is none; run: codebeaker images %s: %w",
			lang.Name, howToGet(lang), errdefs.ErrNotFound)
	}
	if err != nil {
		return Image{}, fmt.Errorf("find image of %s: %w", lang.Name, err)
	}
	img, err := s.describe(ctx, found)
	if err != nil || img.Ready {
		return img, err
	}

	unlock, err := s.unpacking.lock(ctx, lang.Name)
	if err != nil {
		return Image{}, fmt.Errorf("unpack image of %s: %w", lang.Name, err)
	}
	defer unlock()
	if err := s.unpack(ctx, found, &reporter{}); err != nil {
		return Image{}, err
	}
	return s.describe(ctx, found)
}

// howToGet completes "codebeaker images" for a language without an image.
func howToGet(lang Language) string {
	if lang.Buildable() {
		return "build " + lang.Name
	}
	if lang.Image != "" {
		return "pull " + lang.Name
	}
	return "pull " + lang.Name + " REFERENCE"
}

// lookup finds a language in the catalogue.
func (s *Store) lookup(language string) (Language, error) {
	lang, ok := s.opts.Catalogue.Lookup(language)
	if !ok {
		return Language{}, fmt.Errorf("no language is called %q; there are %s: %w",
			language, strings.Join(s.opts.Catalogue.Names(), ", "), errdefs.ErrInvalidArgument)
	}
	return lang, nil
}

// describe returns what is known of an image.
func (s *Store) describe(ctx context.Context, found ctrimages.Image) (Image, error) {
	language := found.Labels[labelLanguage]
	c, err := s.config(ctx, found)
	if err != nil {
		return Image{}, fmt.Errorf("read image of %s: %w", language, err)
	}
	img := Image{
		Name:         found.Name,
		Language:     language,
		Version:      found.Labels[labelVersion],
		Source:       found.Labels[labelSource],
		Digest:       found.Target.Digest,
		RecipeDigest: found.Labels[labelRecipe],
		ChainID:      c.chainID,
		Env:          slices.Clone(c.env),
		Size:         c.size,
		CreatedAt:    found.CreatedAt,
		UpdatedAt:    found.UpdatedAt,
	}
	_, err = s.client.SnapshotService(s.opts.Snapshotter).Stat(ctx, c.chainID)
	if err != nil && !errdefs.IsNotFound(err) {
		return Image{}, fmt.Errorf("read image of %s: look for its snapshot: %w", language, err)
	}
	img.Ready = err == nil
	return img, nil
}

// context adds the client's namespace to a context that has none, as an
// in-process client does not.
func (s *Store) context(ctx context.Context) context.Context {
	if _, ok := namespaces.Namespace(ctx); ok {
		return ctx
	}
	return namespaces.WithNamespace(ctx, s.client.DefaultNamespace())
}

// lease keeps what the call makes from being collected until it is done. A
// lease that is left by a crash ends by itself after a day.
func (s *Store) lease(ctx context.Context, id leases.Opt) (context.Context, func(), error) {
	leased, release, err := s.client.WithLease(ctx, id, leases.WithExpiration(24*time.Hour))
	if err != nil {
		return ctx, nil, fmt.Errorf("make a lease: %w", err)
	}
	return leased, func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTime)
		defer cancel()
		if err := release(ctx); err != nil && !errdefs.IsNotFound(err) {
			s.opts.Log.WarnContext(ctx, "a lease was left behind; it ends within a day", "error", err)
		}
	}, nil
}

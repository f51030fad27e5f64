package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
	"time"

	"github.com/containerd/errdefs"
	"github.com/spf13/cobra"

	"codebeaker/images"
)

func newImagesCommand() *cobra.Command {
	cfg := &config{}
	cmd := &cobra.Command{
		Use:   "images",
		Short: "Build, pull and manage the language images that sessions start from",
		Long: `Build, pull and manage the language images that sessions start from.

These commands work on --root whether or not a server runs on it; a server uses
the new image from its next session on.`,
	}
	cfg.bindHost(cmd.PersistentFlags())
	cmd.AddCommand(
		newBuildCommand(cfg), newPullCommand(cfg), newImportCommand(cfg), newExportCommand(cfg), newListCommand(cfg), newRemoveCommand(cfg),
	)
	return cmd
}

// withImages runs f with the image store of the root.
func withImages(cmd *cobra.Command, cfg *config, f func(ctx context.Context, store *images.Store, p *progress) error) (retErr error) {
	if err := cfg.load(cmd); err != nil {
		return err
	}
	if !cmd.Flags().Changed("log-level") {
		cfg.LogLevel = "warn" // progress says the rest
	}
	log, err := cfg.logger(os.Stderr)
	if err != nil {
		return err
	}
	h, err := joinHost(cmd.Context(), cfg, log, cmd.CommandPath())
	if err != nil {
		return err
	}
	defer func() { retErr = errors.Join(retErr, h.close()) }()
	p := newProgress(cmd.ErrOrStderr())
	defer p.finish()
	return f(cmd.Context(), h.images, p)
}

func newBuildCommand(cfg *config) *cobra.Command {
	var missing, all bool
	cmd := &cobra.Command{
		Use:   "build LANGUAGE ... | --all",
		Short: "Build language images from Debian packages",
		Long: `Build language images from Debian packages.

Several are built side by side, and what they have in common once. Where one
fails, the others are built all the same.`,
		Args: func(_ *cobra.Command, args []string) error {
			if all == (len(args) > 0) {
				return errors.New("build takes the names of languages, or --all")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return withImages(cmd, cfg, func(ctx context.Context, store *images.Store, p *progress) error {
				names := args
				if all {
					names = buildableNames(cfg.catalogue)
				}
				if missing {
					var err error
					if names, err = outOfDate(ctx, cfg.catalogue, store, names); err != nil {
						return err
					}
				}
				built, err := store.BuildAll(ctx, names, p.of)
				p.finish()
				for _, image := range built {
					printImage(cmd.OutOrStdout(), "built", image, p.took(image.Language))
				}
				return err
			})
		},
	}
	cmd.Flags().BoolVar(&missing, "missing", false, "build only what is missing or was built by another recipe")
	cmd.Flags().BoolVar(&all, "all", false, "build the images of all languages that can be built")
	return cmd
}

// buildableNames returns the languages that Build can make.
func buildableNames(catalogue *images.Catalogue) []string {
	var names []string
	for _, lang := range catalogue.Languages() {
		if lang.Buildable() {
			names = append(names, lang.Name)
		}
	}
	return names
}

// outOfDate returns those of the names whose image is missing or was built by
// another recipe.
func outOfDate(ctx context.Context, catalogue *images.Catalogue, store *images.Store, names []string) ([]string, error) {
	var old []string
	for _, name := range names {
		ok, err := upToDate(ctx, catalogue, store, name)
		if err != nil {
			return nil, err
		}
		if !ok {
			old = append(old, name)
		}
	}
	return old, nil
}

// upToDate says whether a language has an image that its recipe of today, or a
// user, made.
func upToDate(ctx context.Context, catalogue *images.Catalogue, store *images.Store, name string) (bool, error) {
	lang, ok := catalogue.Lookup(name)
	if !ok {
		return false, nil // Build says it better
	}
	image, err := store.Resolve(ctx, lang.Name)
	if errdefs.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return image.RecipeDigest == "" || image.RecipeDigest == lang.RecipeDigest().String(), nil
}

func newPullCommand(cfg *config) *cobra.Command {
	return &cobra.Command{
		Use:   "pull LANGUAGE [REFERENCE]",
		Short: "Pull an image from a registry for a language",
		Long: `Pull an image from a registry for a language.

Without a reference it is the one that the configuration file names for the
language.`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withImages(cmd, cfg, func(ctx context.Context, store *images.Store, p *progress) error {
				started := time.Now()
				ref := ""
				if len(args) > 1 {
					ref = args[1]
				}
				image, err := store.Pull(ctx, args[0], ref, p.of(""))
				if err != nil {
					return err
				}
				printImage(cmd.OutOrStdout(), "pulled", image, time.Since(started))
				return nil
			})
		},
	}
}

func newImportCommand(cfg *config) *cobra.Command {
	return &cobra.Command{
		Use:   "import LANGUAGE FILE|-",
		Short: "Import an image archive (OCI or docker) for a language",
		Args:  cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			in := cmd.InOrStdin()
			if args[1] != "-" {
				file, err := os.Open(args[1])
				if err != nil {
					return fmt.Errorf("import image: %w", err)
				}
				defer file.Close()
				in = file
			}
			return withImages(cmd, cfg, func(ctx context.Context, store *images.Store, p *progress) error {
				started := time.Now()
				image, err := store.Import(ctx, args[0], in, p.of(""))
				if err != nil {
					return err
				}
				printImage(cmd.OutOrStdout(), "imported", image, time.Since(started))
				return nil
			})
		},
	}
}

func newExportCommand(cfg *config) *cobra.Command {
	return &cobra.Command{
		Use:   "export LANGUAGE FILE|-",
		Short: "Export a language's image as an OCI archive",
		Long: `Export a language's image as an OCI archive.

"codebeaker images import" takes the archive, on this host or another one. The
file must not exist yet.`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withImages(cmd, cfg, func(ctx context.Context, store *images.Store, _ *progress) error {
				if args[1] == "-" {
					_, err := store.Export(ctx, args[0], cmd.OutOrStdout())
					return err
				}
				return exportTo(ctx, store, args[0], args[1], cmd.OutOrStdout())
			})
		},
	}
}

// exportTo exports an image to a new file. It removes the file if that fails.
func exportTo(ctx context.Context, store *images.Store, language, path string, stdout io.Writer) error {
	started := time.Now()
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("export image: %w", err)
	}
	image, err := store.Export(ctx, language, file)
	if err := errors.Join(err, file.Close()); err != nil {
		_ = os.Remove(path) // the first error counts
		return err
	}
	printImage(stdout, "exported", image, time.Since(started))
	return nil
}

func newListCommand(cfg *config) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the languages and their images",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withImages(cmd, cfg, func(ctx context.Context, store *images.Store, _ *progress) error {
				list, err := store.List(ctx)
				if err != nil {
					return err
				}
				have := map[string]images.Image{}
				for _, image := range list {
					have[image.Language] = image
				}
				w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
				fmt.Fprintln(w, "LANGUAGE\tVERSION\tSIZE\tUPDATED\tDIGEST")
				for _, lang := range cfg.catalogue.Languages() {
					image, ok := have[lang.Name]
					switch {
					case ok:
						fmt.Fprintf(w, "%s\t%s\t%d MiB\t%s\t%s\n", lang.Name, image.Version, image.Size>>20,
							image.UpdatedAt.Local().Format(time.DateTime), image.Digest)
					case lang.Buildable():
						fmt.Fprintf(w, "%s\t-\t-\t-\tnone: codebeaker images build %s\n", lang.Name, lang.Name)
					case lang.Image != "":
						fmt.Fprintf(w, "%s\t-\t-\t-\tnone: codebeaker images pull %s\n", lang.Name, lang.Name)
					default:
						fmt.Fprintf(w, "%s\t-\t-\t-\tnone: codebeaker images pull %s REFERENCE\n", lang.Name, lang.Name)
					}
				}
				return w.Flush()
			})
		},
	}
}

func newRemoveCommand(cfg *config) *cobra.Command {
	return &cobra.Command{
		Use:     "remove LANGUAGE ...",
		Aliases: []string{"rm"},
		Short:   "Remove language images; sessions that run keep theirs",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withImages(cmd, cfg, func(ctx context.Context, store *images.Store, _ *progress) error {
				var errs []error
				for _, name := range args {
					errs = append(errs, store.Remove(ctx, name))
				}
				return errors.Join(errs...)
			})
		},
	}
}

func printImage(w io.Writer, done string, image images.Image, took time.Duration) {
	fmt.Fprintf(w, "%s %s %s in %.1f s: %s, %d MiB, %s\n", done, image.Language, image.Version, took.Seconds(),
		image.Name, image.Size>>20, image.Digest)
}

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
	"golang.org/x/term"

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
		newBuildCommand(cfg), newPullCommand(cfg), newImportCommand(cfg), newListCommand(cfg), newRemoveCommand(cfg),
	)
	return cmd
}

// withImages runs f with the image store of the root.
func withImages(cmd *cobra.Command, cfg *config, f func(ctx context.Context, store *images.Store, progress images.Progress) error) (retErr error) {
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
	progress, finish := drawProgress(cmd.ErrOrStderr())
	defer finish()
	return f(cmd.Context(), h.images, progress)
}

func newBuildCommand(cfg *config) *cobra.Command {
	var missing bool
	cmd := &cobra.Command{
		Use:   "build LANGUAGE ...",
		Short: "Build language images from Debian packages",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withImages(cmd, cfg, func(ctx context.Context, store *images.Store, progress images.Progress) error {
				for _, name := range args {
					if missing {
						ok, err := upToDate(ctx, cfg.catalogue, store, name)
						if err != nil {
							return err
						}
						if ok {
							continue
						}
					}
					started := time.Now()
					image, err := store.Build(ctx, name, progress)
					if err != nil {
						return err
					}
					printImage(cmd.OutOrStdout(), "built", image, time.Since(started))
				}
				return nil
			})
		},
	}
	cmd.Flags().BoolVar(&missing, "missing", false, "build only what is missing or was built by another recipe")
	return cmd
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
			return withImages(cmd, cfg, func(ctx context.Context, store *images.Store, progress images.Progress) error {
				started := time.Now()
				ref := ""
				if len(args) > 1 {
					ref = args[1]
				}
				image, err := store.Pull(ctx, args[0], ref, progress)
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
			return withImages(cmd, cfg, func(ctx context.Context, store *images.Store, progress images.Progress) error {
				started := time.Now()
				image, err := store.Import(ctx, args[0], in, progress)
				if err != nil {
					return err
				}
				printImage(cmd.OutOrStdout(), "imported", image, time.Since(started))
				return nil
			})
		},
	}
}

func newListCommand(cfg *config) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the languages and their images",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withImages(cmd, cfg, func(ctx context.Context, store *images.Store, _ images.Progress) error {
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
			return withImages(cmd, cfg, func(ctx context.Context, store *images.Store, _ images.Progress) error {
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

// drawProgress returns a Progress that shows where things are, on one line of a
// terminal or else a line for each stage, and what ends the drawing.
func drawProgress(w io.Writer) (progress images.Progress, finish func()) {
	file, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		var stage images.Stage
		return func(e images.Event) {
			if e.Stage != stage {
				stage = e.Stage
				fmt.Fprintln(w, stage)
			}
		}, func() {}
	}
	width, _, err := term.GetSize(int(file.Fd()))
	if err != nil || width < 20 {
		width = 80
	}
	drawn := false
	return func(e images.Event) {
			drawn = e.Stage != images.StageDone
			if !drawn { // what was done is printed
				fmt.Fprint(w, "\r\x1b[K")
				return
			}
			text := string(e.Stage)
			if e.Total > 0 {
				text += fmt.Sprintf(" %d%%", 100*e.Done/e.Total)
			}
			if e.Message != "" {
				text += ": " + e.Message
			}
			if runes := []rune(text); len(runes) > width-1 {
				text = string(runes[:width-1])
			}
			fmt.Fprintf(w, "\r\x1b[K%s", text)
		}, func() {
			if drawn {
				fmt.Fprint(w, "\r\x1b[K")
			}
		}
}

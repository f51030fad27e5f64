package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

func newCpCommand() *cobra.Command {
	server := &remote{}
	var recursive bool
	cmd := &cobra.Command{
		Use:   "cp [-r] SOURCE DESTINATION",
		Short: "Copy files between this host and a session",
		Long: `Copy a file, or with -r a directory, between this host and a session. One of the
two is SESSION:PATH; a relative PATH starts at /workspace. The other is a path of
this host, or - for standard input or output; put ./ before one with a colon in it.

A file comes into being as a whole: it is copied under another name and then
renamed. Permission bits are kept, within this process's umask. Symbolic links,
devices and the like are left out, and named.`,
		Example: `  codebeaker cp data.csv SESSION:
  codebeaker cp -r SESSION:/workspace/out results
  tar c . | codebeaker cp - SESSION:project.tar`,
		Args:              cobra.ExactArgs(2),
		ValidArgsFunction: completeCp(server),
		RunE: func(cmd *cobra.Command, args []string) error {
			from, to := parsePlace(args[0]), parsePlace(args[1])
			if (from.session == "") == (to.session == "") {
				return errors.New("cp takes one path of this host and one SESSION:PATH")
			}
			return runCp(cmd, server, from, to, recursive)
		},
	}
	server.bind(cmd.Flags())
	cmd.Flags().BoolVarP(&recursive, "recursive", "r", false, "copy directories, with all that is in them")
	noFiles(cmd, "server")
	return cmd
}

// place is one side of a copy.
type place struct {
	session string // empty for this host
	path    string
}

// parsePlace reads SESSION:PATH. What begins with a slash or a dot is of this
// host, whatever it holds.
func parsePlace(text string) place {
	session, path, ok := strings.Cut(text, ":")
	if !ok || session == "" || strings.HasPrefix(text, ".") || strings.Contains(session, "/") {
		return place{path: text}
	}
	return place{session, path}
}

func (p place) String() string {
	if p.session == "" {
		return printable(p.path)
	}
	return printable(p.session + ":" + p.path)
}

func runCp(cmd *cobra.Command, server *remote, from, to place, recursive bool) error {
	ctx := cmd.Context()
	c, err := server.dial(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	t := transfer{notes: cmd.ErrOrStderr()}
	if t.progress = newCopyProgress(cmd.ErrOrStderr()); t.progress != nil {
		defer t.progress.clear()
	}
	if to.session != "" {
		t.files, err = newRemoteFiles(ctx, c, server, to.session)
		if err == nil {
			err = t.upload(ctx, cmd.InOrStdin(), from.path, to.path, recursive)
		}
	} else {
		t.files, err = newRemoteFiles(ctx, c, server, from.session)
		if err == nil {
			err = t.download(ctx, cmd.OutOrStdout(), from.path, to.path, recursive)
		}
	}
	if err != nil {
		return fmt.Errorf("copy %s to %s: %w", from, to, explain(err))
	}
	if t.failed > 0 {
		return fmt.Errorf("copy %s to %s: %d of the entries were left out, as said above", from, to, t.failed)
	}
	return nil
}

// mostNotes bounds how many entries are named that were left out.
const mostNotes = 50

// transfer is one run of cp.
type transfer struct {
	files    *remoteFiles
	progress *copyProgress // nil where there is no terminal to draw it on
	notes    interface{ Write([]byte) (int, error) }
	failed   int // entries that were left out
}

// entryError is why one entry of a directory cannot be copied, which leaves the
// others.
type entryError string

func (e entryError) Error() string { return string(e) }

// leaveOut names an entry that cannot be copied, or returns the error where
// nothing else could be either.
func (t *transfer) leaveOut(ctx context.Context, name string, err error) error {
	if err == nil {
		return nil
	}
	entry, reason := entryError(""), pathReason(err)
	if ctx.Err() != nil || reason == "no space" || reason == "" && !errors.As(err, &entry) {
		return err
	}
	if t.failed++; t.failed <= mostNotes {
		t.progress.clear()
		fmt.Fprintf(t.notes, "codebeaker: %s is left out: %v\n", printable(name), explain(err))
	}
	return nil
}

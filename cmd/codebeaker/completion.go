package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"codebeaker/images"
	"codebeaker/rpc/client"
)

// completionTimeout bounds what a key may wait for a server.
const completionTimeout = 500 * time.Millisecond

// noFiles says that the values of flags are no names of files here.
func noFiles(cmd *cobra.Command, flags ...string) {
	for _, name := range flags {
		if err := cmd.RegisterFlagCompletionFunc(name, cobra.NoFileCompletions); err != nil {
			panic(err) // there is no such flag
		}
	}
}

// ask calls f with a server, for a moment. Where none is there, nothing is
// completed, and nobody disturbed.
func (r *remote) ask(cmd *cobra.Command, f func(ctx context.Context, c *client.Client)) {
	ctx := cmd.Context()
	if ctx == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, completionTimeout)
	defer cancel()
	c, err := r.dial(ctx)
	if err != nil {
		return
	}
	defer c.Close()
	f(ctx, c)
}

// completeRun completes a language, then a file.
func completeRun(server *remote) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveDefault
		}
		return languages(cmd, server), cobra.ShellCompDirectiveNoFileComp
	}
}

// languages returns those of the server, or else those of the catalogue.
func languages(cmd *cobra.Command, server *remote) []string {
	var list struct {
		Languages []struct {
			Name    string `json:"name"`
			Version string `json:"version"`
			Ready   bool   `json:"ready"`
		} `json:"languages"`
	}
	server.ask(cmd, func(ctx context.Context, c *client.Client) {
		_ = c.Call(ctx, "language.list", map[string]any{}, &list)
	})
	var names []string
	for _, l := range list.Languages {
		about := "no image yet"
		if l.Ready {
			about = l.Version
		}
		names = append(names, described(l.Name, about))
	}
	if len(names) == 0 {
		return images.NewCatalogue().Names()
	}
	return names
}

// described is a completion and what it is about.
func described(word, about string) string {
	if about = printable(about); about == "" {
		return word
	}
	return cobra.CompletionWithDesc(word, about)
}

// completeSessions completes one session.
func completeSessions(server *remote) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return sessions(cmd, server), cobra.ShellCompDirectiveNoFileComp
	}
}

func sessions(cmd *cobra.Command, server *remote) []string {
	var list sessionList
	server.ask(cmd, func(ctx context.Context, c *client.Client) {
		_ = c.Call(ctx, "session.list", map[string]any{}, &list)
	})
	var ids []string
	for _, s := range list.Sessions {
		ids = append(ids, described(s.entry.SessionID, s.entry.Language+", "+s.entry.State))
	}
	return ids
}

// completeExec completes a session, and leaves the command to the shell.
func completeExec(server *remote) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp // its files are not here
		}
		return sessions(cmd, server), cobra.ShellCompDirectiveNoFileComp
	}
}

// completeExecutions completes an execution that runs.
func completeExecutions(server *remote) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var list executionList
		server.ask(cmd, func(ctx context.Context, c *client.Client) {
			_ = c.Call(ctx, "execution.list", map[string]any{}, &list)
		})
		var ids []string
		for _, x := range list.Executions {
			if e := x.entry; !e.ended() {
				ids = append(ids, described(e.ExecutionID, shorten(e.Command, 40)))
			}
		}
		return ids, cobra.ShellCompDirectiveNoFileComp
	}
}

package main

import (
	"cmp"
	"context"
	"path"
	"strings"
	"unicode"

	"github.com/spf13/cobra"

	"codebeaker/rpc/client"
)

// completeCp completes files of this host, sessions, and files of a session.
func completeCp(server *remote) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 1 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		p := parsePlace(word)
		if p.session != "" {
			return sessionFiles(cmd, server, p), cobra.ShellCompDirectiveNoSpace | cobra.ShellCompDirectiveNoFileComp
		}
		if strings.ContainsAny(word, "/.") {
			return nil, cobra.ShellCompDirectiveDefault
		}
		var found []string
		for _, id := range sessions(cmd, server) {
			id, about, _ := strings.Cut(id, "\t")
			found = append(found, described(id+":", about))
		}
		if len(found) == 0 || word != "" && !strings.HasPrefix(found[0], word) {
			return found, cobra.ShellCompDirectiveDefault
		}
		return found, cobra.ShellCompDirectiveNoSpace
	}
}

// sessionFiles completes a path of a session. Names that would do something to
// a terminal or a shell are left out.
func sessionFiles(cmd *cobra.Command, server *remote, p place) []string {
	dir, _ := path.Split(p.path)
	var found []string
	server.ask(cmd, func(ctx context.Context, c *client.Client) {
		list, err := (&remoteFiles{client: c, session: p.session}).list(ctx, cmp.Or(dir, "."))
		if err != nil {
			return
		}
		for _, e := range list {
			if strings.ContainsFunc(e.Name, func(r rune) bool { return !unicode.IsPrint(r) || unicode.IsSpace(r) }) {
				continue
			}
			name := p.session + ":" + dir + e.Name
			if e.Type == typeDirectory {
				name += "/"
			}
			found = append(found, name)
		}
	})
	return found
}

package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"codebeaker/rpc/client"
)

func newAttachCommand() *cobra.Command {
	server := &remote{}
	var noReplay, interactive bool
	cmd := &cobra.Command{
		Use:   "attach EXECUTION",
		Short: "Show what an execution printed and prints, and exit with its code",
		Long: `Show what an execution has printed, as far as the server keeps it, and what it
prints, up to its end, and exit with its code. Ctrl-C leaves it alone and says how
to attach again. With -i, standard input goes to it; where it has a terminal, so do
keys, Ctrl-C as well, and Ctrl-P Ctrl-Q detaches.`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: completeExecutions(server),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			c, err := server.dial(ctx)
			if err != nil {
				return err
			}
			defer c.Close()
			f := &foreground{dial: server.dial, detaches: true, stdout: cmd.OutOrStdout(), stderr: cmd.ErrOrStderr()}
			if interactive {
				f.stdin = cmd.InOrStdin()
				if f.tty, err = hasTerminal(ctx, c, args[0]); err != nil {
					return err
				}
			}
			var from int64
			if noReplay {
				from = client.FromNow
			}
			f.start = func(ctx context.Context, f *client.Follower) error { return f.Attach(ctx, c, args[0], from, from) }
			return f.show(ctx)
		},
	}
	server.bind(cmd.Flags())
	cmd.Flags().BoolVar(&noReplay, "no-replay", false, "show only what it prints from now on")
	cmd.Flags().BoolVarP(&interactive, "interactive", "i", false, "give the execution this command's standard input")
	noFiles(cmd, "server")
	return cmd
}

// hasTerminal says whether an execution runs in a terminal.
func hasTerminal(ctx context.Context, c *client.Client, execution string) (bool, error) {
	var list executionList
	if err := c.Call(ctx, "execution.list", map[string]any{}, &list); err != nil {
		return false, fmt.Errorf("look for the execution: %w", explain(err))
	}
	for _, e := range list.Executions {
		if e.entry.ExecutionID == execution {
			return e.entry.TTY, nil
		}
	}
	return false, nil // to attach fails, and says so
}

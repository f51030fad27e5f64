package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"codebeaker/rpc/client"
)

// execOptions are the options of exec.
type execOptions struct {
	interactive, tty, detach bool
	dir                      string
	env                      []string
	timeout                  time.Duration
}

func newExecCommand() *cobra.Command {
	server := &remote{}
	var opts execOptions
	cmd := &cobra.Command{
		Use:   "exec [flags] SESSION [flags] [--] COMMAND [ARG ...]",
		Short: "Run a command in a session and exit with its code",
		Long: `Run a command in a session and exit with its code. What it prints is printed as
it comes. No shell is involved, so nothing needs quoting; for a shell's own
features, run sh -c.

Ctrl-C interrupts the command, a second one ends it, a third leaves without
waiting for its end. With -t, keys go to the command, Ctrl-C as well, and
Ctrl-P Ctrl-Q detaches from it. If the connection to the server breaks, it is
made again, and no output is missing or printed twice.`,
		Example: `  codebeaker exec SESSION -- python3 script.py --verbose
  codebeaker exec -t SESSION bash
  tar c . | codebeaker exec -i SESSION -- tar x -C /workspace`,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: completeExec(server),
		RunE: func(cmd *cobra.Command, args []string) error {
			// Options may stand behind the session as well. What follows them is
			// the command's.
			session := args[0]
			if err := cmd.Flags().Parse(args[1:]); err != nil {
				return err
			}
			if help, err := cmd.Flags().GetBool("help"); err == nil && help {
				return cmd.Help()
			}
			command := cmd.Flags().Args()
			if len(command) == 0 {
				return errors.New("exec takes the command to run behind the session: codebeaker exec SESSION -- COMMAND")
			}
			return runExec(cmd, server, session, command, opts)
		},
	}
	f := cmd.Flags()
	server.bind(f)
	f.BoolVarP(&opts.interactive, "interactive", "i", false, "give the command this command's standard input")
	f.BoolVarP(&opts.tty, "tty", "t", false, "give the command a terminal, and the keys of this one")
	f.BoolVarP(&opts.detach, "detach", "d", false, "print the id of the execution and leave it alone")
	f.StringVarP(&opts.dir, "workdir", "w", "", "`directory` to run in (default: /workspace)")
	f.StringArrayVarP(&opts.env, "env", "e", nil, "`NAME=VALUE` for the command's environment; NAME alone takes the value here")
	f.DurationVar(&opts.timeout, "timeout", 0, "time limit of the command (default: none but that of the session)")
	f.SetInterspersed(false)
	noFiles(cmd, "server", "workdir", "env", "timeout")
	return cmd
}

func runExec(cmd *cobra.Command, server *remote, session string, args []string, opts execOptions) error {
	if opts.detach && (opts.interactive || opts.tty) {
		return errors.New("--detach is for commands that need no terminal and no input: leave out -i and -t")
	}
	if opts.tty {
		here := terminalOf(cmd.InOrStdin()) != nil
		if opts.interactive && !here {
			return errors.New("-t: standard input is no terminal; leave it out")
		}
		opts.interactive = here
	}
	command, err := opts.command(cmd, args)
	if err != nil {
		return err
	}
	ctx := cmd.Context()
	if opts.detach {
		var answer struct {
			Result struct {
				ExecutionID string `json:"executionId"`
			} `json:"result"`
		}
		params := map[string]any{"sessionId": session, "command": command}
		if err := server.call(ctx, "session.execute", params, &answer); err != nil {
			return err
		}
		_, err := fmt.Fprintln(cmd.OutOrStdout(), answer.Result.ExecutionID)
		return err
	}
	c, err := server.dial(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	f := &foreground{
		dial: server.dial, stdout: cmd.OutOrStdout(), stderr: cmd.ErrOrStderr(), tty: opts.tty,
		start: func(ctx context.Context, f *client.Follower) error { return f.Execute(ctx, c, session, command, false) },
	}
	if opts.interactive {
		f.stdin = cmd.InOrStdin()
	}
	return f.show(ctx)
}

// command is what runs the command.
func (o *execOptions) command(cmd *cobra.Command, args []string) (map[string]any, error) {
	command := map[string]any{"type": "execute_shell", "commandName": args[0], "args": args[1:], "background": true}
	if !o.interactive && !o.tty {
		command["stdin"] = ""
	}
	if o.dir != "" {
		command["workingDirectory"] = o.dir
	}
	if o.timeout != 0 {
		command["timeout"] = o.timeout.Seconds()
	}
	env := map[string]string{}
	if o.tty {
		command["tty"] = true
		if rows, columns, ok := sizeOf(cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr()); ok {
			command["rows"], command["cols"] = rows, columns
		}
		if name := os.Getenv("TERM"); name != "" {
			env["TERM"] = name
		}
	}
	for _, e := range o.env {
		name, value, given := strings.Cut(e, "=")
		if name == "" {
			return nil, fmt.Errorf("--env %q: takes NAME=VALUE", e)
		}
		if !given {
			if value, given = os.LookupEnv(name); !given {
				continue
			}
		}
		env[name] = value
	}
	if len(env) > 0 {
		command["env"] = env
	}
	return command, nil
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"codebeaker/rpc/client"
)

// runOptions are the options of run that are about the program.
type runOptions struct {
	timeout     time.Duration
	stream      bool
	interactive bool
}

func newRunCommand() *cobra.Command {
	cfg := &config{}
	server := &remote{hint: "add --embedded"}
	var opts runOptions
	var embedded bool
	cmd := &cobra.Command{
		Use:   "run [flags] LANGUAGE FILE|- [ARG ...]",
		Short: "Run one program in a session of its own and exit with its code",
		Long: `Run one program in a session of its own, on a running server or, with
--embedded, without one. FILE is the program, - is standard input. What the
program prints is printed as it comes, and its exit code is this command's.

Ctrl-C interrupts the program, a second one ends it. If the connection to the
server breaks, it is made again, and no output is missing or printed twice.`,
		Example: `  codebeaker run python script.py
  echo 'console.log(6 * 7)' | codebeaker run javascript -`,
		Args:              cobra.MinimumNArgs(2),
		ValidArgsFunction: completeRun(server),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := cfg.load(cmd); err != nil {
				return err
			}
			if opts.interactive && (args[1] == "-" || !opts.stream) {
				return errors.New("--interactive takes a FILE for the program, as standard input is its input, and --stream")
			}
			code, err := readProgram(cmd.InOrStdin(), args[1])
			if err != nil {
				return err
			}
			p := program{language: args[0], code: code, args: args[2:], timeout: opts.timeout}
			if !embedded {
				return p.runOn(cmd, server, opts)
			}
			return runEmbedded(cmd.Context(), cfg, func(url string) error {
				return p.runOn(cmd, &remote{flag: url}, opts)
			})
		},
	}
	cfg.bindHost(cmd.Flags())
	cfg.bindSandboxes(cmd.Flags())
	server.bind(cmd.Flags())
	cmd.Flags().BoolVar(&embedded, "embedded", false, "run without a server, on --root alone")
	cmd.Flags().DurationVar(&opts.timeout, "timeout", 0, "time limit of the program (default: the server's; with --interactive none)")
	cmd.Flags().BoolVar(&opts.stream, "stream", true, "print output as it comes; =false prints at the end what the server keeps of it")
	cmd.Flags().BoolVarP(&opts.interactive, "interactive", "i", false, "give the program this command's standard input")
	// What stands behind the file is the program's.
	cmd.Flags().SetInterspersed(false)
	return cmd
}

func readProgram(stdin io.Reader, file string) (string, error) {
	var code []byte
	var err error
	if file == "-" {
		code, err = io.ReadAll(stdin)
	} else {
		code, err = os.ReadFile(file)
	}
	if err != nil {
		return "", fmt.Errorf("read program: %w", err)
	}
	return string(code), nil
}

// runEmbedded serves on a port of loopback for as long as f runs.
func runEmbedded(ctx context.Context, cfg *config, f func(url string) error) error {
	cfg.Listen = "127.0.0.1:0"
	cfg.LogLevel = "warn"
	log, err := cfg.logger(os.Stderr)
	if err != nil {
		return err
	}
	s, err := startServer(ctx, cfg, log)
	if err != nil {
		return err
	}
	err = f(s.url())
	return errors.Join(err, s.stop(context.WithoutCancel(ctx), time.Second))
}

// runOn runs the program on a server. A program that fails is an exitError.
func (p program) runOn(cmd *cobra.Command, server *remote, opts runOptions) error {
	ctx := cmd.Context()
	c, err := server.dial(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	if !opts.stream {
		return p.runAtOnce(ctx, c, cmd.OutOrStdout(), cmd.ErrOrStderr())
	}
	id, err := p.createSession(ctx, c)
	if err != nil {
		return err
	}
	f := &foreground{
		dial: server.dial, private: true, stdout: cmd.OutOrStdout(), stderr: cmd.ErrOrStderr(),
		start: func(ctx context.Context, f *client.Follower) error {
			command := p.command()
			if opts.interactive {
				// In the background, input can follow.
				command["background"] = true
				delete(command, "stdin")
			}
			return f.Execute(ctx, c, id, command, true)
		},
	}
	if opts.interactive {
		f.stdin = cmd.InOrStdin()
	}
	err = f.show(ctx)
	return errors.Join(err, closeSession(ctx, server, id))
}

// closeSession closes a session, also after an interrupt: one that nobody closes
// lives on.
func closeSession(ctx context.Context, server *remote, id string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	err := server.call(ctx, "session.close", map[string]any{"sessionId": id}, nil)
	if err != nil && !answeredWith(err, codeNoSession) {
		return fmt.Errorf("close session: %w", err)
	}
	return nil
}

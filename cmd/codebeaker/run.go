package main

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"codebeaker/images"
	"codebeaker/rpc"
	"codebeaker/rpc/client"
)

func newRunCommand() *cobra.Command {
	cfg := &config{}
	var url string
	var embedded bool
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "run LANGUAGE FILE|- [ARG ...]",
		Short: "Run one program in a session of its own and exit with its code",
		Long: `Run one program in a session of its own, on a running server or, with
--embedded, without one. FILE is the program, - is standard input. What the
program prints is printed, and its exit code is this command's.`,
		Args: cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := cfg.load(cmd); err != nil {
				return err
			}
			code, err := readProgram(cmd.InOrStdin(), args[1])
			if err != nil {
				return err
			}
			p := program{language: args[0], code: code, args: args[2:], timeout: timeout}
			if !embedded {
				return p.runOn(cmd.Context(), url, cmd.OutOrStdout(), cmd.ErrOrStderr())
			}
			return runEmbedded(cmd.Context(), cfg, func(ctx context.Context, url string) error {
				return p.runOn(ctx, url, cmd.OutOrStdout(), cmd.ErrOrStderr())
			})
		},
	}
	cfg.bindHost(cmd.Flags())
	cfg.bindSandboxes(cmd.Flags())
	cmd.Flags().StringVar(&url, "server", "ws://"+defaultListen+rpc.Path, "`URL` of the server")
	cmd.Flags().BoolVar(&embedded, "embedded", false, "run without a server, on --root alone")
	cmd.Flags().DurationVar(&timeout, "timeout", 0, "time limit of the program (default: the server's)")
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
func runEmbedded(ctx context.Context, cfg *config, f func(ctx context.Context, url string) error) error {
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
	err = f(ctx, s.url())
	return errors.Join(err, s.stop(context.WithoutCancel(ctx), time.Second))
}

// program is a program to run in a session of its own.
type program struct {
	language string
	code     string
	args     []string
	timeout  time.Duration
}

// execution is the part of an answer to session.execute that is shown.
type execution struct {
	ExitCode       int    `json:"exitCode"`
	Stdout         string `json:"stdout"`
	Stderr         string `json:"stderr"`
	StdoutEncoding string `json:"stdoutEncoding"`
	StderrEncoding string `json:"stderrEncoding"`
	EndReason      string `json:"endReason"`
	Truncated      struct {
		Stdout bool `json:"stdout"`
		Stderr bool `json:"stderr"`
	} `json:"truncated"`
}

// timings are how long each step took, as the client saw it.
type timings struct{ create, write, run, close time.Duration }

// runOn runs the program on the server at url and prints what it printed. A
// program that fails is an exitError.
func (p program) runOn(ctx context.Context, url string, stdout, stderr io.Writer) error {
	e, message, _, err := p.execute(ctx, url)
	if err != nil {
		return err
	}
	if err := e.print(stdout, stderr); err != nil {
		return err
	}
	if e.EndReason != "exited" {
		fmt.Fprintf(stderr, "codebeaker: %s\n", message)
	}
	if e.ExitCode != 0 {
		return exitError(e.ExitCode)
	}
	return nil
}

func (e *execution) print(stdout, stderr io.Writer) error {
	for _, s := range []struct {
		to             io.Writer
		text, encoding string
		cut            bool
	}{{stdout, e.Stdout, e.StdoutEncoding, e.Truncated.Stdout}, {stderr, e.Stderr, e.StderrEncoding, e.Truncated.Stderr}} {
		text, err := decodeText(s.text, s.encoding)
		if err != nil {
			return err
		}
		if _, err := s.to.Write(text); err != nil {
			return err
		}
		if s.cut {
			fmt.Fprintln(stderr, "codebeaker: the program printed more than the server keeps; the rest is missing")
		}
	}
	return nil
}

// decodeText returns the bytes of a stream, which are base64 where they are no
// text.
func decodeText(text, encoding string) ([]byte, error) {
	if encoding == "base64" {
		return base64.StdEncoding.DecodeString(text)
	}
	return []byte(text), nil
}

// execute runs the program in a session that it makes and closes. message says
// why it failed, where it did.
func (p program) execute(ctx context.Context, url string) (e *execution, message string, t timings, retErr error) {
	lang, ok := images.NewCatalogue().Lookup(p.language)
	if !ok {
		return nil, "", t, fmt.Errorf("language %q is unknown: codebeaker images list shows those there are", p.language)
	}
	c, err := client.Dial(ctx, url)
	if err != nil {
		return nil, "", t, fmt.Errorf("%w (start a server with codebeaker serve, or add --embedded)", err)
	}
	defer c.Close()

	var session struct {
		SessionID string `json:"sessionId"`
	}
	mark := time.Now()
	lap := func() time.Duration {
		d := time.Since(mark)
		mark = time.Now()
		return d
	}
	if err := c.Call(ctx, "session.create", map[string]any{"language": p.language}, &session); err != nil {
		return nil, "", t, fmt.Errorf("create session: %w", err)
	}
	t.create = lap()
	defer func() {
		mark = time.Now()
		// Also after an interrupt: a session that nobody closes lives on.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
		defer cancel()
		err := c.Call(ctx, "session.close", map[string]any{"sessionId": session.SessionID}, nil)
		if err != nil && retErr == nil {
			retErr = fmt.Errorf("close session: %w", err)
		}
		t.close = lap()
	}()
	execute := func(command map[string]any, result any) error {
		return c.Call(ctx, "session.execute", map[string]any{"sessionId": session.SessionID, "command": command}, result)
	}
	file := strings.ReplaceAll(lang.Program.File, "*", "program")
	run := slices.Clone(lang.Program.Run)
	for i, arg := range run {
		run[i] = strings.ReplaceAll(arg, "{file}", file)
	}
	if err := execute(map[string]any{"type": "write_file", "path": file, "content": p.code}, nil); err != nil {
		return nil, "", t, fmt.Errorf("write program: %w", err)
	}
	t.write = lap()
	command := map[string]any{
		"type": "execute_shell", "commandName": run[0],
		"args": append(run[1:], p.args...),
	}
	if p.timeout > 0 {
		command["timeout"] = p.timeout.Seconds()
	}
	var answer struct {
		Result *execution `json:"result"`
		Error  *string    `json:"error"`
	}
	if err := execute(command, &answer); err != nil {
		return nil, "", t, fmt.Errorf("run program: %w", err)
	}
	t.run = lap()
	if answer.Result == nil {
		return nil, "", t, errors.New("run program: the server answered without a result")
	}
	if answer.Error != nil {
		message = *answer.Error
	}
	return answer.Result, message, t, nil
}

// tryServer runs a first program and shows what came back.
func tryServer(ctx context.Context, w io.Writer, url, language string) error {
	const code = "x = 10\nprint(x * 2)\n"
	if lang, ok := images.NewCatalogue().Lookup(language); !ok || lang.Name != "python" {
		return fmt.Errorf("--try %q: takes python", language)
	}
	e, _, t, err := program{language: language, code: code}.execute(ctx, url)
	if err != nil {
		return fmt.Errorf("run a first program: %w", err)
	}
	ms := func(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000) }
	_, err = fmt.Fprintf(w, `
A first program, in a %s session of its own:

  %s

It printed:

  %s
create %s, write %s, run %s, close %s; exit code %d
Clients connect to %s
Ctrl-C ends the server.

`, language, strings.ReplaceAll(strings.TrimSpace(code), "\n", "\n  "), e.Stdout,
		ms(t.create), ms(t.write), ms(t.run), ms(t.close), e.ExitCode, url)
	return err
}

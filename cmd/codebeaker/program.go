package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"codebeaker/images"
	"codebeaker/rpc/client"
)

// program is a program to run in a session of its own.
type program struct {
	language string
	code     string
	args     []string
	timeout  time.Duration
}

// command is what runs the program.
func (p program) command() map[string]any {
	command := map[string]any{"type": "execute_code", "code": p.code, "stdin": ""}
	if len(p.args) > 0 {
		command["args"] = p.args
	}
	if p.timeout != 0 {
		command["timeout"] = p.timeout.Seconds()
	}
	return command
}

// createSession makes the program's session. Somebody has to close it.
func (p program) createSession(ctx context.Context, c *client.Client) (string, error) {
	var session struct {
		SessionID string `json:"sessionId"`
	}
	err := c.Call(ctx, "session.create", map[string]any{"language": p.language}, &session)
	return session.SessionID, explain(err)
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
type timings struct{ create, run, close time.Duration }

// runAtOnce runs the program and prints at its end what it printed. A program
// that fails is an exitError.
func (p program) runAtOnce(ctx context.Context, c *client.Client, stdout, stderr io.Writer) error {
	e, message, _, err := p.execute(ctx, c)
	if err != nil {
		return err
	}
	if err := e.print(stdout, stderr); err != nil {
		return err
	}
	end := client.End{ExitCode: e.ExitCode, Reason: e.EndReason, Error: message}
	if text := endText(end); text != "" {
		fmt.Fprintf(stderr, "codebeaker: %s\n", text)
	}
	return exitCode(end)
}

func (e *execution) print(stdout, stderr io.Writer) error {
	for _, s := range []struct {
		to             io.Writer
		text, encoding string
		cut            bool
	}{{stdout, e.Stdout, e.StdoutEncoding, e.Truncated.Stdout}, {stderr, e.Stderr, e.StderrEncoding, e.Truncated.Stderr}} {
		text, err := client.DecodeText(s.text, s.encoding)
		if err != nil {
			return fmt.Errorf("decode output: %w", err)
		}
		if _, err := s.to.Write(text); err != nil {
			return err
		}
		if s.cut {
			fmt.Fprintln(stderr, "codebeaker: the program printed more than the server keeps; part of it is missing")
		}
	}
	return nil
}

// execute runs the program in a session that it makes and closes. message says
// why it failed, where it did.
func (p program) execute(ctx context.Context, c *client.Client) (e *execution, message string, t timings, retErr error) {
	mark := time.Now()
	lap := func() time.Duration {
		d := time.Since(mark)
		mark = time.Now()
		return d
	}
	id, err := p.createSession(ctx, c)
	if err != nil {
		return nil, "", t, err
	}
	t.create = lap()
	defer func() {
		mark = time.Now()
		// Also after an interrupt: a session that nobody closes lives on.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
		defer cancel()
		err := c.Call(ctx, "session.close", map[string]any{"sessionId": id}, nil)
		if err != nil && retErr == nil {
			retErr = fmt.Errorf("close session: %w", explain(err))
		}
		t.close = lap()
	}()
	var answer struct {
		Result *execution `json:"result"`
		Error  *string    `json:"error"`
	}
	params := map[string]any{"sessionId": id, "command": p.command()}
	if err := c.Call(ctx, "session.execute", params, &answer); err != nil {
		return nil, "", t, fmt.Errorf("run program: %w", explain(err))
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
	c, err := client.Dial(ctx, url)
	if err != nil {
		return fmt.Errorf("run a first program: %w", err)
	}
	defer c.Close()
	e, _, t, err := program{language: language, code: code}.execute(ctx, c)
	if err != nil {
		return fmt.Errorf("run a first program: %w", err)
	}
	ms := func(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000) }
	_, err = fmt.Fprintf(w, `
A first program, in a %s session of its own:

  %s

It printed:

  %s
create %s, run %s, close %s; exit code %d
Clients connect to %s
Ctrl-C ends the server.

`, language, strings.ReplaceAll(strings.TrimSpace(code), "\n", "\n  "), e.Stdout,
		ms(t.create), ms(t.run), ms(t.close), e.ExitCode, url)
	return err
}

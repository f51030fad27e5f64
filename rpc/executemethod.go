package rpc

import (
	"context"
	"fmt"

	"codebeaker/session"
)

type executeParams struct {
	SessionID string  `json:"sessionId" takes:"required,nonempty" doc:"Which session."`
	Command   command `json:"command" takes:"required" doc:"What to do."`
	Stream    bool    `json:"stream" takes:"default=false" doc:"Has the client told what a program prints while it runs."`
}

func (s *Server) sessionExecute(ctx context.Context, from *caller, p *executeParams) (executeResult, error) {
	cmd := &p.Command
	outcome, err := s.execute(ctx, from, p)
	if err != nil {
		return executeResult{}, err
	}
	result := executeResult{
		ID:         cmd.id,
		Success:    outcome.Success,
		Result:     outcome.Result,
		Error:      textOrNull(outcome.Error),
		DurationMs: outcome.Duration.Milliseconds(),
	}
	if _, ok := outcome.Result.(*backgroundResult); !ok {
		if result.Result, err = cmd.result(outcome.Result); err != nil {
			return executeResult{}, err
		}
	}
	return result, nil
}

// execute carries out a command, as a program that runs on in the background,
// as one that is followed, or as one that is only waited for.
func (s *Server) execute(ctx context.Context, from *caller, p *executeParams) (*session.Outcome, error) {
	program, ok := p.Command.Command.(session.Program)
	if err := from.reserve(ctx, replyBytes(p.Command.Command)); err != nil {
		return nil, err
	}
	if !ok || !p.Command.background && !p.Stream {
		return s.opts.Commands.Execute(ctx, p.SessionID, p.Command.Command)
	}
	begun := s.now()
	e, err := s.opts.Commands.Start(ctx, p.SessionID, program, p.Command.background)
	if err != nil {
		return nil, err
	}
	defer e.Release()
	if !p.Command.background {
		return s.executeFollowed(ctx, from, e)
	}
	from.undo = append(from.undo, func(context.Context) { e.Cancel() })
	if !waitFor(e.Started(), ctx.Done()) {
		return nil, fmt.Errorf("start program: %w", ctx.Err())
	}
	if e.Info().StartedAt.IsZero() {
		_, err := e.Outcome()
		return nil, err
	}
	if p.Stream {
		f, err := from.follow(ctx, e, 0, 0)
		if err != nil {
			e.Cancel()
			return nil, err
		}
		f.announce = true
		from.followAfter(f)
	}
	return &session.Outcome{
		Success: true, Duration: s.now().Sub(begun),
		Result: &backgroundResult{ExecutionID: e.ID(), Status: session.StatusRunning},
	}, nil
}

// readBytes is the most that a read returns, listBytes about what a long list takes.
const (
	readBytes = 8 << 20
	listBytes = 4 << 20
)

// replyBytes is about how long the reply to a command on files may be, which is made
// at once.
func replyBytes(cmd session.Command) int64 {
	switch c := cmd.(type) {
	case *session.ReadFile:
		bytes := int64(readBytes)
		if c.Length >= 0 {
			bytes = min(bytes, c.Length)
		}
		return bytes + bytes/3 // in base64
	case *session.ListDirectory:
		return listBytes
	default:
		return 0
	}
}

// executeFollowed waits for a program, and for the client to be told what
// becomes of it.
func (s *Server) executeFollowed(ctx context.Context, from *caller, e *session.Execution) (*session.Outcome, error) {
	f, err := from.follow(ctx, e, 0, 0)
	if err != nil {
		e.Cancel()
		return nil, err
	}
	f.announce = true
	from.audience.begin(f)
	waitFor(f.done, ctx.Done())
	if err := e.Await(ctx); err != nil {
		return nil, err
	}
	<-f.done
	return e.Outcome()
}

package rpc

import (
	"context"
	"errors"
	"strings"
	"time"

	"codebeaker/session"
)

// executionParams name an execution.
type executionParams struct {
	ExecutionID string `json:"executionId" takes:"required,nonempty" doc:"Which execution."`
}

type runParams struct {
	Language string        `json:"language" takes:"required,nonempty" doc:"Name or alias of a language."`
	Code     []byte        `json:"code" takes:"required" doc:"The source."`
	Timeout  time.Duration `json:"timeout" takes:"unit=s,default=30" doc:"Seconds until the program is killed."`
	MemoryMB int64         `json:"memoryLimit" takes:"min=1,max=8796093022207,limit,default=512" doc:"Memory, in MiB."`
	CPUs     float64       `json:"cpuLimit" takes:"limit,default=1" doc:"Processor time, in cores."`
	Packages []string      `json:"packages" doc:"Installed first, as install_packages does."`
}

// runTimeout is that of a program of execution.run for which none was asked.
const runTimeout = 30 * time.Second

func (s *Server) executionRun(ctx context.Context, from *caller, p *runParams) (statusOnlyResult, error) {
	if p.Timeout == 0 {
		p.Timeout = runTimeout
	}
	e, err := s.opts.Commands.Run(ctx, session.RunRequest{
		Language: p.Language, Code: p.Code, Timeout: p.Timeout, Packages: p.Packages,
		Limits: session.Limits{MemoryBytes: p.MemoryMB << 20, CPUs: p.CPUs},
	})
	if err != nil {
		return statusOnlyResult{}, atTopLevel(err)
	}
	defer e.Release()
	from.undo = append(from.undo, func(context.Context) { e.Cancel() })
	f, err := from.follow(ctx, e, 0, 0)
	if err != nil {
		e.Cancel()
		return statusOnlyResult{}, err
	}
	f.announce = true
	from.followAfter(f)
	return statusOnlyResult{ExecutionID: e.ID(), Status: session.StatusQueued}, nil
}

// atTopLevel names a field of a command as that of params, for a method that has
// the fields of the command there.
func atTopLevel(err error) error {
	if invalid, ok := errors.AsType[*session.InvalidError](err); ok {
		field := strings.TrimPrefix(invalid.Field, "command.")
		if field == "memoryLimitMB" {
			field = "memoryLimit"
		}
		return &session.InvalidError{Field: field, Takes: invalid.Takes}
	}
	return err
}

// statusBytes is how much of each stream a status shows while a program runs.
const statusBytes = 1 << 20

func (s *Server) executionStatus(ctx context.Context, _ *caller, p *executionParams) (statusResult, error) {
	e, err := s.opts.Executions.Execution(ctx, p.ExecutionID)
	if errors.Is(err, session.ErrExecution) {
		return statusResult{ExecutionID: p.ExecutionID, Status: statusNotFound}, nil
	}
	if err != nil {
		return statusResult{}, err
	}
	defer e.Release()
	return newStatusResult(e, s.now())
}

type executionListParams struct {
	SessionID string `json:"sessionId" doc:"Lists those of a session; all where absent."`
}

func (s *Server) executionList(ctx context.Context, _ *caller, p *executionListParams) (executionListResult, error) {
	infos, err := s.opts.Executions.Executions(ctx, p.SessionID)
	if err != nil {
		return executionListResult{}, err
	}
	result := executionListResult{Count: len(infos), Executions: make([]listedExecution, 0, len(infos))}
	for _, info := range infos {
		result.Executions = append(result.Executions, newListedExecution(info))
	}
	return result, nil
}

type attachParams struct {
	executionParams
	StdoutOffset int64 `json:"stdoutOffset" takes:"min=0,default=0" doc:"Where to go on in stdout: the offset of the last notification plus the bytes that it brought."`
	StderrOffset int64 `json:"stderrOffset" takes:"min=0,default=0" doc:"Where to go on in stderr."`
}

func (s *Server) executionAttach(ctx context.Context, from *caller, p *attachParams) (attachResult, error) {
	e, err := s.opts.Executions.Attach(ctx, p.ExecutionID)
	if err != nil {
		return attachResult{}, err
	}
	defer e.Release()
	f, err := from.follow(ctx, e, p.StdoutOffset, p.StderrOffset)
	if err != nil {
		return attachResult{}, err
	}
	info := e.Info()
	f.announce = info.Status == session.StatusQueued
	from.followAfter(f)
	return attachResult{
		ExecutionID:  e.ID(),
		SessionID:    info.SessionID,
		Status:       info.Status,
		StdoutOffset: f.readers[session.Stdout].Offset(),
		StderrOffset: f.readers[session.Stderr].Offset(),
	}, nil
}

func (s *Server) executionDetach(ctx context.Context, from *caller, p *executionParams) (detachResult, error) {
	detached := from.audience.detach(p.ExecutionID)
	e, err := s.opts.Executions.Execution(ctx, p.ExecutionID)
	if err != nil {
		return detachResult{}, err
	}
	defer e.Release()
	return detachResult{ExecutionID: e.ID(), Status: e.Info().Status, Detached: detached}, nil
}

type inputParams struct {
	executionParams
	Data     []byte `json:"data" takes:"required" doc:"What to write."`
	Encoding string `json:"encoding" takes:"oneof=utf-8|base64,default=utf-8" doc:"How data is written here."`
	EOF      bool   `json:"eof" takes:"default=false" doc:"Ends standard input behind data."`
}

func (s *Server) executionInput(ctx context.Context, _ *caller, p *inputParams) (inputResult, error) {
	data := p.Data
	if p.Encoding == "base64" {
		var err error
		if data, err = decodeBase64("data", data); err != nil {
			return inputResult{}, err
		}
	}
	e, err := s.opts.Executions.Execution(ctx, p.ExecutionID)
	if err != nil {
		return inputResult{}, err
	}
	defer e.Release()
	if err := e.Input(ctx, data, p.EOF); err != nil {
		return inputResult{}, err
	}
	return inputResult{ExecutionID: e.ID(), Status: e.Info().Status, Bytes: len(data)}, nil
}

type signalParams struct {
	executionParams
	Signal signalName `json:"signal" takes:"required" doc:"The name of a signal, with or without SIG, or its number."`
}

func (s *Server) executionSignal(ctx context.Context, _ *caller, p *signalParams) (statusOnlyResult, error) {
	return s.onExecution(ctx, p.ExecutionID, func(e *session.Execution) error { return e.Signal(ctx, string(p.Signal)) })
}

func (s *Server) executionCancel(ctx context.Context, _ *caller, p *executionParams) (statusOnlyResult, error) {
	return s.onExecution(ctx, p.ExecutionID, func(e *session.Execution) error {
		e.Cancel()
		return nil
	})
}

type resizeParams struct {
	executionParams
	Rows int64 `json:"rows" takes:"required,min=1,max=1000" doc:"Rows of the terminal."`
	Cols int64 `json:"cols" takes:"required,min=1,max=1000" doc:"Columns of the terminal."`
}

func (s *Server) executionResize(ctx context.Context, _ *caller, p *resizeParams) (statusOnlyResult, error) {
	return s.onExecution(ctx, p.ExecutionID, func(e *session.Execution) error {
		return e.Resize(ctx, uint16(p.Rows), uint16(p.Cols))
	})
}

// onExecution does something to an execution and says how far that is then.
func (s *Server) onExecution(ctx context.Context, id string, do func(*session.Execution) error) (statusOnlyResult, error) {
	e, err := s.opts.Executions.Execution(ctx, id)
	if err != nil {
		return statusOnlyResult{}, err
	}
	defer e.Release()
	if err := do(e); err != nil {
		return statusOnlyResult{}, err
	}
	return statusOnlyResult{ExecutionID: e.ID(), Status: e.Info().Status}, nil
}

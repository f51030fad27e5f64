package session

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Start starts a program in a session and returns when it runs. The caller
// releases the execution. Errors are Execute's.
func (m *Manager) Start(ctx context.Context, id string, p Program, background bool) (*Execution, error) {
	s, err := m.find(ctx, id)
	if err != nil {
		return nil, err
	}
	plan, err := s.plan(p)
	if err != nil {
		return nil, err
	}
	opts := p.program()
	if err := validateProgram(opts); err != nil {
		return nil, err
	}
	e := newExecution(&m.opts, m.opts.Spill, plan.language, plan.command, opts, background)
	m.executions.add(e)
	if err := m.launch(ctx, s, e, p, plan); err != nil {
		e.finish(nil, err) // for who found it in a list
		m.executions.remove(e)
		e.Release()
		return nil, err
	}
	return e, nil
}

func validateProgram(o *ProgramOptions) error {
	if o.TTY && (o.Rows > 1000 || o.Columns > 1000) {
		return &InvalidError{Field: "command.rows", Takes: "a number from 1 to 1000, as does cols"}
	}
	return nil
}

// launch starts an execution in a session. What drives it to its end goes on
// behind.
func (m *Manager) launch(ctx context.Context, s *session, e *Execution, p Program, plan *plan) error {
	if err := m.begin(s); err != nil {
		return err
	}
	s.awaitCleared(ctx)
	r, err := s.beginPlan(ctx, e, plan, p.program())
	if err != nil {
		if plan.file != "" {
			s.clearPlan(context.WithoutCancel(ctx), plan)
		}
		s.rest()
		s.commands.Done()
		m.work.Done()
		return s.because(err)
	}
	ctx = context.WithoutCancel(ctx)
	go func() {
		defer m.work.Done()
		defer s.commands.Done()
		outcome, err := s.drive(ctx, e, plan, r, p.program())
		if plan.file != "" {
			s.clearPlan(ctx, plan)
		}
		s.rest() // before anybody learns that the program has ended
		e.finish(outcome, err)
		m.executions.settle(e)
		m.observeEnd(e)
		if plan.steps[len(plan.steps)-1].exec.Fork && !s.single {
			s.zygote.ensure(ctx) // behind the answer
		}
	}()
	return nil
}

// observeEnd tells the observer of an execution that is done.
func (m *Manager) observeEnd(e *Execution) {
	reason, took := EndFailed, time.Duration(0)
	if outcome, _ := e.Ending(); outcome != nil {
		took = outcome.Duration
		if result, ok := outcome.Result.(*ExecutionResult); ok {
			reason = result.EndReason
		}
	}
	m.opts.Observer.ExecutionEnded(e.language, reason, took)
}

// clearPlan removes the files of a plan, behind the answer.
func (s *session) clearPlan(ctx context.Context, p *plan) {
	cleared := make(chan struct{})
	s.mu.Lock()
	s.clearing = append(s.clearing, cleared)
	s.mu.Unlock()
	s.lingering.Go(func() {
		for _, name := range append([]string{p.file}, p.made...) {
			if err := s.removeFile(ctx, name); err != nil {
				s.opts.Log.DebugContext(ctx, "remove a program's file", "container", s.containerID, "error", err)
			}
		}
		s.mu.Lock()
		s.clearing = slices.DeleteFunc(s.clearing, func(other chan struct{}) bool { return other == cleared })
		s.mu.Unlock()
		close(cleared)
	})
}

// awaitCleared returns when the files of all programs that have ended are removed,
// so that what begins now does not find them, or ctx ends.
func (s *session) awaitCleared(ctx context.Context) {
	s.mu.Lock()
	clearing := slices.Clone(s.clearing)
	s.mu.Unlock()
	for _, cleared := range clearing {
		select {
		case <-cleared:
		case <-ctx.Done():
			return // which the command says itself
		}
	}
}

// because returns why something failed in a session: the session's end, where
// that came or is about to, or that it is too busy, and err otherwise.
func (s *session) because(err error) error {
	if !isClosed(s.closing) && s.container.Dying() {
		s.beginClose(ReasonLost)
	}
	if isClosed(s.closing) {
		return ErrClosed
	}
	if errors.Is(err, context.DeadlineExceeded) {
		s.opts.Log.Warn("a session was too busy to start a program", "container", s.containerID, "error", err)
		return &LimitError{
			Limit:      "the session took too long to start the program; others in it take its memory or processor time",
			RetryAfter: time.Second,
		}
	}
	return err
}

// runProgram starts a program and waits for its end, as Await does.
func (m *Manager) runProgram(ctx context.Context, id string, p Program) (*Outcome, error) {
	started := time.Now()
	e, err := m.Start(ctx, id, p, false)
	if err != nil {
		return nil, err
	}
	defer e.Release()
	if err := e.Await(ctx); err != nil {
		return nil, err
	}
	outcome, err := e.Outcome()
	if err != nil {
		return nil, err
	}
	outcome.Duration = time.Since(started)
	return outcome, nil
}

// Execution returns an execution that runs, or ran not too long ago, or
// ErrExecution. The caller releases it.
func (m *Manager) Execution(_ context.Context, id string) (*Execution, error) {
	e, ok := m.executions.find(id)
	if !ok {
		return nil, ErrExecution
	}
	return e, nil
}

// Attach is Execution for somebody who goes on to follow the output, which
// counts as use of the session.
func (m *Manager) Attach(ctx context.Context, id string) (*Execution, error) {
	e, err := m.Execution(ctx, id)
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	s, ok := m.sessions[e.Info().SessionID]
	m.mu.Unlock()
	if ok {
		_ = s.touch() // a session that closes has no deadline to move
	}
	return e, nil
}

// Executions describes the executions of a session, or all where id is empty,
// in the order in which they were made.
func (m *Manager) Executions(_ context.Context, sessionID string) ([]ExecutionInfo, error) {
	return m.executions.list(sessionID), nil
}

// RunRequest asks for an execution in a session of its own.
type RunRequest struct {
	// Language is the name or an alias of a language in the catalogue.
	Language string
	Code     []byte
	// Packages are installed first.
	Packages []string
	// Timeout is the program's deadline; zero for the manager's default.
	Timeout time.Duration
	Limits  Limits
}

// Run makes a session, runs code in it and closes it. It returns at once, with
// an execution that is queued until there is a session for it. The caller releases
// it. Errors are Create's.
func (m *Manager) Run(ctx context.Context, req RunRequest) (*Execution, error) {
	s, err := m.newSession(CreateRequest{Language: req.Language, Limits: req.Limits})
	if err != nil {
		return nil, err
	}
	s.single = true
	code := &Code{Code: req.Code, Packages: req.Packages, ProgramOptions: ProgramOptions{Timeout: req.Timeout}}
	plan, err := s.plan(code) // to refuse what cannot be; its environment is not known yet
	if err != nil {
		return nil, err
	}
	if err := m.enqueue(); err != nil {
		return nil, err
	}
	e := newExecution(&m.opts, m.opts.Spill, plan.language, plan.command, &code.ProgramOptions, true)
	m.executions.add(e)
	ctx = context.WithoutCancel(ctx)
	go func() {
		defer m.work.Done()
		if err := m.runQueued(ctx, s, e, code); err != nil {
			e.finish(nil, err)
			m.executions.settle(e)
			m.observeEnd(e)
		}
	}()
	return e, nil
}

// enqueue counts an execution that waits for its session, which is work.
func (m *Manager) enqueue() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.shutdown {
		return ErrShutdown
	}
	if m.queued >= m.opts.MaxQueued {
		return &LimitError{Limit: fmt.Sprintf("%d executions wait for a session", m.queued), RetryAfter: time.Second}
	}
	m.queued++
	m.work.Add(1)
	return nil
}

// runQueued makes an execution's session as soon as there is a place for it,
// runs it there and closes the session. An error is one of an execution that
// did not run.
func (m *Manager) runQueued(ctx context.Context, s *session, e *Execution, code *Code) error {
	err := m.awaitPlace(s, e)
	m.mu.Lock()
	m.queued--
	m.mu.Unlock()
	if err != nil {
		return err
	}
	if err := m.create(ctx, s); err != nil {
		return err
	}
	defer s.beginClose(ReasonClosed)
	plan, err := s.plan(code)
	if err != nil {
		return err
	}
	if err := m.launch(ctx, s, e, code, plan); err != nil {
		return err
	}
	<-e.Done()
	return nil
}

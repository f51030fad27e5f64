package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

const (
	// FromNow is an offset for Attach behind all output that there can be.
	FromNow int64 = 1 << 53

	// attachTimeout bounds one try to attach.
	attachTimeout = 10 * time.Second
	// answerTimeout bounds what is waited for after the end of an execution.
	answerTimeout = 5 * time.Second
	// mostErrors is how many notifications of errors may come, one after the
	// other, with no output between them.
	mostErrors = 3
)

// ErrNeverStarted is an execution whose program could not be started.
var ErrNeverStarted = errors.New("the program was not started")

// FollowerOptions are what a Follower needs.
type FollowerOptions struct {
	// Dial connects again where a connection broke.
	Dial Dialer
	// Stdout and Stderr take what the program prints. While one of them waits,
	// no output is taken from the server.
	Stdout, Stderr io.Writer
	// Started is called once, when the execution's id is known. May be nil.
	Started func(id string)
	// Lost is told of output that the server does not have any more: so many
	// bytes of "stdout" or "stderr" are missing at this place. May be nil.
	Lost func(stream string, bytes int64)
	// GiveUpAfter is how long a connection that broke is tried again. Default
	// 30 s.
	GiveUpAfter time.Duration
}

// Follower shows one execution up to its end, though connections break. Its
// methods are for one goroutine: first Execute or Attach, and then Follow. What
// is printed is complete and in order, or Lost was told.
type Follower struct {
	opts   FollowerOptions
	client *Client
	stream *Stream

	id, session string
	// alone says that only this execution runs in the session, by which it can
	// be found.
	alone bool
	// answers says that the call is answered at the end.
	answers bool

	stdout, stderr place
	// errors counts error notifications since the last output.
	errors int
	// broken is when the connection broke for the first time since the last
	// output.
	broken time.Time
}

// place is how far a stream was shown.
type place struct {
	name string
	w    io.Writer
	pos  int64 // what the program printed up to here was shown, or is lost
}

// NewFollower returns a Follower. Close ends it.
func NewFollower(opts FollowerOptions) *Follower {
	if opts.GiveUpAfter == 0 {
		opts.GiveUpAfter = giveUpAfter
	}
	return &Follower{
		opts:   opts,
		stdout: place{name: "stdout", w: opts.Stdout},
		stderr: place{name: "stderr", w: opts.Stderr},
	}
}

// Execute starts a command of session.execute, on c, which the Follower closes.
// In the background its standard input can stay open; else the server's time
// limit for programs holds. Where the session is the caller's alone, an execution
// is found again though its id was not heard before the connection broke.
func (f *Follower) Execute(ctx context.Context, c *Client, sessionID string, command map[string]any, alone bool) error {
	f.client, f.session, f.alone = c, sessionID, alone
	background, _ := command["background"].(bool)
	f.answers = !background
	starts := ""
	if f.answers {
		starts = sessionID
	}
	params := map[string]any{"sessionId": sessionID, "command": command, "stream": true}
	s, err := c.Stream(ctx, "session.execute", params, starts)
	if err != nil {
		return err
	}
	f.stream = s
	if f.answers {
		return nil
	}
	if err := s.Answer(ctx, nil); err != nil && (!alone || !errors.Is(err, ErrDisconnected)) {
		return err
	}
	f.name(s.Execution())
	return nil
}

// Attach follows an execution, on c, which the Follower closes, from a place of
// its output on: that is raised to the first byte that the server still has, and
// lowered to the end of what there is.
func (f *Follower) Attach(ctx context.Context, c *Client, execution string, stdoutOffset, stderrOffset int64) error {
	f.client = c
	f.stdout.pos, f.stderr.pos = stdoutOffset, stderrOffset
	f.name(execution)
	return f.attach(ctx)
}

// name hears the execution's id.
func (f *Follower) name(id string) {
	if id == "" || f.id != "" {
		return
	}
	f.id = id
	if f.opts.Started != nil {
		f.opts.Started(id)
	}
}

// Follow shows the execution until it has ended. That a program failed is an
// End, and no error. ErrDisconnected is a connection that could not be made
// again in time; the execution then goes on.
func (f *Follower) Follow(ctx context.Context) (End, error) {
	for {
		e, err := f.stream.Next(ctx)
		if errors.Is(err, ErrDisconnected) {
			err = f.repair(ctx, err)
			if err == nil {
				continue
			}
		}
		if err != nil {
			return End{}, err
		}
		switch e.Method {
		case MethodStarted:
			f.name(e.ExecutionID)
		case MethodOutput:
			err = f.print(e)
		case MethodCompleted:
			return f.finish(ctx, e.End), nil
		case MethodError:
			err = f.failed(ctx, e.Error)
		case MethodSessionClosed:
			if e.SessionID == f.session {
				err = f.failed(ctx, "its session was closed, and the server did not say how it ended")
			}
		case "":
			return endOfAnswer(e.Answer)
		}
		if err != nil {
			return End{}, err
		}
	}
}

// print shows what was not shown yet.
func (f *Follower) print(e Event) error {
	p := &f.stdout
	if e.Stream == f.stderr.name {
		p = &f.stderr
	}
	f.lost(p, e.Offset)
	data := e.Data[min(p.pos-e.Offset, int64(len(e.Data))):]
	if len(data) == 0 {
		return nil
	}
	f.errors, f.broken = 0, time.Time{}
	n, err := p.w.Write(data)
	p.pos += int64(n)
	if err != nil {
		return fmt.Errorf("print the program's %s: %w", p.name, err)
	}
	return nil
}

// lost raises a place to the next byte that there is.
func (f *Follower) lost(p *place, next int64) {
	if next <= p.pos {
		return
	}
	if f.opts.Lost != nil {
		f.opts.Lost(p.name, next-p.pos)
	}
	p.pos = next
}

// finish waits for the answer to the call, which says more of the end.
func (f *Follower) finish(ctx context.Context, end End) End {
	if !f.answers {
		return end
	}
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	for {
		e, err := f.stream.Next(ctx)
		if err != nil {
			return end
		}
		if e.Method == "" {
			if answered, err := endOfAnswer(e.Answer); err == nil {
				end.Error = answered.Error
			}
			return end
		}
	}
}

// endOfAnswer reads the result of a session.execute whose program has ended.
func endOfAnswer(answer json.RawMessage) (End, error) {
	var a struct {
		Result *wireEvent `json:"result"`
		Error  *string    `json:"error"`
	}
	if err := json.Unmarshal(answer, &a); err != nil {
		return End{}, fmt.Errorf("decode the answer to session.execute: %w", err)
	}
	if a.Result == nil {
		return End{}, errors.New("the server answered session.execute without a result")
	}
	end := a.Result.end()
	if a.Error != nil {
		end.Error = *a.Error
	}
	return end, nil
}

// failed hears of an error: the server has lost output that was not sent yet, and
// sends no more of it, or it could not start the program. To attach again finds
// out which, and goes on.
func (f *Follower) failed(ctx context.Context, text string) error {
	if f.errors++; f.errors > mostErrors {
		return fmt.Errorf("follow execution %s: %s", f.id, text)
	}
	f.stream.Close()
	err := f.attach(ctx)
	if errors.Is(err, ErrNeverStarted) && text != "" {
		return fmt.Errorf("%w: %s", ErrNeverStarted, text)
	}
	if errors.Is(err, ErrDisconnected) {
		return f.repair(ctx, err)
	}
	return err
}

// attach follows the execution from where it was shown to.
func (f *Follower) attach(ctx context.Context) error {
	f.answers = false
	ctx, cancel := context.WithTimeout(ctx, attachTimeout)
	defer cancel()
	s, err := f.client.Stream(ctx, "execution.attach", map[string]any{
		"executionId": f.id, "stdoutOffset": f.stdout.pos, "stderrOffset": f.stderr.pos,
	}, "")
	if err != nil {
		return err
	}
	f.stream = s
	var answer struct {
		SessionID    string `json:"sessionId"`
		Status       string `json:"status"`
		StdoutOffset int64  `json:"stdoutOffset"`
		StderrOffset int64  `json:"stderrOffset"`
	}
	if err := s.Answer(ctx, &answer); err != nil {
		return err
	}
	if answer.Status == "failed" {
		return ErrNeverStarted
	}
	f.session = answer.SessionID
	f.lost(&f.stdout, answer.StdoutOffset)
	f.lost(&f.stderr, answer.StderrOffset)
	f.stdout.pos, f.stderr.pos = answer.StdoutOffset, answer.StderrOffset
	return nil
}

// repair connects again and goes on where the output was shown to.
func (f *Follower) repair(ctx context.Context, broken error) error {
	if f.id == "" {
		f.name(f.stream.Execution())
	}
	if f.id == "" && !f.alone {
		return fmt.Errorf("%w before the server said whether the program runs", broken)
	}
	if f.broken.IsZero() {
		f.broken = time.Now()
	}
	ctx, cancel := context.WithDeadlineCause(ctx, f.broken.Add(f.opts.GiveUpAfter), broken)
	defer cancel()
	for wait := time.Duration(0); ; wait = min(2*wait+firstWait, mostWait) {
		if err := sleep(ctx, wait); err != nil {
			return err
		}
		f.client.Close()
		c, err := f.opts.Dial.again(ctx, broken)
		if err != nil {
			return err
		}
		f.client = c
		if f.id == "" {
			err = f.find(ctx)
		}
		if err == nil {
			err = f.attach(ctx)
		}
		if err == nil || !errors.Is(err, ErrDisconnected) && !errors.Is(err, errNotFoundYet) && !errors.Is(err, context.DeadlineExceeded) {
			return err
		}
		broken = err
	}
}

// errNotFoundYet is a request that did not arrive, or is not carried out yet.
var errNotFoundYet = errors.New("the server does not know of the program: the connection broke before it heard of it")

// find finds the execution in the session that is its own.
func (f *Follower) find(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, attachTimeout)
	defer cancel()
	var list struct {
		Executions []struct {
			ExecutionID string `json:"executionId"`
		} `json:"executions"`
	}
	if err := f.client.Call(ctx, "execution.list", map[string]any{"sessionId": f.session}, &list); err != nil {
		return err
	}
	if len(list.Executions) == 0 {
		return errNotFoundYet
	}
	f.name(list.Executions[0].ExecutionID)
	return nil
}

// Close ends the connection. The execution goes on.
func (f *Follower) Close() {
	if f.stream != nil {
		f.stream.Close()
	}
	if f.client != nil {
		f.client.Close()
	}
}

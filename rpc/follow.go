package rpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"codebeaker/session"
	"codebeaker/session/output"
)

// follower tells a connection what becomes of an execution: that it started,
// what it prints, how it ended. It ends with that, with stop, or with the
// connection.
type follower struct {
	conn      *conn
	execution *session.Execution
	// announce says that the client is still to be told of the start.
	announce bool
	readers  [2]*output.Reader // by session.Stream

	// run does the work, stop ends it early, done is closed at the end.
	run  func()
	stop context.CancelFunc
	done chan struct{}

	// audience.mu guards these. The session is empty where it is not known yet.
	session string
	begun   bool
}

// follow returns a follower of an execution from the offsets on. The caller sees
// that it is begun. It takes the place of another that the connection has for
// the execution, which has sent its last when follow returns. The caller holds the
// execution; the follower does until it ends. It ends with the connection, and not
// with ctx.
func (c *conn) follow(ctx context.Context, e *session.Execution, stdout, stderr int64) (*follower, error) {
	ctx = context.WithoutCancel(ctx)
	own, stop := context.WithCancel(ctx)
	f := &follower{
		conn: c, execution: e, session: e.Info().SessionID,
		readers: [2]*output.Reader{
			session.Stdout: output.NewReader(e.Output(session.Stdout), stdout),
			session.Stderr: output.NewReader(e.Output(session.Stderr), stderr),
		},
		stop: stop, done: make(chan struct{}),
	}
	old, err := c.audience.add(f)
	if err != nil {
		stop()
		return nil, err
	}
	e.Hold()
	c.srv.continueCall()
	f.run = func() {
		defer c.srv.endCall()
		defer close(f.done)
		defer c.audience.remove(f)
		defer e.Release()
		defer stop()
		f.tell(own, func(sessionID string) { c.watch(ctx, sessionID) })
	}
	if old != nil {
		<-old.done // it was stopped
	}
	return f, nil
}

// tell sends the notifications. It calls watch with the session once that is
// known.
func (f *follower) tell(ctx context.Context, watch func(sessionID string)) {
	e, c := f.execution, f.conn
	if !waitFor(e.Started(), ctx.Done()) || ctx.Err() != nil {
		return
	}
	info := e.Info()
	if info.SessionID != "" {
		c.audience.locate(f, info.SessionID)
		watch(info.SessionID)
	}
	if f.announce && !info.StartedAt.IsZero() {
		if !c.say(ctx, &startedNote{info.ID, info.SessionID, info.Language}) {
			return
		}
	}
	var streams sync.WaitGroup
	for stream := range f.readers {
		streams.Go(func() { f.tellOutput(ctx, info, session.Stream(stream)) })
	}
	streams.Wait()
	if !waitFor(e.Done(), ctx.Done()) {
		return
	}
	outcome, err := e.Ending()
	if err == nil {
		var r *session.ExecutionResult
		if r, err = resultAs[session.ExecutionResult](outcome.Result); err == nil {
			c.say(ctx, &completedNote{
				info.ID, info.SessionID, r.ExitCode, r.Duration.Milliseconds(), r.EndReason == session.EndTimeout, r.EndReason,
			})
			return
		}
	}
	c.say(ctx, &errorNote{ExecutionID: info.ID, SessionID: info.SessionID, Error: failureText(err)})
}

// tellOutput sends what a stream brings, until its end or until something of it
// is lost.
func (f *follower) tellOutput(ctx context.Context, info session.ExecutionInfo, stream session.Stream) {
	r := f.readers[stream]
	for {
		chunk, err := r.Next(ctx)
		if err == nil {
			if !f.conn.say(ctx, newOutputNote(info.ID, info.SessionID, stream, chunk)) {
				return
			}
			continue
		}
		if ctx.Err() != nil || errors.Is(err, io.EOF) {
			return
		}
		note := &errorNote{ExecutionID: info.ID, SessionID: info.SessionID}
		if lost, ok := errors.AsType[*output.LostError](err); ok {
			note.Error = fmt.Sprintf("bytes %d to %d of %s are lost, as they were not read while they were kept, and no more of it follows; "+
				"execution.attach goes on behind them", lost.From, lost.To, stream)
			note.lostOutput = &lostOutput{stream.String(), lost.From, lost.To}
		} else {
			f.conn.log.Error("output of an execution cannot be read", "error", err)
			note.Error = stream.String() + " cannot be read, and no more of it follows"
		}
		f.conn.say(ctx, note)
		return
	}
}

// watch has the connection told when a session closes. One watch is enough for
// a session. It ends with the connection, and not with ctx.
func (c *conn) watch(ctx context.Context, sessionID string) {
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	w := &watch{stop: stop, done: make(chan struct{}), apart: make(chan struct{})}
	if !c.audience.watch(sessionID, w) {
		stop()
		return
	}
	c.srv.continueCall()
	go func() {
		defer c.audience.working.Done()
		defer c.srv.endCall()
		defer close(w.done)
		defer c.audience.unwatch(sessionID)
		defer stop()
		reason, err := c.srv.opts.Executions.Closed(ctx, sessionID)
		if err != nil {
			return // it was gone before, or the client is
		}
		followers, all := c.audience.of(sessionID)
		if !all {
			close(w.apart)
		}
		for _, f := range followers {
			if !waitFor(f.done, ctx.Done()) {
				return
			}
		}
		c.say(ctx, &closedNote{sessionID, reason})
	}()
}

// say queues a notification when its turn has come and there is room. It returns
// false where nothing is to be said any more.
func (c *conn) say(ctx context.Context, n notification) bool {
	if ctx.Err() != nil {
		return false
	}
	p := &pendingNote{notification: n, taken: make(chan struct{})}
	c.update(func(s *state) { s.notes = append(s.notes, p) })
	select {
	case <-p.taken:
		return !p.dropped
	case <-ctx.Done():
		c.update(func(s *state) { s.withdraw(p) })
		return false
	}
}

package client

import (
	"cmp"
	"context"
	"encoding/json"
	"sync"
)

// streamEvents is how many events of a Stream may wait for Next before the
// connection is not read any more. Each holds at most 32 KiB of output.
const streamEvents = 16

// Stream is a call that starts an execution or attaches to one, and the
// notifications of that execution, in their order and without a gap. It has to
// be read or closed: where it waits, everything on its connection does, and at
// last the server.
type Stream struct {
	client *Client
	id     int64
	call   *call
	// sessionID is where an execution starts that the answer does not name in
	// time; empty otherwise.
	sessionID string

	events   chan Event
	stopOnce sync.Once
	stopped  chan struct{}

	// execution is its id, once it is known. Guarded by client.mu.
	execution string
	// err is an answer that says no; set before refused is closed.
	err     error
	refused chan struct{}
}

// Stream makes a call whose answer names an execution: execution.attach,
// execution.run, or session.execute in the background. Where sessionID is not
// empty, the call is a session.execute in that session which is answered at the
// execution's end, and the answer comes as the last event.
func (c *Client) Stream(ctx context.Context, method string, params any, sessionID string) (*Stream, error) {
	s := &Stream{
		client: c, sessionID: sessionID, events: make(chan Event, streamEvents),
		stopped: make(chan struct{}), refused: make(chan struct{}),
	}
	if _, _, err := c.send(ctx, method, params, s); err != nil {
		return nil, err
	}
	return s, nil
}

// Answer waits for the answer to the call and decodes it into result. It may be
// called once.
func (s *Stream) Answer(ctx context.Context, result any) error {
	return s.client.wait(ctx, s.id, s.call, result)
}

// Next returns the next event. It fails with what the server answered where it
// refused the call, and with ErrDisconnected at the end of the connection.
func (s *Stream) Next(ctx context.Context) (Event, error) {
	select { // what came before the end of the connection
	case e := <-s.events:
		return e, nil
	default:
	}
	select {
	case e := <-s.events:
		return e, nil
	case <-s.refused:
		return Event{}, s.err
	case <-ctx.Done():
		return Event{}, ctx.Err()
	case <-s.client.done:
	}
	select {
	case e := <-s.events:
		return e, nil
	default:
		return Event{}, s.client.Err()
	}
}

// Execution returns the execution's id, empty while it is not known.
func (s *Stream) Execution() string {
	s.client.mu.Lock()
	defer s.client.mu.Unlock()
	return s.execution
}

// Close drops the notifications that come from now on. The server goes on
// sending them until it is told to detach.
func (s *Stream) Close() {
	s.stopOnce.Do(func() { close(s.stopped) })
	c := s.client
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.waiting, s.id)
	if c.streams[s.execution] == s {
		delete(c.streams, s.execution)
	}
}

// deliver hands an event to Next. It runs on the goroutine that reads the
// connection, which waits with it.
func (s *Stream) deliver(e Event) {
	select {
	case s.events <- e:
	case <-s.stopped:
	case <-s.client.closing:
	}
}

// answered hears the answer to the call.
func (s *Stream) answered(r response) {
	switch {
	case r.Error != nil:
		s.err = r.Error
		close(s.refused)
	case s.sessionID != "":
		s.deliver(Event{Answer: r.Result})
	}
}

// bindAnswered gives a stream the notifications of the execution that the
// answer to its call names. c.mu is held.
func (c *Client) bindAnswered(s *Stream, r response) {
	if r.Error != nil || s.execution != "" {
		return
	}
	// Of session.execute it is in the command's result.
	var named struct {
		ExecutionID string `json:"executionId"`
		Result      struct {
			ExecutionID string `json:"executionId"`
		} `json:"result"`
	}
	if json.Unmarshal(r.Result, &named) != nil {
		return // whoever waits for the answer says so
	}
	c.bind(s, cmp.Or(named.ExecutionID, named.Result.ExecutionID))
}

// bind gives a stream the notifications of an execution. c.mu is held.
func (c *Client) bind(s *Stream, execution string) {
	if execution == "" {
		return
	}
	s.execution = execution
	c.streams[execution] = s
}

// notified hands a notification to those whom it is for. One that this client
// does not know is for nobody.
func (c *Client) notified(method string, params json.RawMessage) error {
	switch method {
	case MethodStarted, MethodOutput, MethodCompleted, MethodError, MethodSessionClosed:
	default:
		return nil
	}
	e, err := decodeEvent(method, params)
	if err != nil {
		return err
	}
	for _, s := range c.receivers(e) {
		s.deliver(e)
	}
	return nil
}

// receivers returns the streams of an event's execution, or of its session where
// it is about that.
func (c *Client) receivers(e Event) []*Stream {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e.ExecutionID == "" {
		var all []*Stream
		for _, s := range c.streams {
			all = append(all, s)
		}
		return all
	}
	s := c.streams[e.ExecutionID]
	if s == nil && e.Method == MethodStarted {
		if s = c.starting(e.SessionID); s != nil {
			c.bind(s, e.ExecutionID)
		}
	}
	if s == nil {
		return nil
	}
	return []*Stream{s}
}

// starting returns the stream whose execution starts next in a session: the
// server carries out the requests that name one session in their order. c.mu is
// held.
func (c *Client) starting(sessionID string) *Stream {
	var first *Stream
	for _, pending := range c.waiting {
		s := pending.stream
		if s == nil || s.sessionID != sessionID || s.execution != "" {
			continue
		}
		if first == nil || s.id < first.id {
			first = s
		}
	}
	return first
}

package rpc

import "github.com/gorilla/websocket"

// frame is a message that is being answered. conn.mu guards it.
type frame struct {
	batch bool
	// size is the length of the message in bytes.
	size int64
	// responses has one place for each entry; nil for a notification or what is
	// not answered yet.
	responses [][]byte
	// bytes is the length of the responses so far.
	bytes int64
	// left is how many entries are not answered yet.
	left int
}

// call is one request of a frame that is to be carried out.
type call struct {
	request
	method method
	frame  *frame
	index  int
	// session is the session that the call waits for others on; "" for none.
	session string
	// refused is why the call must not be carried out after all.
	refused *wireError
}

// output is something to be written.
type output struct {
	// kind is a message type of package websocket, writeNothing or writeEnd.
	kind int
	data []byte
	// requests is how many requests a reply answers.
	requests int
}

const (
	writeNothing = -1 // for now
	writeEnd     = -2 // and never again
)

// closing is a close frame to be sent.
type closing struct {
	code   int
	reason string
}

// state is everything about a connection that changes. Its methods touch no
// network and never wait; conn.update is the only one to change it, and starts
// what start returns.
type state struct {
	maxRequests int
	maxBytes    int64 // of frames
	maxQueued   int64 // of replies

	// requests counts requests without a written reply, bytes those of frames
	// that are not carried out.
	requests int
	bytes    int64

	// queues holds the calls that wait for an earlier one of the same session. A
	// session has an entry while a call of it is runnable or runs.
	queues map[string][]*call
	// runnable are calls that nothing but the bound on replies holds back.
	runnable []*call

	// replies are those that are not written, queued their bytes with those of
	// the one that is being written.
	replies []output
	queued  int64

	pong    []byte // answers the last ping; nil for none
	closing *closing
	gone    bool // nothing can be written any more
}

// take adds a frame with calls for those of its entries that have no response
// yet.
func (s *state) take(f *frame, calls []*call) {
	s.requests += len(f.responses)
	s.bytes += f.size
	for _, r := range f.responses {
		f.bytes += int64(len(r))
	}
	f.left = len(calls)
	for _, c := range calls {
		if c.session == "" {
			s.runnable = append(s.runnable, c)
		} else if waiting, busy := s.queues[c.session]; busy {
			s.queues[c.session] = append(waiting, c)
		} else {
			s.queues[c.session] = nil
			s.runnable = append(s.runnable, c)
		}
	}
	if f.left == 0 {
		s.answer(f)
	}
}

// start takes the calls that are to be started now.
func (s *state) start() []*call {
	if s.queued >= s.maxQueued {
		return nil // until the client has read, or is lost
	}
	ready := s.runnable
	s.runnable = nil
	for _, c := range ready {
		if c.id != nil && c.frame.bytes >= s.maxQueued {
			c.refused = &wireError{
				Code:    codeLimit,
				Message: "not carried out: the reply to the batch is too long already; send fewer requests in a batch",
			}
		}
	}
	return ready
}

// finish records the response to a call, nil for a notification, and lets the
// next call of the session run.
func (s *state) finish(c *call, response []byte) {
	if c.session != "" {
		if waiting := s.queues[c.session]; len(waiting) > 0 {
			s.runnable = append(s.runnable, waiting[0])
			waiting[0] = nil
			s.queues[c.session] = waiting[1:]
		} else {
			delete(s.queues, c.session)
		}
	}
	f := c.frame
	f.left--
	if !s.dropping() {
		f.responses[c.index] = response
		f.bytes += int64(len(response))
	}
	if f.left == 0 {
		s.answer(f)
	}
}

// answer queues the reply to a frame of which nothing is left to do.
func (s *state) answer(f *frame) {
	s.bytes -= f.size
	if f.bytes == 0 || s.dropping() {
		s.requests -= len(f.responses)
		return
	}
	text := f.responses[0]
	if f.batch {
		text = encodeBatch(f.responses)
	}
	s.replies = append(s.replies, output{websocket.TextMessage, text, len(f.responses)})
	s.queued += int64(len(text))
}

// next takes what is to be written next. The writer calls wrote after it.
func (s *state) next() output {
	switch {
	case s.gone:
		return output{kind: writeEnd}
	case s.pong != nil:
		out := output{kind: websocket.PongMessage, data: s.pong}
		s.pong = nil
		return out
	case len(s.replies) > 0:
		out := s.replies[0]
		s.replies[0] = output{}
		s.replies = s.replies[1:]
		return out
	case s.closing != nil:
		return output{
			kind: websocket.CloseMessage,
			data: websocket.FormatCloseMessage(s.closing.code, s.closing.reason),
		}
	}
	return output{kind: writeNothing}
}

// wrote frees what a reply took.
func (s *state) wrote(out output) {
	if out.kind == websocket.TextMessage {
		s.requests -= out.requests
		s.queued -= int64(len(out.data))
	}
}

// full says that the reader has to wait.
func (s *state) full() bool {
	return (s.requests >= s.maxRequests || s.bytes >= s.maxBytes) && !s.dropping()
}

// dropping says that replies are not kept any more.
func (s *state) dropping() bool { return s.gone || s.closing != nil }

// close asks for a close frame after the replies that are queued; the first
// one to ask decides.
func (s *state) close(code int, reason string) {
	if s.closing == nil {
		s.closing = &closing{code, reason}
	}
}

// discard frees the replies that are not being written.
func (s *state) discard() {
	for _, r := range s.replies {
		s.wrote(r)
	}
	s.replies = nil
}

// lose ends all writing.
func (s *state) lose() {
	s.gone = true
	s.pong = nil
	s.discard()
}

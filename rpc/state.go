package rpc

import (
	"context"
	"slices"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
)

// frame is a message that is being answered. conn.mu guards it.
type frame struct {
	batch bool
	// size is about what the message takes in bytes.
	size int64
	// held is what the message holds of the budget of requests. Added are the bytes of
	// responses that were added to the budgets of replies, covered those for which the
	// batch has reserved, while it holds reserving.
	held, added, covered int64
	reserving            chan struct{}
	reserved             atomic.Int64
	// responses has one place for each entry; nil for a notification or what is
	// not answered yet.
	responses [][]byte
	// bytes is the length of the responses so far.
	bytes int64
	// left is how many entries are not answered yet.
	left int
	// after are to begin once the reply is queued.
	after []*follower
}

// callBytes is about what a request takes besides its text.
const callBytes = 1 << 10

// call is one request of a frame that is to be carried out.
type call struct {
	request
	method method
	frame  *frame
	index  int
	// received is when its message was.
	received time.Time
	// queue is that of the calls which wait for each other; "" for none.
	queue string
	// refused is why the call must not be carried out after all.
	refused *wireError
	// added says that the response was added to the budgets of replies.
	added bool
	// after are to begin once the reply is queued.
	after []*follower
	// fate says whether the call was cancelled before it was answered.
	fate fate
	// stop ends the context of the call; nil until the call starts.
	stop context.CancelCauseFunc
}

// outgoing is something to be written.
type outgoing struct {
	// kind is a message type of package websocket, writeNothing or writeEnd.
	kind int
	data []byte
	// requests is how many requests a reply answers; a notification answers none.
	requests int
	// held is what a reply holds of the budget.
	held int64
}

// pendingNote is a notification that is not queued yet.
type pendingNote struct {
	notification
	// taken is closed when it is queued, or dropped.
	taken   chan struct{}
	dropped bool
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
// what start and beginning return.
type state struct {
	maxRequests int
	maxBytes    int64 // of frames
	maxQueued   int64 // of replies
	maxNotified int64 // of notifications

	// requests counts requests without a written reply, waiting those of them
	// that are in queues, and bytes what frames take that are not carried out.
	requests int
	waiting  int
	bytes    int64

	// queues holds the calls that wait for an earlier one of the same queue. A
	// queue has an entry while a call of it is runnable or runs.
	queues map[string][]*call
	// runnable are calls that nothing but the bound on replies holds back.
	runnable []*call
	// calls are those that have not ended.
	calls map[*call]struct{}

	// outbox has the replies and notifications that are not written. Queued and
	// notified are their bytes, with those of the one that is being written.
	outbox   []outgoing
	queued   int64
	notified int64
	// notes are the notifications that wait for room, in the order of their turns.
	notes []*pendingNote
	// begin are followers whose time has come.
	begin []*follower
	// freedRequests and freedReplies go back to the budgets.
	freedRequests, freedReplies int64

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
		s.calls[c] = struct{}{}
		if c.queue == "" {
			s.runnable = append(s.runnable, c)
		} else if waiting, busy := s.queues[c.queue]; busy {
			s.queues[c.queue] = append(waiting, c)
			s.waiting++
		} else {
			s.queues[c.queue] = nil
			s.runnable = append(s.runnable, c)
		}
	}
	if f.left == 0 {
		s.answer(f)
	}
}

// start takes the calls that are to be started now.
func (s *state) start() []*call {
	ready := s.runnable
	s.runnable = nil
	if s.queued >= s.maxQueued { // until the client has read, or is lost
		ready = slices.DeleteFunc(ready, func(c *call) bool {
			if c.waitsForReplies() {
				s.runnable = append(s.runnable, c)
			}
			return c.waitsForReplies()
		})
	}
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
// next call of the queue run. The response is held of the budget of replies.
func (s *state) finish(c *call, response []byte) {
	delete(s.calls, c)
	if c.queue != "" {
		if waiting := s.queues[c.queue]; len(waiting) > 0 {
			s.runnable = append(s.runnable, waiting[0])
			waiting[0] = nil
			s.queues[c.queue] = waiting[1:]
			s.waiting--
		} else {
			delete(s.queues, c.queue)
		}
	}
	f := c.frame
	f.left--
	f.after = append(f.after, c.after...)
	if c.added {
		f.added += int64(len(response))
	} else {
		f.covered += int64(len(response))
	}
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
	s.freedRequests += f.held
	s.begin = append(s.begin, f.after...)
	if f.bytes == 0 || s.dropping() {
		s.requests -= len(f.responses)
		s.freedReplies += f.added + f.reserved.Load()
		return
	}
	s.freedReplies += f.reserved.Load() - f.covered // the batch needs no more
	text := f.responses[0]
	if f.batch {
		text = encodeBatch(f.responses)
	}
	s.outbox = append(s.outbox, outgoing{websocket.TextMessage, text, len(f.responses), f.added + f.covered})
	s.queued += int64(len(text))
}

// next takes what is to be written next. The writer calls wrote after it.
func (s *state) next() outgoing {
	switch {
	case s.gone:
		return outgoing{kind: writeEnd}
	case s.pong != nil:
		out := outgoing{kind: websocket.PongMessage, data: s.pong}
		s.pong = nil
		return out
	case len(s.outbox) > 0:
		out := s.outbox[0]
		s.outbox[0] = outgoing{}
		s.outbox = s.outbox[1:]
		return out
	case s.closing != nil:
		return outgoing{
			kind: websocket.CloseMessage,
			data: websocket.FormatCloseMessage(s.closing.code, s.closing.reason),
		}
	}
	return outgoing{kind: writeNothing}
}

// wrote frees what a reply or a notification took.
func (s *state) wrote(out outgoing) {
	switch {
	case out.kind != websocket.TextMessage:
	case out.requests == 0:
		s.notified -= int64(len(out.data))
	default:
		s.requests -= out.requests
		s.queued -= int64(len(out.data))
		s.freedReplies += out.held
	}
}

// admit queues the notifications that there is room for. A connection that
// drops its replies drops them, too.
func (s *state) admit() {
	for len(s.notes) > 0 && (s.notified < s.maxNotified || s.dropping()) {
		n := s.notes[0]
		s.notes[0] = nil
		s.notes = s.notes[1:]
		if n.dropped = s.dropping(); !n.dropped {
			text := encodeNotification(n.notification)
			s.outbox = append(s.outbox, outgoing{kind: websocket.TextMessage, data: text})
			s.notified += int64(len(text))
		}
		close(n.taken)
	}
}

// withdraw takes back a notification that waits for room.
func (s *state) withdraw(n *pendingNote) {
	s.notes = slices.DeleteFunc(s.notes, func(other *pendingNote) bool { return other == n })
}

// beginning takes the followers that are to begin now.
func (s *state) beginning() []*follower {
	f := s.begin
	s.begin = nil
	return f
}

// full says that the reader has to wait. Requests that wait for an earlier one
// count by their bytes alone: behind them there may be one that waits for
// nothing, such as to cancel what they wait for.
func (s *state) full() bool {
	return (s.requests-s.waiting >= s.maxRequests || s.bytes >= s.maxBytes) && !s.dropping()
}

// takeFreed takes what is to be given back to the budgets.
func (s *state) takeFreed() (requests, replies int64) {
	requests, replies = s.freedRequests, s.freedReplies
	s.freedRequests, s.freedReplies = 0, 0
	return requests, replies
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
	for _, r := range s.outbox {
		s.wrote(r)
	}
	s.outbox = nil
}

// lose ends all writing.
func (s *state) lose() {
	s.gone = true
	s.pong = nil
	s.discard()
}

// waitsForReplies says whether the call waits for the client to read what is queued.
func (c *call) waitsForReplies() bool { return !c.method.ends && c.refused == nil }

package session

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"sync"
	"time"

	"github.com/pkg/sftp"

	"codebeaker/runtime/agent"
)

// fileCalls makes calls to the helper in a session that are no SFTP. They share
// SFTP's connection, of which it is the writing end. What comes back is from
// inside the session, and is checked: no reply may bring more than was asked.
type fileCalls struct {
	packets *agent.Packets
	closer  io.Closer

	mu      sync.Mutex
	lastID  uint32
	pending map[uint32]*fileCall
	ended   bool
}

// fileCall is a call that was not answered in full.
type fileCall struct {
	reply  agent.FileReply // so far
	left   int             // entries that may still come
	bytes  int             // and bytes of their paths
	prefix int             // bytes that stand before each
	done   chan error
}

func newFileCalls(r io.Reader, w io.WriteCloser) *fileCalls {
	c := &fileCalls{closer: w, pending: map[uint32]*fileCall{}}
	c.packets = agent.NewPackets(r, w, agent.ReplyPacket, c.receive)
	return c
}

// Write and Close are for SFTP's client, which closes when nothing more can be
// read.
func (c *fileCalls) Write(p []byte) (int, error) { return c.packets.Write(p) }

func (c *fileCalls) Close() error {
	c.mu.Lock()
	c.ended = true
	for id, call := range c.pending {
		delete(c.pending, id)
		call.done <- sftp.ErrSSHFxConnectionLost
	}
	c.mu.Unlock()
	return c.closer.Close()
}

// call makes a call and returns its answer, all replies in one. It returns when
// that is there or the connection ended; the helper is told to give up in time
// before ctx ends. Errors are *fileCallError, or the connection's.
func (c *fileCalls) call(ctx context.Context, req agent.FileRequest) (*agent.FileReply, error) {
	req.Timeout = timeoutOf(ctx)
	payload, err := json.Marshal(req)
	if err != nil {
		return nil, fmt.Errorf("encode file request: %w", err)
	}
	call := &fileCall{left: req.MaxEntries, bytes: req.MaxBytes, prefix: len(req.Path) + 1, done: make(chan error, 1)}
	c.mu.Lock()
	if c.ended {
		c.mu.Unlock()
		return nil, sftp.ErrSSHFxConnectionLost
	}
	c.lastID++
	id := c.lastID
	c.pending[id] = call
	c.mu.Unlock()
	if err := c.packets.Send(agent.RequestPacket, id, payload); err != nil {
		c.mu.Lock()
		delete(c.pending, id)
		c.mu.Unlock()
		return nil, fmt.Errorf("%w: %w", sftp.ErrSSHFxConnectionLost, err)
	}
	if err := <-call.done; err != nil {
		return nil, err
	}
	if call.reply.Errno != 0 {
		return nil, &fileCallError{call.reply}
	}
	return &call.reply, nil
}

// timeoutOf returns a time that leaves the helper some to clean up, before it
// is killed.
func timeoutOf(ctx context.Context) time.Duration {
	deadline, ok := ctx.Deadline()
	if !ok {
		return math.MaxInt64
	}
	left := time.Until(deadline)
	return max(left-left/8, 1)
}

// receive takes a reply. An error is a helper that does not keep to the
// protocol, with which nothing more is to be done.
func (c *fileCalls) receive(id uint32, payload []byte) error {
	c.mu.Lock()
	call := c.pending[id]
	c.mu.Unlock()
	if call == nil {
		return errors.New("file helper answers what was not asked")
	}
	more, err := call.add(payload)
	if err != nil || more {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pending[id] != nil { // and not given up meanwhile
		delete(c.pending, id)
		call.done <- nil
	}
	return nil
}

// add adds a reply to the answer, and says whether more replies follow.
func (c *fileCall) add(payload []byte) (more bool, err error) {
	var r agent.FileReply
	if err := json.Unmarshal(payload, &r); err != nil {
		return false, errors.New("file helper answers with what is no reply")
	}
	if r.More && len(r.Entries) == 0 {
		return false, errors.New("file helper announces more and brings nothing")
	}
	if c.left -= len(r.Entries); c.left < 0 {
		return false, errors.New("file helper lists more entries than it may")
	}
	for _, e := range r.Entries {
		if c.bytes -= c.prefix + len(e.Path); c.bytes < 0 {
			return false, errors.New("file helper lists more bytes of paths than it may")
		}
		if !isBelow(e.Path) {
			return false, errors.New("file helper lists what is no path below the directory")
		}
	}
	r.Entries = append(c.reply.Entries, r.Entries...)
	c.reply = r
	return r.More, nil
}

// isBelow says whether a relative path leads down and nowhere else.
func isBelow(name string) bool {
	if strings.Contains(name, "\x00") {
		return false
	}
	for element := range strings.SplitSeq(name, "/") {
		if element == "" || element == "." || element == ".." {
			return false
		}
	}
	return true
}

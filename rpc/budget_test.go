package rpc

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"codebeaker/session"
)

func TestBudgetIsTakenInTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(100)
		var order []string
		take := func(name string, bytes int64, done <-chan struct{}) {
			go func() {
				if _, ok := b.take(bytes, done); ok {
					order = append(order, name)
				}
			}()
			synctest.Wait()
		}
		gone := make(chan struct{})
		take("first", 50, nil)
		take("second", 40, nil)
		take("large", 1000, nil) // at most half, and yet too much now
		take("gone", 10, gone)
		take("small", 20, nil) // waits behind the large one
		if got := strings.Join(order, " "); got != "first second" {
			t.Fatalf("took: %s", got)
		}
		if held, waiting := b.stats(); held != 90 || waiting != 3 {
			t.Errorf("%d bytes are held, %d wait", held, waiting)
		}
		close(gone)
		synctest.Wait()
		b.give(50)
		synctest.Wait()
		if got := strings.Join(order, " "); got != "first second large" {
			t.Errorf("took: %s", got)
		}
		b.give(40)
		synctest.Wait()
		if got := strings.Join(order, " "); got != "first second large small" {
			t.Errorf("took: %s", got)
		}
		b.add(70) // what was not known before
		take("last", 1, nil)
		b.give(140)
		synctest.Wait()
		if held, waiting := b.stats(); held != 1 || waiting != 0 || order[len(order)-1] != "last" {
			t.Errorf("%d bytes are held, %d wait, took %q", held, waiting, order)
		}
	})
}

// beginMessage sends the header of a text frame and the beginning of its text.
func beginMessage(t *testing.T, c *client, size int, text string) {
	t.Helper()
	header := []byte{0x81, 0xff}
	header = binary.BigEndian.AppendUint64(header, uint64(size))
	header = append(header, 0, 0, 0, 0) // a mask that changes nothing
	if _, err := c.NetConn().Write(append(header, text...)); err != nil {
		t.Fatal(err)
	}
}

func endMessage(t *testing.T, c *client, rest string) {
	t.Helper()
	if _, err := c.NetConn().Write([]byte(rest)); err != nil {
		t.Fatal(err)
	}
}

// longList is a request of so many bytes, in two parts.
func longList(size int) (begin, rest string) {
	text := `{"jsonrpc":"2.0","id":"long","method":"session.list"}`
	text += strings.Repeat(" ", size-len(text))
	return text[:shortMessage*2], text[shortMessage*2:]
}

func TestMessagesThatAreNotFinishedLeaveMemoryToOthers(t *testing.T) {
	const message = 1 << 20
	s := startServer(t, Options{MaxMessageBytes: message, MaxHeldBytes: 8 << 20})
	begin, rest := longList(message)
	var conns []*client
	for range 10 { // three of them have room for the longest message
		c := s.dial(t)
		beginMessage(t, c, message, begin)
		conns = append(conns, c)
	}
	eventually(t, "three are read", func() bool {
		stats := s.Stats()
		return stats.HeldRequests > 3*message && stats.WaitingRequests == 7
	})
	other := s.dial(t) // what is short passes
	other.send(`{"jsonrpc":"2.0","id":"list","method":"session.list"}`)
	other.wantID("list")
	for _, c := range conns { // in their turns
		go func() { _, _ = c.NetConn().Write([]byte(rest)) }() // the answer tells
	}
	for _, c := range conns {
		c.wantID("long")
	}
	eventually(t, "nothing is held", func() bool { return s.Stats().HeldRequests == 0 && s.Stats().HeldReplies == 0 })
}

func TestMessageThatDoesNotComeIsDroppedOnceOthersWait(t *testing.T) {
	const message = 1 << 20
	s := startServer(t, Options{MaxMessageBytes: message, MaxHeldBytes: 4 << 20, MessageTimeout: 50 * time.Millisecond})
	begin, rest := longList(message)
	slow := s.dial(t)
	beginMessage(t, slow, message, begin)
	eventually(t, "it is read", func() bool { return s.Stats().HeldRequests > 0 })
	var others []*client
	for range 3 {
		c := s.dial(t)
		beginMessage(t, c, message, begin)
		others = append(others, c)
	}
	eventually(t, "the slow ones are dropped", func() bool { return s.Stats().WaitingRequests == 0 })
	if _, _, err := slow.ReadMessage(); !websocket.IsCloseError(err, websocket.ClosePolicyViolation) {
		t.Errorf("the slow one reads %v", err)
	}
	endMessage(t, others[2], rest)
	others[2].wantID("long")
}

// Sixty reads of one client, who reads none of the replies.
func TestRepliesAreMadeWhenThereIsMemoryForThem(t *testing.T) {
	const size, reads = 3 << 20, 60
	var running, most atomic.Int64
	content := bytes.Repeat([]byte("x"), size)
	s := startServer(t, Options{MaxHeldBytes: 64 << 20, MaxQueuedBytes: 16 << 20, WriteTimeout: time.Minute, Sessions: &fakeSessions{
		execute: func(_ context.Context, _ string, cmd session.Command) (*session.Outcome, error) {
			for n := running.Add(1); ; {
				if was := most.Load(); n <= was || most.CompareAndSwap(was, n) {
					break
				}
			}
			defer running.Add(-1)
			r := cmd.(*session.ReadFile)
			return &session.Outcome{Success: true, Result: &session.ReadFileResult{Path: r.Path, Content: content}}, nil
		},
	}})
	c := s.dial(t)
	for i := range reads {
		c.send(fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"session.execute","params":{"sessionId":"s%d","command":{"type":"read_file","path":"f","length":%d}}}`, i, i, size))
	}
	eventually(t, "what has room is made", func() bool {
		stats := s.Stats()
		return stats.HeldReplies > 8<<20 && running.Load() == 0
	})
	if held := s.Stats().HeldReplies; held > 33<<20 {
		t.Errorf("one connection holds %d bytes", held)
	}
	other := s.dial(t)
	other.send(`{"jsonrpc":"2.0","id":"o","method":"session.execute","params":{"sessionId":"o","command":{"type":"read_file","path":"f","length":1000000}}}`)
	other.wantID("o")
	for range reads {
		if r := c.receiveResponse(); r.Error != nil {
			t.Fatal(r.Error)
		}
	}
	eventually(t, "nothing is held", func() bool { return s.Stats().HeldReplies == 0 })
}

// Batches that hold replies of their own do not wait for each other for ever.
func TestBatchesDoNotWaitForEachOther(t *testing.T) {
	const size = 3 << 20
	content := bytes.Repeat([]byte("x"), size)
	s := startServer(t, Options{MaxHeldBytes: 16 << 20, WriteTimeout: time.Minute, Sessions: &fakeSessions{
		execute: func(context.Context, string, session.Command) (*session.Outcome, error) {
			return &session.Outcome{Success: true, Result: &session.ReadFileResult{Path: "f", Content: content}}, nil
		},
	}})
	var batch []string
	for i := range 10 {
		batch = append(batch, fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"session.execute","params":{"sessionId":"s%d","command":{"type":"read_file","path":"f","length":%d}}}`, i, i, size))
	}
	conns := []*client{s.dial(t), s.dial(t)}
	for _, c := range conns {
		c.send("[" + strings.Join(batch, ",") + "]")
	}
	for _, c := range conns {
		_, text, err := c.ReadMessage()
		if err != nil || !bytes.HasPrefix(text, []byte("[")) {
			t.Errorf("a batch is answered with %d bytes, %v", len(text), err)
		}
	}
	eventually(t, "nothing is held", func() bool { return s.Stats().HeldReplies == 0 })
}

package session

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"

	"codebeaker/runtime/agent"
)

// badHelper answers SFTP's greeting, and the first request after it with what
// is given.
func badHelper(answer func(id uint32, w io.Writer) error) serveFiles {
	return func(_ context.Context, stdin io.Reader, stdout io.WriteCloser) error {
		if _, err := io.ReadFull(stdin, make([]byte, 9)); err != nil { // the greeting
			return err
		}
		in := agent.NewPackets(stdin, io.Discard, agent.RequestPacket, func(id uint32, _ []byte) error {
			return answer(id, stdout)
		})
		if _, err := stdout.Write([]byte("\x00\x00\x00\x05\x02\x00\x00\x00\x03")); err != nil {
			return err
		}
		_, err := io.Copy(io.Discard, in)
		return err
	}
}

func encodeReply(id uint32, reply any) []byte {
	payload, err := json.Marshal(reply)
	if err != nil {
		panic(err)
	}
	b := binary.BigEndian.AppendUint32(nil, uint32(5+len(payload)))
	b = binary.BigEndian.AppendUint32(append(b, byte(agent.ReplyPacket)), id)
	return append(b, payload...)
}

// Whatever a helper answers that was not asked, the command fails, the helper
// is replaced, and no more was kept than a listing may have.
func TestHelperThatBreaksTheProtocolIsReplaced(t *testing.T) {
	type reply = agent.FileReply
	entry := func(name string) reply { return reply{Entries: []agent.FileEntry{{Path: name}}} }
	one := func(r any) func(uint32, io.Writer) error {
		return func(id uint32, w io.Writer) error {
			_, err := w.Write(encodeReply(id, r))
			return err
		}
	}
	endless := func(name string) func(uint32, io.Writer) error {
		return func(id uint32, w io.Writer) error {
			r := entry(name)
			r.More = true
			for {
				if _, err := w.Write(encodeReply(id, r)); err != nil {
					return err
				}
			}
		}
	}
	// These would be taken, were they not too many.
	many := func(replies, entries int, name string) func(uint32, io.Writer) error {
		return func(id uint32, w io.Writer) error {
			for i := range replies {
				r := reply{More: i < replies-1}
				for range entries {
					r.Entries = append(r.Entries, agent.FileEntry{Path: name})
				}
				if _, err := w.Write(encodeReply(id, r)); err != nil {
					return err
				}
			}
			return nil
		}
	}
	for name, answer := range map[string]func(uint32, io.Writer) error{
		"another id":         func(id uint32, w io.Writer) error { _, err := w.Write(encodeReply(id+1, reply{})); return err },
		"no JSON":            func(id uint32, w io.Writer) error { _, err := w.Write(encodeReply(id, 7)); return err },
		"an end":             func(uint32, io.Writer) error { return io.EOF },
		"half a packet":      func(id uint32, w io.Writer) error { _, _ = w.Write(encodeReply(id, reply{})[:9]); return io.EOF },
		"a huge packet":      func(_ uint32, w io.Writer) error { _, err := w.Write([]byte("\x7f\xff\xff\xff\xf1aaaa")); return err },
		"more without any":   one(reply{More: true}),
		"endless entries":    endless("a"),
		"too many entries":   many(1, 3001, "a"),
		"too many bytes":     many(40, 30, strings.Repeat("a", 4000)),
		"a path up":          one(entry("../a")),
		"an absolute path":   one(entry("/a")),
		"an empty path":      one(entry("")),
		"a path with a dot":  one(entry("a/./b")),
		"a path with NUL":    one(entry("a\x00b")),
		"a path of all dots": one(entry("a/..")),
	} {
		t.Run(name, func(t *testing.T) {
			s := helperSession(t, func(o *Options) { o.MaxListEntries = 3000 }, badHelper(answer))
			const reason = "interrupted: the session's file helper was killed; send the command again"
			for round := range 2 {
				refusedPath(t, s, &ListDirectory{Path: "/x"}, "/x", reason)
				if n := len(s.container.(*filesContainer).helpers()); n != round+1 {
					t.Errorf("%d helpers after %d commands", n, round+1)
				}
			}
		})
	}
}

func TestAnswersWithoutEntriesMayBringNone(t *testing.T) {
	s := helperSession(t, nil, badHelper(func(id uint32, w io.Writer) error {
		_, err := w.Write(encodeReply(id, agent.FileReply{Entries: []agent.FileEntry{{Path: "a"}}}))
		return err
	}))
	refusedPath(t, s, &DeleteFile{Path: "/x"}, "/x", "interrupted: the session's file helper was killed; send the command again")
}

func TestUnknownErrorOfTheHelperIsNotPassedOn(t *testing.T) {
	s := helperSession(t, nil, badHelper(func(id uint32, w io.Writer) error {
		_, err := w.Write(encodeReply(id, map[string]any{"errno": 12345, "text": "/host/path"}))
		return err
	}))
	refusedPath(t, s, &DeleteFile{Path: "/x"}, "/x", "failed")
}

func TestCommandFailsWhenItsHelperIsKilled(t *testing.T) {
	s := helperSession(t, nil, badHelper(func(uint32, io.Writer) error { return nil }))
	failed := make(chan error, 1)
	go func() {
		_, err := s.executeFile(t.Context(), &DeleteFile{Path: "/x"})
		failed <- err
	}()
	c, ok := s.container.(*filesContainer)
	if !ok {
		t.Fatal("no fake container")
	}
	eventually(t, "the helper is started", func() bool { return len(c.helpers()) == 1 })
	if err := c.helpers()[0].Kill(); err != nil {
		t.Fatal(err)
	}
	if err := <-failed; err == nil || !strings.Contains(err.Error(), "interrupted") {
		t.Errorf("command answers %v", err)
	}
}

func TestFileCommandsEndWithTheirTime(t *testing.T) {
	s := helperSession(t, func(o *Options) { o.FileTimeout = 1 }, badHelper(func(uint32, io.Writer) error { return nil }))
	refusedPath(t, s, &DeleteFile{Path: "/x"}, "/x", "timed out after 1ns")
	s = helperSession(t, func(o *Options) { o.FileTimeout = 20e6 }, badHelper(func(uint32, io.Writer) error { return nil }))
	refusedPath(t, s, &DeleteFile{Path: "/x"}, "/x", "timed out after 20ms")
}

// FuzzFileReplies reads what a session may answer to one listing.
func FuzzFileReplies(f *testing.F) {
	const maxEntries, maxBytes = 5, 100
	good := agent.FileReply{Entries: []agent.FileEntry{{Path: "a/b"}, {Path: "\xff"}}, More: true}
	f.Add(append(encodeReply(1, good), encodeReply(1, agent.FileReply{Truncated: true})...))
	f.Add(encodeReply(1, agent.FileReply{Errno: 2, AtTo: true}))
	f.Add(encodeReply(1, map[string]any{"entries": []any{nil, map[string]any{"p": "a/../b"}}}))
	f.Fuzz(func(t *testing.T, in []byte) {
		c := newFileCalls(bytes.NewReader(in), nopCloser{})
		call := &fileCall{left: maxEntries, bytes: maxBytes, prefix: 2, done: make(chan error, 1)}
		c.pending[1] = call
		_, _ = io.Copy(io.Discard, c.packets)
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		if <-call.done != nil {
			return
		}
		if err := checkEntries(call.reply.Entries, maxEntries, maxBytes); err != nil {
			t.Fatal(err)
		}
	})
}

func checkEntries(entries []agent.FileEntry, maxEntries, maxBytes int) error {
	total := 0
	for _, e := range entries {
		total += 2 + len(e.Path)
		if path := newFileEntry("/x", e).Path; !strings.HasPrefix(path, "/x/") || strings.Contains(path+"/", "/../") {
			return fmt.Errorf("entry leads to %q", path)
		}
	}
	if len(entries) > maxEntries || total > maxBytes {
		return fmt.Errorf("%d entries with %d bytes", len(entries), total)
	}
	return nil
}

// nopCloser throws away what is written.
type nopCloser struct{}

func (nopCloser) Write(p []byte) (int, error) { return len(p), nil }

func (nopCloser) Close() error { return nil }

package session

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"golang.org/x/sys/unix"

	"codebeaker/runtime/agent"
)

// badHelper answers each request with what is given.
func badHelper(answer func(id uint32, w io.Writer) error) serveFiles {
	return func(_ context.Context, stdin io.Reader, stdout io.Writer) error {
		packets := agent.NewPackets(stdin, io.Discard)
		for {
			id, _, _, err := packets.Receive()
			if err == nil {
				err = answer(id, stdout)
			}
			if err != nil {
				return err
			}
		}
	}
}

func encodeReply(id uint32, reply any, data ...byte) []byte {
	var b bytes.Buffer
	if err := agent.NewPackets(nil, &b).Send(id, reply, data); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// Whatever a helper answers that was not asked, the command fails, the helper
// is replaced, and no more was kept than a listing may have.
func TestHelperThatBreaksTheProtocolIsReplaced(t *testing.T) {
	type reply = agent.FileReply
	entry := func(name string) reply { return reply{Entries: []agent.FileEntry{{Path: agent.FilePath(name)}}} }
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
					r.Entries = append(r.Entries, agent.FileEntry{Path: agent.FilePath(name)})
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
		"a huge packet":      func(_ uint32, w io.Writer) error { _, err := w.Write([]byte("\x7f\xff\xff\xffaaaaaaaa")); return err },
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
		"content":            func(id uint32, w io.Writer) error { _, err := w.Write(encodeReply(id, reply{}, 1)); return err },
	} {
		t.Run(name, func(t *testing.T) {
			s := helperSession(t, func(o *Options) { o.MaxListEntries = 3000 }, badHelper(answer))
			const reason = "interrupted: the session's file helper was killed; send the command again"
			for round := range 2 {
				refusedPath(t, s, &ListDirectory{Path: "/x"}, "/x", reason)
				if n := len(s.container.(*filesContainer).helpers()); n != (round+1)*maxHelpers {
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
	refusedPath(t, s, &DeleteFile{Path: "/x"}, "/x", mayBeDone)
}

// mayBeDone is what is said of a command whose helper ended.
const mayBeDone = "interrupted: the session's file helper was killed; the command may have been carried out, so look before you send it again"

func TestUnknownErrorOfTheHelperIsNotPassedOn(t *testing.T) {
	s := helperSession(t, nil, badHelper(func(id uint32, w io.Writer) error {
		_, err := w.Write(encodeReply(id, map[string]any{"errno": 12345, "text": "/host/path"}))
		return err
	}))
	refusedPath(t, s, &DeleteFile{Path: "/x"}, "/x", "failed")
}

// mortalHelper is a helper of which the first ends with some requests unanswered,
// and those after it serve.
func mortalHelper(first func(stdin io.Reader, stdout io.Writer)) serveFiles {
	var started atomic.Int32
	return func(ctx context.Context, stdin io.Reader, stdout io.Writer) error {
		if started.Add(1) == 1 {
			first(stdin, stdout)
			return io.EOF
		}
		return agent.ServeFiles(ctx, stdin, stdout)
	}
}

// A command that a dead helper did not begin is another helper's.
func TestCommandsDoNotMeetADeadHelper(t *testing.T) {
	dir := t.TempDir()
	put(t, dir+"/x", "1", 0o644)
	commands := map[string]func() Command{
		"append":    func() Command { return &WriteFile{Path: dir + "/a", Content: []byte("1"), Mode: WriteAppend} },
		"move":      func() Command { return &MoveFile{Source: dir + "/x", Destination: dir + "/y"} },
		"delete":    func() Command { return &DeleteFile{Path: dir + "/y"} },
		"directory": func() Command { return &CreateDirectory{Path: dir + "/dir"} },
	}
	for _, name := range slices.Sorted(maps.Keys(commands)) {
		s := helperSession(t, nil, mortalHelper(func(stdin io.Reader, stdout io.Writer) {
			packets := agent.NewPackets(stdin, stdout)
			if id, _, _, err := packets.Receive(); err == nil {
				_ = packets.Send(id, agent.FileReply{}, nil)
			}
		}))
		files[DeleteFileResult](t, s, &DeleteFile{Path: dir}) // which the first answers, and ends
		c, ok := s.container.(*filesContainer)
		if !ok {
			t.Fatal("no fake container")
		}
		eventually(t, "the helper has ended", func() bool { return isClosed(s.files.client.ended) })
		if name == "delete" {
			put(t, dir+"/y", "", 0o644)
		}
		if _, err := s.executeFile(t.Context(), commands[name]()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if n := len(c.helpers()); n != 2 {
			t.Errorf("%s: %d helpers", name, n)
		}
	}
}

// A command whose helper ends is carried out by another where twice is the same
// as once, and says so where it is not.
func TestCommandsWhoseHelperEnds(t *testing.T) {
	dir := t.TempDir()
	put(t, dir+"/x", "1", 0o644)
	put(t, dir+"/dir/y", "1", 0o644)
	for _, tc := range []struct {
		cmd   Command
		again bool
	}{
		{&WriteFile{Path: dir + "/w", Content: make([]byte, 3*agent.MaxChunk)}, true},
		{&ReadFile{Path: dir + "/x", Length: -1}, true},
		{&ListDirectory{Path: dir}, true},
		{&CreateDirectory{Path: dir + "/d", Recursive: true}, true},
		// Of a directory, the copy that was made would be in the way of the second.
		{&CopyFile{Source: dir + "/x", Destination: dir + "/o", Overwrite: true}, false},
		{&CreateDirectory{Path: dir + "/o"}, false},
		{&WriteFile{Path: dir + "/o", Mode: WriteAppend}, false},
		{&MoveFile{Source: dir + "/x", Destination: dir + "/o", Overwrite: true}, false},
		{&DeleteFile{Path: dir + "/x"}, false},
	} {
		s := helperSession(t, nil, mortalHelper(func(stdin io.Reader, _ io.Writer) {
			_, _, _, _ = agent.NewPackets(stdin, nil).Receive()
		}))
		_, err := s.executeFile(t.Context(), tc.cmd)
		switch pathErr := (*PathError)(nil); {
		case tc.again && err != nil:
			t.Errorf("%T %+v: %v", tc.cmd, tc.cmd, err)
		case !tc.again && (!errors.As(err, &pathErr) || pathErr.Reason != mayBeDone):
			t.Errorf("%T %+v: %v, want %s", tc.cmd, tc.cmd, err, mayBeDone)
		}
	}
	if got, want := entries(t, dir), []string{"d", "dir", "w", "x"}; !slices.Equal(got, want) {
		t.Errorf("there is %v, want %v", got, want)
	}
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
	refusedPath(t, s, &ListDirectory{Path: "/x"}, "/x", "timed out after 1ns")
	s = helperSession(t, func(o *Options) { o.FileTimeout = 20e6 }, badHelper(func(uint32, io.Writer) error { return nil }))
	refusedPath(t, s, &DeleteFile{Path: "/x"}, "/x", "timed out after 20ms; the command may have been carried out in part")
}

// The helper remembers a file until its last packet, answered or not.
func TestFileThatIsAnsweredEarlyIsEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const chunks = 100
		requests, ended := 0, make(chan int, 1)
		s := helperSession(t, nil, func(_ context.Context, stdin io.Reader, stdout io.Writer) error {
			for packets := agent.NewPackets(stdin, stdout); ; requests++ {
				id, head, _, err := packets.Receive()
				var req agent.FileRequest
				if err == nil {
					err = json.Unmarshal(head, &req)
				}
				if err == nil && requests == 0 {
					err = packets.Send(id, agent.FileReply{Errno: unix.ENOSPC}, nil)
					synctest.Wait() // until the session has seen that
				}
				if err != nil {
					return err
				}
				if !req.More {
					ended <- requests
				}
			}
		})
		refusedPath(t, s, &WriteFile{Path: "/x", Content: make([]byte, chunks*agent.MaxChunk)}, "/x", "no space")
		if n := <-ended; n >= chunks-1 {
			t.Errorf("all %d packets were sent", n+1)
		}
	})
}

// No helper can have more kept of a file than was asked for.
func TestContentBeyondWhatWasAskedIsNotTaken(t *testing.T) {
	piece := make([]byte, 60<<10)
	for name, tc := range map[string]struct {
		pieces int
		reply  agent.FileReply
		length int64
		want   int
	}{
		"all of it":          {2, agent.FileReply{}, -1, 120 << 10},
		"a size that lies":   {2, agent.FileReply{Size: 1 << 60}, -1, 120 << 10},
		"a size below zero":  {2, agent.FileReply{Size: -1}, -1, 120 << 10},
		"more than it may":   {3, agent.FileReply{}, -1, -1},
		"more than is asked": {2, agent.FileReply{}, 100 << 10, -1},
	} {
		s := helperSession(t, func(o *Options) { o.MaxFileBytes = 120 << 10 }, badHelper(func(id uint32, w io.Writer) error {
			for i := range tc.pieces {
				tc.reply.More = i < tc.pieces-1
				if _, err := w.Write(encodeReply(id, tc.reply, piece...)); err != nil {
					return err
				}
			}
			return nil
		}))
		cmd := &ReadFile{Path: "/x", Length: tc.length}
		if tc.want < 0 {
			refusedPath(t, s, cmd, "/x", "interrupted: the session's file helper was killed; send the command again")
		} else if r := files[ReadFileResult](t, s, cmd); len(r.Content) != tc.want || cap(r.Content) > 240<<10 {
			t.Errorf("%s: %d bytes in %d, want %d", name, len(r.Content), cap(r.Content), tc.want)
		}
	}
}

// FuzzFileReplies reads what a session may answer to one listing, and to one
// read.
func FuzzFileReplies(f *testing.F) {
	const maxEntries, maxBytes, maxContent = 5, 100, 1000
	good := agent.FileReply{Entries: []agent.FileEntry{{Path: "a/b"}, {Path: "\xff"}}, More: true}
	f.Add(append(encodeReply(1, good), encodeReply(1, agent.FileReply{Truncated: true})...))
	f.Add(encodeReply(1, agent.FileReply{Errno: 2, AtTo: true}))
	f.Add(encodeReply(1, map[string]any{"entries": []any{nil, map[string]any{"p": "a/../b"}}}))
	f.Add(append(encodeReply(2, agent.FileReply{Size: 1 << 50, More: true}, 1, 2, 3), encodeReply(2, agent.FileReply{}, 4)...))
	f.Fuzz(func(t *testing.T, in []byte) {
		listing := &fileCall{left: maxEntries, bytes: maxBytes, prefix: 2, done: make(chan error, 1)}
		reading := &fileCall{most: maxContent, done: make(chan error, 1)}
		c := &fileClient{
			packets: agent.NewPackets(bytes.NewReader(in), io.Discard), ended: make(chan struct{}),
			pending: map[uint32]*fileCall{1: listing, 2: reading},
		}
		c.receive()
		if <-listing.done == nil {
			if err := checkEntries(listing.reply.Entries, maxEntries, maxBytes); err != nil {
				t.Fatal(err)
			}
		}
		if err := <-reading.done; len(reading.content) > maxContent || cap(reading.content) > 2*maxContent || len(reading.reply.Entries) > 0 && err == nil {
			t.Fatalf("%d bytes in %d, entries %v", len(reading.content), cap(reading.content), reading.reply.Entries)
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

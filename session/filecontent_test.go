package session

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"codebeaker/runtime/agent"
)

func TestWriteFileModesAndPermissions(t *testing.T) {
	s, dir := filesSession(t, nil)
	bits := func(n uint32) *uint32 { return &n }
	name := dir + "/new/deep/file"
	r := files[WriteFileResult](t, s, &WriteFile{Path: name, Content: []byte("one\n")})
	if r.Path != name || r.Bytes != 4 {
		t.Errorf("answer %+v", r)
	}
	holds(t, name, "one\n", 0o644)
	files[WriteFileResult](t, s, &WriteFile{Path: name, Content: []byte("two\n"), Mode: WriteAppend, Permissions: bits(0o600)})
	holds(t, name, "one\ntwo\n", 0o600)
	files[WriteFileResult](t, s, &WriteFile{Path: name, Content: []byte("3")})
	holds(t, name, "3", 0o600)
	files[WriteFileResult](t, s, &WriteFile{Path: dir + "/log", Content: []byte("first"), Mode: WriteAppend})
	holds(t, dir+"/log", "first", 0o644)
	files[WriteFileResult](t, s, &WriteFile{Path: dir + "/empty"})
	holds(t, dir+"/empty", "", 0o644)
}

// Whatever was there before and however many packets it takes, a file holds what
// was written and nothing else, and reads as that.
func TestFilesOfAllSizes(t *testing.T) {
	s, dir := filesSession(t, nil)
	content := strings.Repeat("0123456789abcde\n", 5*agent.MaxChunk/16)
	sizes := []int{
		0, 1, 4095, 4096, 4097, agent.MaxChunk - 1, agent.MaxChunk, agent.MaxChunk + 1,
		2 * agent.MaxChunk, 2*agent.MaxChunk + 1, 5 * agent.MaxChunk,
	}
	for _, before := range sizes {
		for _, size := range sizes {
			put(t, dir+"/file", strings.Repeat("x", before), 0o640)
			files[WriteFileResult](t, s, &WriteFile{Path: dir + "/file", Content: []byte(content[:size])})
			holds(t, dir+"/file", content[:size], 0o640)
			if r := files[ReadFileResult](t, s, &ReadFile{Path: dir + "/file", Length: -1}); string(r.Content) != content[:size] {
				t.Errorf("%d bytes read as %d, or changed", size, len(r.Content))
			}
			files[WriteFileResult](t, s, &WriteFile{Path: dir + "/file", Content: []byte(content[:before]), Mode: WriteAppend})
			holds(t, dir+"/file", content[:size]+content[:before], 0o640)
		}
	}
}

// What of a large file comes after its refusal disturbs nobody.
func TestLargeFileThatIsRefusedLeavesTheHelperInOrder(t *testing.T) {
	s, dir := filesSession(t, nil)
	large := make([]byte, 20*agent.MaxChunk)
	for range 20 {
		refusedPath(t, s, &WriteFile{Path: dir, Content: large}, dir, "is a directory")
		files[WriteFileResult](t, s, &WriteFile{Path: dir + "/file", Content: []byte("x")})
	}
	holds(t, dir+"/file", "x", 0o644)
	if c, ok := s.container.(*filesContainer); !ok || len(c.helpers()) != 1 {
		t.Error("the helper was replaced")
	}
}

func TestLargeFilesAtOnce(t *testing.T) {
	s, dir := filesSession(t, nil)
	var work sync.WaitGroup
	for i := range 12 {
		work.Go(func() {
			name, content := fmt.Sprintf("%s/%d", dir, i), bytes.Repeat([]byte{byte(i)}, 7*agent.MaxChunk+i)
			for range 5 {
				if _, err := s.executeFile(t.Context(), &WriteFile{Path: name, Content: content}); err != nil {
					t.Error(err)
				}
				r, err := s.executeFile(t.Context(), &ReadFile{Path: name, Length: -1})
				if got, ok := r.(*ReadFileResult); err != nil || !ok || !bytes.Equal(got.Content, content) {
					t.Errorf("%s came back as something else, %v", name, err)
				}
			}
		})
	}
	work.Wait()
}

// Appends of several clients come one after another, none into another.
func TestAppendsDoNotOverwriteEachOther(t *testing.T) {
	s, dir := filesSession(t, nil)
	const writers, rounds = 8, 10
	line := func(w, i int) string { return fmt.Sprintf("%d %d %s\n", w, i, strings.Repeat("x", 200_000)) }
	var work sync.WaitGroup
	for w := range writers {
		work.Go(func() {
			for i := range rounds {
				if _, err := s.executeFile(t.Context(), &WriteFile{Path: dir + "/log", Content: []byte(line(w, i)), Mode: WriteAppend}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	work.Wait()
	got, err := os.ReadFile(dir + "/log")
	if err != nil {
		t.Fatal(err)
	}
	next := make([]int, writers)
	for l := range strings.Lines(string(got)) {
		var w, i int
		if _, err := fmt.Sscan(l, &w, &i); err != nil || l != line(w, i) || next[w] != i {
			t.Fatalf("line %.20q is torn or out of order", l)
		}
		next[w]++
	}
	for w, n := range next {
		if n != rounds {
			t.Errorf("writer %d has %d lines of %d", w, n, rounds)
		}
	}
}

func TestReadFileRanges(t *testing.T) {
	s, dir := filesSession(t, func(o *Options) { o.MaxFileBytes = 1 << 20 })
	big := strings.Repeat("0123456789abcdef", 3<<16) // 3 MiB
	put(t, dir+"/big", big, 0o644)
	put(t, dir+"/most", big[:1<<20], 0o644)
	put(t, dir+"/small", "0123456789", 0o644)
	put(t, dir+"/empty", "", 0o644)
	for _, tc := range []struct {
		name           string
		offset, length int64
		want           string
	}{
		{"small", 0, -1, "0123456789"},
		{"small", 3, 4, "3456"},
		{"small", 3, -1, "3456789"},
		{"small", 3, 1 << 62, "3456789"},
		{"small", 0, 0, ""},
		{"small", 10, -1, ""},
		{"small", 1 << 62, 5, ""},
		{"empty", 0, -1, ""},
		{"empty", 0, 1 << 62, ""},
		{"most", 0, -1, big[:1<<20]},
		{"big", 5, 1 << 20, big[5 : 5+1<<20]},
		{"big", 2 << 20, -1, big[2<<20:]},
		{"big", 2<<20 + 7, 1 << 62, big[2<<20+7:]},
	} {
		r := files[ReadFileResult](t, s, &ReadFile{Path: dir + "/" + tc.name, Offset: tc.offset, Length: tc.length})
		if string(r.Content) != tc.want {
			t.Errorf("%s from %d, %d bytes: got %d bytes %.20q", tc.name, tc.offset, tc.length, len(r.Content), r.Content)
		}
	}
	const tooLarge = "too large: one read returns at most 1048576 bytes; read ranges with offset and length"
	for _, cmd := range []*ReadFile{
		{Path: dir + "/big", Length: -1},
		{Path: dir + "/big", Length: 1<<20 + 1},
		{Path: dir + "/big", Offset: 1, Length: 2 << 20},
	} {
		refusedPath(t, s, cmd, cmd.Path, tooLarge)
	}
	if r := files[ReadFileResult](t, s, &ReadFile{Path: "/proc/self/status", Length: -1}); !strings.HasPrefix(string(r.Content), "Name:") || !bytes.HasSuffix(r.Content, []byte("\n")) {
		t.Errorf("a file without a size is %.40q", r.Content)
	}
	small := helperSession(t, func(o *Options) { o.MaxFileBytes = 16 }, agent.ServeFiles)
	refusedPath(t, small, &ReadFile{Path: "/proc/self/status", Length: -1}, "/proc/self/status",
		"too large: one read returns at most 16 bytes; read ranges with offset and length")
	if r := files[ReadFileResult](t, s, &ReadFile{Path: "/proc/self/status", Offset: 1, Length: 3}); string(r.Content) != "ame" {
		t.Errorf("a range of a file without a size is %.40q", r.Content)
	}
}

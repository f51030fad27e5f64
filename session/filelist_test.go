package session

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestListDirectory(t *testing.T) {
	s, dir := filesSession(t, nil)
	put(t, dir+"/b.py", "12345", 0o640)
	put(t, dir+"/a/x.py", "", 0o644)
	put(t, dir+"/a/deep/y.py", "", 0o644)
	put(t, dir+"/a.txt", "", 0o644)
	put(t, dir+"/.hidden/z.py", "", 0o644)
	put(t, dir+"/new\nline", "", 0o644)
	put(t, dir+"/bad\xff\xfename", "", 0o644)
	if err := os.Symlink("..", dir+"/a/loop"); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(dir+"/fifo", 0o600); err != nil {
		t.Fatal(err)
	}
	list := func(cmd ListDirectory) *ListDirectoryResult {
		t.Helper()
		cmd.Path = dir + cmd.Path
		return files[ListDirectoryResult](t, s, &cmd)
	}
	const bad = "bad\xff\xfename"
	for _, tc := range []struct {
		cmd  ListDirectory
		want []string
	}{
		{ListDirectory{}, []string{"a", "a.txt", "b.py", bad, "fifo", "new\nline"}},
		{ListDirectory{IncludeHidden: true}, []string{".hidden", "a", "a.txt", "b.py", bad, "fifo", "new\nline"}},
		{ListDirectory{MaxDepth: 5, Pattern: "[a-b]"}, []string{"a"}},
		{ListDirectory{Recursive: true, Pattern: "*.py"}, []string{"a/deep/y.py", "a/x.py", "b.py"}},
		{ListDirectory{Recursive: true, Pattern: "*.py", IncludeHidden: true}, []string{".hidden/z.py", "a/deep/y.py", "a/x.py", "b.py"}},
		{ListDirectory{Recursive: true, Pattern: "a/*.py"}, []string{"a/x.py"}},
		{ListDirectory{Recursive: true, Pattern: "**/*.py"}, []string{"a/deep/y.py", "a/x.py", "b.py"}},
		{ListDirectory{Recursive: true, Pattern: "a/**"}, []string{"a", "a/deep", "a/deep/y.py", "a/loop", "a/x.py"}},
		{ListDirectory{Recursive: true, Pattern: "a/**/y.py"}, []string{"a/deep/y.py"}},
		{ListDirectory{Recursive: true, Pattern: "{a,b}*"}, []string{"a", "a.txt", "b.py", bad}},
		{ListDirectory{Recursive: true, Pattern: "*.py", MaxDepth: 2}, []string{"a/x.py", "b.py"}},
		{ListDirectory{Recursive: true, Pattern: "*.py", MaxDepth: 1}, []string{"b.py"}},
		{ListDirectory{Path: "/a", Recursive: true}, []string{"deep", "deep/y.py", "loop", "x.py"}},
		{ListDirectory{Path: "/a/loop/a/"}, []string{"deep", "loop", "x.py"}},
		{ListDirectory{Pattern: "nothing"}, []string{}},
	} {
		r := list(tc.cmd)
		got := []string{}
		for _, e := range r.Entries {
			below, ok := strings.CutPrefix(e.Path, strings.TrimRight(r.Path, "/")+"/")
			if !ok || e.Name != filepath.Base(below) {
				t.Errorf("entry %+v of %s", e, r.Path)
			}
			got = append(got, below)
		}
		if !slices.Equal(got, tc.want) || r.Truncated || r.Path != dir+tc.cmd.Path {
			t.Errorf("%+v:\n got %q (%+v)\nwant %q", tc.cmd, got, r.Truncated, tc.want)
		}
	}
	types := map[string]FileType{}
	for _, e := range append(list(ListDirectory{}).Entries, list(ListDirectory{Path: "/a"}).Entries...) {
		types[e.Name] = e.Type
		if e.Name == "b.py" && (e.Size != 5 || e.Mode != 0o640 || time.Since(e.Modified).Abs() > time.Minute) {
			t.Errorf("entry %+v", e)
		}
	}
	if types["a"] != FileDirectory || types["b.py"] != FileRegular || types["loop"] != FileSymlink || types["fifo"] != FileOther {
		t.Errorf("types %v", types)
	}
	refusedPath(t, s, &ListDirectory{Path: dir + "/b.py"}, dir+"/b.py", "not a directory")
	refusedPath(t, s, &ListDirectory{Path: dir + "/fifo"}, dir+"/fifo", "not a directory")
	refusedPath(t, s, &ListDirectory{Path: dir + "/none"}, dir+"/none", "not found")
}

func TestListingSaysThatItIsCut(t *testing.T) {
	s, dir := filesSession(t, func(o *Options) { o.MaxListEntries = 100 })
	for i := range 1000 {
		put(t, fmt.Sprintf("%s/%04d", dir, (i*7919)%1000), "", 0o644)
	}
	r := files[ListDirectoryResult](t, s, &ListDirectory{Path: dir})
	if len(r.Entries) != 100 || !r.Truncated || r.Entries[0].Name != "0000" || r.Entries[99].Name != "0099" {
		t.Errorf("%d entries from %+v, truncated %v", len(r.Entries), r.Entries[0], r.Truncated)
	}
	if r := files[ListDirectoryResult](t, s, &ListDirectory{Path: dir, Pattern: "09*"}); len(r.Entries) != 100 || r.Truncated {
		t.Errorf("100 that match: %d entries, truncated %v", len(r.Entries), r.Truncated)
	}
}

// A listing goes on where one ended, whatever the names are and wherever in a tree
// that was.
func TestListingGoesOn(t *testing.T) {
	s, dir := filesSession(t, func(o *Options) { o.MaxListEntries = 1000 })
	for i := range 300 {
		put(t, fmt.Sprintf("%s/%d/%d-\xff", dir, i%7, i), "", 0o644)
		put(t, fmt.Sprintf("%s/%d.%d", dir, i%7, i), "", 0o644)
	}
	whole := files[ListDirectoryResult](t, s, &ListDirectory{Path: dir, Recursive: true})
	if len(whole.Entries) != 607 || whole.Truncated || whole.Next != "" {
		t.Fatalf("%d entries, truncated %v, then %q", len(whole.Entries), whole.Truncated, whole.Next)
	}
	for _, limit := range []int{1, 2, 100, 606, 607} {
		var got []FileEntry
		cmd := &ListDirectory{Path: dir, Recursive: true, Limit: limit}
		for {
			r := files[ListDirectoryResult](t, s, cmd)
			got = append(got, r.Entries...)
			if cmd.After = r.Next; r.Truncated != (r.Next != "") || len(r.Entries) > limit {
				t.Fatalf("%d entries, truncated %v, then %q", len(r.Entries), r.Truncated, r.Next)
			}
			if !r.Truncated {
				break
			}
		}
		if !slices.Equal(got, whole.Entries) {
			t.Errorf("in steps of %d there are %d entries, and not the same", limit, len(got))
		}
	}
	for _, limit := range []int{-1, 1001} {
		invalid := (*InvalidError)(nil)
		if _, err := s.executeFile(t.Context(), &ListDirectory{Path: dir, Limit: limit}); !errors.As(err, &invalid) || invalid.Field != "command.limit" {
			t.Errorf("limit %d: %v", limit, err)
		}
	}
}

// A session may give a file any time; what the wire cannot write is moved to
// the nearest that it can.
func TestListedTimesCanBeWritten(t *testing.T) {
	for _, tc := range []struct {
		seconds, nanoseconds int64
		want                 string
	}{
		{0, 1, "1970-01-01T00:00:00.000000001Z"},
		{-1, 5e9, "1969-12-31T23:59:59.999999999Z"},
		{1 << 40, 0, "9999-12-31T23:59:59Z"},
		{-1 << 62, -1, "0001-01-01T00:00:00Z"},
	} {
		if got := fileTime(tc.seconds, tc.nanoseconds).Format(time.RFC3339Nano); got != tc.want {
			t.Errorf("%d s is %s, want %s", tc.seconds, got, tc.want)
		}
	}
}

package agent

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// do carries out a request and joins its replies.
func do(t *testing.T, req FileRequest) FileReply {
	t.Helper()
	if req.Timeout == 0 {
		req.Timeout = time.Minute
	}
	var all FileReply
	replies := req.do(t.Context())
	for i, r := range replies {
		r.Entries = append(all.Entries, r.Entries...)
		if all = r; r.More != (i < len(replies)-1) {
			t.Errorf("reply %d of %d says More: %v", i, len(replies), r.More)
		}
	}
	return all
}

func touch(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// names are what is in a directory.
func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

func TestDirectoriesThatAreKeptStayWhole(t *testing.T) {
	dir := t.TempDir()
	touch(t, dir+"/work/file")
	if err := os.Symlink("work", dir+"/link"); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"/work", "/work/", "/./work", "/work/.", "/work/../work", "/link/../work"} {
		reply := do(t, FileRequest{Op: RemoveFile, Path: FilePath(dir + name), Recursive: true, Keep: []string{"/", dir + "/work"}})
		if reply.Errno != unix.EPERM {
			t.Errorf("removing %s: %v", name, reply.Errno)
		}
	}
	if got := names(t, dir+"/work"); !slices.Equal(got, []string{"file"}) {
		t.Errorf("in it is %v", got)
	}
	if reply := do(t, FileRequest{Op: RemoveFile, Path: FilePath(dir + "/work"), Recursive: true}); reply.Errno != 0 {
		t.Errorf("removing what is not kept: %v", reply.Errno)
	}
}

func TestListingKeepsTheFirstPaths(t *testing.T) {
	dir := t.TempDir()
	var want []string
	for i := range 3000 {
		name := fmt.Sprintf("%03d/%04d", i%50, (i*7919)%3000)
		touch(t, filepath.Join(dir, name))
		want = append(want, name)
	}
	for i := range 50 {
		want = append(want, fmt.Sprintf("%03d", i))
	}
	slices.Sort(want)
	for _, tc := range []struct{ entries, bytes, want int }{
		{5000, 1 << 20, len(want)},
		{len(want), 1 << 20, len(want)},
		{len(want) - 1, 1 << 20, len(want) - 1},
		{100, 1 << 20, 100},
		{1, 1 << 20, 1},
		{5000, (len(dir) + 1 + len("000/0000")) * 10, 10},
		{5000, 1, 0},
	} {
		reply := do(t, FileRequest{Op: ListDirectory, Path: FilePath(dir), Recursive: true, MaxEntries: tc.entries, MaxBytes: tc.bytes})
		var got []string
		for _, e := range reply.Entries {
			got = append(got, string(e.Path))
		}
		if !slices.Equal(got, want[:tc.want]) || reply.Truncated != (tc.want < len(want)) || reply.Errno != 0 {
			t.Errorf("%d entries, %d bytes: got %d, truncated %v, %v", tc.entries, tc.bytes, len(got), reply.Truncated, reply.Errno)
		}
	}
}

// What is left out because it is long is not made up for by what comes later.
func TestListingHasNoHoles(t *testing.T) {
	dir := t.TempDir()
	touch(t, dir+"/a", dir+"/b"+strings.Repeat("b", 200))
	for i := range 100 {
		touch(t, fmt.Sprintf("%s/c%d", dir, i))
	}
	reply := do(t, FileRequest{Op: ListDirectory, Path: FilePath(dir), MaxEntries: 1000, MaxBytes: 3 * (len(dir) + 5)})
	if len(reply.Entries) != 1 || reply.Entries[0].Path != "a" || !reply.Truncated {
		t.Errorf("got %+v", reply)
	}
}

func TestReplyFitsIntoAPacketWhateverTheNames(t *testing.T) {
	dir := t.TempDir()
	for i := range 300 {
		touch(t, fmt.Sprintf("%s/%03d%s", dir, i, strings.Repeat("\xff", 250)))
	}
	req := FileRequest{Op: ListDirectory, Path: FilePath(dir), MaxEntries: 1000, MaxBytes: 1 << 20, Timeout: time.Minute}
	var sent writes
	conn := NewPackets(nil, &sent)
	entries := 0
	for _, r := range req.do(t.Context()) {
		entries += len(r.Entries)
		if err := conn.Send(1, r, nil); err != nil {
			t.Fatal(err)
		}
	}
	if entries != 300 || sent < 2 {
		t.Errorf("%d entries in %d packets", entries, sent)
	}
}

// writes counts packets.
type writes int

func (w *writes) Write(p []byte) (int, error) {
	*w++
	return len(p), nil
}

func TestOperationsEndWithTheirTimeAndLeaveNothing(t *testing.T) {
	dir := t.TempDir()
	touch(t, dir+"/from")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, req := range []FileRequest{
		{Op: CopyFile, Path: FilePath(dir + "/from"), To: FilePath(dir + "/to"), Timeout: time.Minute},
		{Op: ListDirectory, Path: FilePath(dir), MaxEntries: 10, MaxBytes: 1000, Timeout: time.Minute},
	} {
		if reply := req.do(ctx)[0]; reply.Errno != unix.ETIMEDOUT {
			t.Errorf("%s: %+v", req.Op, reply)
		}
	}
	if got := names(t, dir); !slices.Equal(got, []string{"from"}) {
		t.Errorf("left is %v", got)
	}
}

func TestMoveIntoItselfIsRefusedUnderEveryName(t *testing.T) {
	dir := t.TempDir()
	touch(t, dir+"/a/b/file")
	for name, target := range map[string]string{"link": "a/b", "other": dir + "/a"} {
		if err := os.Symlink(target, dir+"/"+name); err != nil {
			t.Fatal(err)
		}
	}
	for _, to := range []string{"/a/x", "/a/b/x", "/a/new/x", "/a/b/../new/x", "/link/x", "/link/new/x", "/other/new/deep/x"} {
		if reply := do(t, FileRequest{Op: MoveFile, Path: FilePath(dir + "/a"), To: FilePath(dir + to)}); reply.Errno != unix.EINVAL || reply.AtTo {
			t.Errorf("moving a to %s: %+v", to, reply)
		}
	}
	if got := names(t, dir+"/a"); !slices.Equal(got, []string{"b"}) {
		t.Errorf("in a is %v; nothing was to be made", got)
	}
	if reply := do(t, FileRequest{Op: MoveFile, Path: FilePath(dir + "/a"), To: FilePath(dir + "/ab/new/x")}); reply.Errno != 0 {
		t.Errorf("moving a beside itself: %+v", reply)
	}
}

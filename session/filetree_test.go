package session

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestCreateDirectory(t *testing.T) {
	s, dir := filesSession(t, nil)
	put(t, dir+"/file", "", 0o644)
	for _, cmd := range []*CreateDirectory{
		{Path: dir + "/one"}, {Path: dir + "/a/b/c", Recursive: true}, {Path: dir + "/a/b", Recursive: true}, {Path: dir + "/two/"},
	} {
		if r := files[CreateDirectoryResult](t, s, cmd); r.Path != cmd.Path {
			t.Errorf("answer %+v", r)
		}
		if info, err := os.Stat(cmd.Path); err != nil || info.Mode() != os.ModeDir|0o755 {
			t.Errorf("%s: %v, %v", cmd.Path, info, err)
		}
	}
	for _, tc := range []struct {
		path      string
		recursive bool
		reason    string
	}{
		{"/one", false, "exists"},
		{"/file", false, "exists"},
		{"/file", true, "exists"},
		{"/x/y", false, "not found"},
		{"/file/y", false, "not a directory"},
		{"/file/y", true, "not a directory"},
		{"/" + strings.Repeat("n", 300), true, "name too long"},
	} {
		refusedPath(t, s, &CreateDirectory{Path: dir + tc.path, Recursive: tc.recursive}, dir+tc.path, tc.reason)
	}
}

func TestCopyFile(t *testing.T) {
	s, dir := filesSession(t, nil)
	content := strings.Repeat("0123456789abcdef", 1<<16)
	put(t, dir+"/from", content, 0o750)
	put(t, dir+"/there", "old", 0o600)
	if err := os.Symlink("from", dir+"/link"); err != nil {
		t.Fatal(err)
	}
	for _, to := range []string{"/new/deep/to", "/there", "/from", "/there"} {
		r := files[CopyFileResult](t, s, &CopyFile{Source: dir + "/link", Destination: dir + to, Overwrite: true})
		if r.Source != dir+"/link" || r.Destination != dir+to || r.Bytes != int64(len(content)) {
			t.Errorf("answer %+v", r)
		}
		holds(t, dir+to, content, 0o750)
	}
	// A link at the destination is replaced, and what it leads to is not.
	put(t, dir+"/other", "other", 0o644)
	files[CopyFileResult](t, s, &CopyFile{Source: dir + "/other", Destination: dir + "/link", Overwrite: true})
	holds(t, dir+"/from", content, 0o750)
	holds(t, dir+"/link", "other", 0o644)
	if got := files[CopyFileResult](t, s, &CopyFile{Source: "/proc/self/status", Destination: dir + "/status"}); got.Bytes < 100 {
		t.Errorf("a file without a size was copied as %d bytes", got.Bytes)
	}
	if got, want := entries(t, dir), []string{"from", "link", "new", "other", "status", "there"}; !slices.Equal(got, want) {
		t.Errorf("there is %v, want %v", got, want)
	}
}

func TestMoveFile(t *testing.T) {
	s, dir := filesSession(t, nil)
	put(t, dir+"/from", "1", 0o751)
	put(t, dir+"/there", "old", 0o600)
	put(t, dir+"/tree/in", "2", 0o644)
	for _, step := range []struct{ from, to string }{
		{"/from", "/new/deep/to"}, {"/new/deep/to", "/there"}, {"/there", "/there"}, {"/tree", "/other/tree"},
	} {
		r := files[MoveFileResult](t, s, &MoveFile{Source: dir + step.from, Destination: dir + step.to, Overwrite: true})
		if r.Source != dir+step.from || r.Destination != dir+step.to {
			t.Errorf("answer %+v", r)
		}
	}
	holds(t, dir+"/there", "1", 0o751)
	holds(t, dir+"/other/tree/in", "2", 0o644)
	if got, want := entries(t, dir), []string{"new", "other", "there"}; !slices.Equal(got, want) {
		t.Errorf("there is %v, want %v", got, want)
	}
}

// Of many that may not replace what is there, one makes it.
func TestOverwriteFalseIsRefusedWithoutARace(t *testing.T) {
	s, dir := filesSession(t, nil)
	const rivals = 16
	for round := range 10 {
		to := fmt.Sprintf("%s/to%d", dir, round)
		var work sync.WaitGroup
		var won atomic.Int32
		for i := range rivals {
			from := fmt.Sprintf("%s/%d", dir, i)
			put(t, from, from, 0o644)
			var cmd Command = &CopyFile{Source: from, Destination: to}
			if i%2 == 0 {
				cmd = &MoveFile{Source: from, Destination: to}
			}
			work.Go(func() {
				_, err := s.executeFile(t.Context(), cmd)
				pathErr := (*PathError)(nil)
				switch {
				case err == nil:
					won.Add(1)
					if got, err := os.ReadFile(to); err != nil || string(got) != from {
						t.Errorf("the winner %s left %q, %v", from, got, err)
					}
				case !errors.As(err, &pathErr) || pathErr.Reason != "exists" || pathErr.Path != to:
					t.Errorf("a loser got %v", err)
				}
			})
		}
		work.Wait()
		if won.Load() != 1 {
			t.Errorf("%d made %s", won.Load(), to)
		}
	}
}

func TestMoveToAnotherFileSystem(t *testing.T) {
	s, dir := filesSession(t, nil)
	shm, err := os.MkdirTemp("/dev/shm", "files-") //nolint:usetesting // on another file system
	if err != nil {
		t.Skipf("needs /dev/shm: %v", err)
	}
	t.Cleanup(func() { os.RemoveAll(shm) })
	var here, there unix.Stat_t
	if err := errors.Join(unix.Stat(dir, &here), unix.Stat(shm, &there)); err != nil {
		t.Fatal(err)
	}
	if here.Dev == there.Dev {
		t.Skip("needs two file systems; temporary files are in /dev/shm")
	}
	content := strings.Repeat("x", 5<<20)
	put(t, dir+"/from", content, 0o640)
	then := time.Unix(1_000_000_000, 5000)
	if err := os.Chtimes(dir+"/from", then, then); err != nil {
		t.Fatal(err)
	}
	files[MoveFileResult](t, s, &MoveFile{Source: dir + "/from", Destination: shm + "/new/to"})
	holds(t, shm+"/new/to", content, 0o640)
	if info, err := os.Stat(shm + "/new/to"); err != nil || !info.ModTime().Equal(then) {
		t.Errorf("its time is not kept: %v, %v", info, err)
	}
	put(t, dir+"/rival", "", 0o644)
	refusedPath(t, s, &MoveFile{Source: dir + "/rival", Destination: shm + "/new/to"}, shm+"/new/to", "exists")
	for _, path := range []string{"/tree/in", "/tree/locked/in"} {
		put(t, dir+path, "", 0o600)
	}
	if err := errors.Join(
		os.Link(dir+"/tree/in", dir+"/tree/same"), os.Symlink("nowhere", dir+"/tree/link"), unix.Mkfifo(dir+"/tree/fifo", 0o600),
		os.Chmod(dir+"/tree/in", 0o4711), os.Chtimes(dir+"/tree/locked", then, then), os.Chtimes(dir+"/tree", then, then),
	); err != nil {
		t.Fatal(err)
	}
	before := treeOf(t, dir+"/tree")
	files[MoveFileResult](t, s, &MoveFile{Source: dir + "/tree", Destination: shm + "/tree", Overwrite: true})
	if after := treeOf(t, shm+"/tree"); !slices.Equal(before, after) {
		t.Errorf("moved is\n%q, and was\n%q", after, before)
	}
	if a, err := os.Stat(shm + "/tree/in"); err != nil {
		t.Error(err)
	} else if b, err := os.Stat(shm + "/tree/same"); err != nil || !os.SameFile(a, b) {
		t.Errorf("two names of a file are two files: %v", err)
	}
	files[MoveFileResult](t, s, &MoveFile{Source: shm + "/tree/link", Destination: dir + "/link"})
	if to, err := os.Readlink(dir + "/link"); err != nil || to != "nowhere" {
		t.Errorf("the link leads to %q, %v", to, err)
	}
	if got := append(entries(t, dir), entries(t, shm+"/new")...); !slices.Equal(got, []string{"link", "rival", "to"}) {
		t.Errorf("there is %v", got)
	}
}

// treeOf tells all that a move keeps of a tree.
func treeOf(t *testing.T, dir string) (all []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		below, _ := strings.CutPrefix(path, dir)
		size := info.Size()
		if d.IsDir() {
			size = 0 // which the file system says, and not the tree
		}
		all = append(all, fmt.Sprint(below, info.Mode(), size, info.ModTime().UnixNano()))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestCopyDirectory(t *testing.T) {
	s, dir := filesSession(t, nil)
	for path, mode := range map[string]fs.FileMode{"/from/a": 0o640, "/from/deep/er/b": 0o755, "/full/x": 0o644} {
		put(t, dir+path, "12345", mode)
	}
	if err := errors.Join(
		os.Symlink("../full", dir+"/from/deep/link"), os.Symlink("from", dir+"/link"), unix.Mkfifo(dir+"/from/fifo", 0o600),
		os.Mkdir(dir+"/empty", 0o700), os.Chmod(dir+"/from/deep", 0o555),
	); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // who is not root has to be able to remove them
		for _, d := range []string{"/from", "/new/copy", "/empty", "/of-link"} {
			_ = os.Chmod(dir+d+"/deep", 0o755)
		}
	})
	for _, cmd := range []*CopyFile{
		{Source: dir + "/from", Destination: dir + "/new/copy/"},
		{Source: dir + "/from/", Destination: dir + "/empty", Overwrite: true},
		{Source: dir + "/link", Destination: dir + "/of-link"},
	} {
		if r := files[CopyFileResult](t, s, cmd); r.Bytes != 10 {
			t.Errorf("answer %+v", r)
		}
		to := strings.TrimRight(cmd.Destination, "/")
		holds(t, to+"/a", "12345", 0o640)
		holds(t, to+"/deep/er/b", "12345", 0o755)
		if info, err := os.Stat(to + "/deep"); err != nil || info.Mode() != fs.ModeDir|0o555 {
			t.Errorf("deep is %v, %v", info, err)
		}
		if info, err := os.Lstat(to + "/fifo"); err != nil || info.Mode() != fs.ModeNamedPipe|0o600 {
			t.Errorf("fifo is %v, %v", info, err)
		}
		if link, err := os.Readlink(to + "/deep/link"); err != nil || link != "../full" {
			t.Errorf("the link leads to %q, %v", link, err)
		}
	}
	for _, tc := range []struct{ from, to, at, reason string }{
		{"/from", "/full", "/full", "directory not empty"},
		{"/from", "/full/x", "/full/x", "not a directory"},
		{"/from", "/from/deep/er/c", "/from", "a directory cannot be put into itself"},
		{"/full/x", "/from", "/from", "is a directory"},
		{"/from/fifo", "/to", "/from/fifo", "not a regular file"},
	} {
		refusedPath(t, s, &CopyFile{Source: dir + tc.from, Destination: dir + tc.to, Overwrite: true}, dir+tc.at, tc.reason)
	}
	refusedPath(t, s, &CopyFile{Source: dir + "/from", Destination: dir + "/empty"}, dir+"/empty", "exists")
	if got, want := entries(t, dir), []string{"empty", "from", "full", "link", "new", "of-link"}; !slices.Equal(got, want) {
		t.Errorf("there is %v, want %v", got, want)
	}
}

// A failure somewhere in a tree names the place, and leaves nothing.
func TestCopyOfATreeSaysWhereItFails(t *testing.T) {
	s, dir := filesSession(t, nil)
	put(t, dir+"/from/a/b", "", 0o644)
	// So deep that the name beside the destination makes the path too long.
	deep := dir + "/from/a"
	for len(deep) < unix.PathMax-250 {
		deep += "/" + strings.Repeat("d", 200)
	}
	if err := os.MkdirAll(deep, 0o755); err != nil {
		t.Fatal(err)
	}
	to := dir + "/" + strings.Repeat("t", 200) + "/to"
	_, err := s.executeFile(t.Context(), &CopyFile{Source: dir + "/from", Destination: to})
	pathErr := (*PathError)(nil)
	if !errors.As(err, &pathErr) || !strings.HasPrefix(pathErr.Path, to+"/a/ddd") || pathErr.Reason != "name too long" {
		t.Errorf("it failed with %v", err)
	}
	if got := entries(t, filepath.Dir(to)); len(got) != 0 {
		t.Errorf("left is %v", got)
	}
}

func TestCopiesKeepHoles(t *testing.T) {
	s, dir := filesSession(t, nil)
	from, err := os.OpenFile(dir+"/from", os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	const size = 64 << 20
	_, err1 := from.WriteAt([]byte("head"), 0)
	_, err2 := from.WriteAt([]byte("middle"), size/2)
	if err := errors.Join(err1, err2, from.Truncate(size), from.Close()); err != nil {
		t.Fatal(err)
	}
	if r := files[CopyFileResult](t, s, &CopyFile{Source: dir + "/from", Destination: dir + "/to"}); r.Bytes != size {
		t.Errorf("answer %+v", r)
	}
	var st unix.Stat_t
	if err := unix.Stat(dir+"/to", &st); err != nil || st.Size != size || st.Blocks*512 > 1<<20 {
		t.Errorf("the copy has %d bytes in %d, %v", st.Size, st.Blocks*512, err)
	}
	to, err := os.ReadFile(dir + "/to")
	if err != nil || string(to[:4]) != "head" || string(to[size/2:size/2+6]) != "middle" {
		t.Errorf("it holds something else: %v", err)
	}
	to[0], to[1], to[2], to[3] = 0, 0, 0, 0
	clear(to[size/2 : size/2+6])
	if len(bytes.TrimLeft(to, "\x00")) != 0 {
		t.Error("where the holes were is something")
	}
}

func TestDeleteFileFollowsNoLink(t *testing.T) {
	s, dir := filesSession(t, nil)
	put(t, dir+"/kept/file", "kept", 0o644)
	put(t, dir+"/tree/deep/file", "", 0o644)
	put(t, dir+"/file", "", 0o644)
	if err := os.Mkdir(dir+"/empty", 0o755); err != nil {
		t.Fatal(err)
	}
	for _, link := range []string{"/link", "/tree/link", "/tree/deep/link", "/slashed"} {
		if err := os.Symlink(dir+"/kept", dir+link); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(dir+"/fifo", 0o600); err != nil {
		t.Fatal(err)
	}
	refusedPath(t, s, &DeleteFile{Path: dir + "/tree"}, dir+"/tree", "directory not empty")
	refusedPath(t, s, &DeleteFile{Path: dir + "/none"}, dir+"/none", "not found")
	refusedPath(t, s, &DeleteFile{Path: dir + "/none", Recursive: true}, dir+"/none", "not found")
	refusedPath(t, s, &DeleteFile{Path: "/", Recursive: true}, "/", "not permitted")
	for _, cmd := range []*DeleteFile{
		{Path: dir + "/link"},
		{Path: dir + "/slashed/", Recursive: true},
		{Path: dir + "/file", Recursive: true},
		{Path: dir + "/fifo"},
		{Path: dir + "/empty"},
		{Path: dir + "/tree/", Recursive: true},
	} {
		if r := files[DeleteFileResult](t, s, cmd); r.Path != cmd.Path {
			t.Errorf("answer %+v", r)
		}
	}
	holds(t, dir+"/kept/file", "kept", 0o644)
	if got := entries(t, dir); !slices.Equal(got, []string{"kept"}) {
		t.Errorf("left is %v", got)
	}
}

// A link that leads nowhere is no directory to make files in.
func TestParentsAreNotMadeThroughLinks(t *testing.T) {
	s, dir := filesSession(t, nil)
	put(t, dir+"/from", "", 0o644)
	if err := os.Symlink("nowhere", dir+"/link"); err != nil {
		t.Fatal(err)
	}
	for _, cmd := range []Command{
		&WriteFile{Path: dir + "/link/to"},
		&CopyFile{Source: dir + "/from", Destination: dir + "/link/to", Overwrite: true},
		&MoveFile{Source: dir + "/from", Destination: dir + "/link/to", Overwrite: true},
	} {
		refusedPath(t, s, cmd, dir+"/link/to", "not a directory")
	}
	if got := entries(t, dir); !slices.Equal(got, []string{"from", "link"}) {
		t.Errorf("there is %v", got)
	}
}

package session

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

func put(t *testing.T, name, content string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(name, mode); err != nil { // whatever the umask
		t.Fatal(err)
	}
}

func holds(t *testing.T, name, content string, mode os.FileMode) {
	t.Helper()
	got, err := os.ReadFile(name)
	info, serr := os.Lstat(name)
	if err != nil || serr != nil || string(got) != content || info.Mode() != mode {
		t.Errorf("%s: holds %.40q (%v), want %.40q with %v", name, got, errors.Join(err, serr), content, mode)
	}
}

// entries are what a directory has, hidden and all.
func entries(t *testing.T, dir string) []string {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	names := []string{}
	for _, e := range list {
		names = append(names, e.Name())
	}
	return names
}

func TestPathErrorsSayWhichPathAndWhy(t *testing.T) {
	s, dir := filesSession(t, nil)
	put(t, dir+"/file", "", 0o644)
	put(t, dir+"/full/in", "", 0o644)
	if err := os.Mkdir(dir+"/empty", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(dir+"/fifo", 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("loop", dir+"/loop"); err != nil {
		t.Fatal(err)
	}
	const from, to = true, false
	for _, tc := range []struct {
		source, destination string
		overwrite           bool
		at                  bool
		copied, moved       string // reasons; "" succeeds
	}{
		{"/none", "/to", true, from, "not found", "not found"},
		{"/loop/x", "/to", true, from, "too many levels of symbolic links", "too many levels of symbolic links"},
		{"/file/x", "/to", true, from, "not a directory", "not a directory"},
		{"/file", "/full", true, to, "is a directory", "is a directory"},
		{"/file", "/full", false, to, "exists", "exists"},
		{"/file", "/full/in", false, to, "exists", "exists"},
		{"/file", "/loop", false, to, "exists", "exists"},
		{"/file", "/file", false, to, "exists", "exists"},
		{"/file", "/fifo/x", true, to, "not a directory", "not a directory"},
		{"/file", "/new/", true, to, "is a directory", "not a directory"},
		{"/file", "/" + strings.Repeat("n", 300), true, to, "name too long", "name too long"},
	} {
		at := dir + tc.destination
		if tc.at == from {
			at = dir + tc.source
		}
		refusedPath(t, s, &CopyFile{dir + tc.source, dir + tc.destination, tc.overwrite}, at, tc.copied)
		refusedPath(t, s, &MoveFile{dir + tc.source, dir + tc.destination, tc.overwrite}, at, tc.moved)
	}
	refusedPath(t, s, &CopyFile{dir + "/fifo", dir + "/to", true}, dir+"/fifo", "not a regular file")
	refusedPath(t, s, &CopyFile{"/dev/zero", dir + "/to", true}, "/dev/zero", "not a regular file")
	refusedPath(t, s, &MoveFile{dir + "/empty", dir + "/file", true}, dir+"/file", "not a directory")
	refusedPath(t, s, &MoveFile{dir + "/empty", dir + "/full", true}, dir+"/full", "directory not empty")
	refusedPath(t, s, &MoveFile{dir + "/full", dir + "/full/new/x", true}, dir+"/full", "a directory cannot be put into itself")
	for _, cmd := range []Command{
		&WriteFile{Path: dir + "/fifo"}, &ReadFile{Path: dir + "/fifo"}, &WriteFile{Path: dir + "/fifo", Mode: WriteAppend},
	} {
		refusedPath(t, s, cmd, dir+"/fifo", "not a regular file")
	}
	refusedPath(t, s, &WriteFile{Path: dir + "/full"}, dir+"/full", "is a directory")
	refusedPath(t, s, &WriteFile{Path: dir + "/new/"}, dir+"/new/", "is a directory")
	refusedPath(t, s, &WriteFile{Path: dir + "/file/x"}, dir+"/file/x", "not a directory")
	refusedPath(t, s, &WriteFile{Path: "/dev/full", Content: []byte("x")}, "/dev/full", "not a regular file")
	// A name that looks like the end of an error does not pass for one.
	refusedPath(t, s, &ReadFile{Path: dir + `/x: file exists" (`}, dir+`/x: file exists" (`, "not found")
	if got, want := entries(t, dir), []string{"empty", "fifo", "file", "full", "loop"}; !slices.Equal(got, want) {
		t.Errorf("there is %v, want %v", got, want)
	}
}

func TestPathsAreCheckedBeforeTheHelperSeesThem(t *testing.T) {
	s := helperSession(t, nil, func(context.Context, io.Reader, io.Writer) error {
		t.Error("the helper was started")
		return io.EOF
	})
	for _, bad := range []string{"", "a\x00b", strings.Repeat("p/", 2048)} {
		for field, cmds := range map[string][]Command{
			"command.path": {
				&WriteFile{Path: bad}, &ReadFile{Path: bad}, &CreateDirectory{Path: bad}, &DeleteFile{Path: bad}, &ListDirectory{Path: bad + "\x00"},
			},
			"command.sourcePath":      {&CopyFile{Source: bad, Destination: "a"}, &MoveFile{Source: bad, Destination: "a"}},
			"command.destinationPath": {&CopyFile{Source: "a", Destination: bad}, &MoveFile{Source: "a", Destination: bad}},
			"command.pattern":         {&ListDirectory{Path: "a", Pattern: "[" + bad}},
			"command.maxDepth":        {&ListDirectory{Path: "a", MaxDepth: -1}},
		} {
			for _, cmd := range cmds {
				_, err := s.executeFile(t.Context(), cmd)
				invalid := (*InvalidError)(nil)
				if !errors.As(err, &invalid) || invalid.Field != field {
					t.Errorf("%T: %v, want %s", cmd, err, field)
				}
			}
		}
	}
}

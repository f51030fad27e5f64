package test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"codebeaker/rpc/client"
)

type listing struct {
	Path    string
	Entries []struct {
		Name, Path, Type, Mode string
		Size                   int64
		PathBase64             string
	}
	Truncated  bool
	NextCursor string
}

// list lists a directory.
func (b *sandbox) list(command object) listing {
	b.t.Helper()
	command["type"] = "list_directory"
	var o struct {
		Success bool
		Result  listing
	}
	if err := b.c.Call(b.t.Context(), "session.execute", object{"sessionId": b.id, "command": command}, &o); err != nil || !o.Success {
		b.t.Fatalf("%v: %v", command, err)
	}
	return o.Result
}

// peakMemory returns the most memory that a server had at one time, in bytes.
func (s *server) peakMemory() (int64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return kib << 10, err
		}
	}
	return 0, errors.New("the kernel does not tell VmHWM")
}

func TestFileCommandsOnTrees(t *testing.T) {
	b := busybox(t).session(t, nil)
	for _, command := range []object{
		{"type": "create_directory", "path": "a/b/c"},
		{"type": "create_dir", "path": "/workspace/a/b"},
		{"type": "write_file", "path": "a/script", "content": "#!/bin/sh\n", "permissions": "0750"},
		{"type": "copy_file", "sourcePath": "a/script", "destinationPath": "copies/of/script"},
		{"type": "copy_file", "source": "a/script", "destination": "/tmp/copies/script"},
		{"type": "copy_file", "source": "a/script", "destination": "a/script"}, // harmless
		{"type": "move_file", "source": "a/script", "destination": "/tmp/moved/script"},
		{"type": "move_file", "sourcePath": "/tmp/moved/script", "destinationPath": "back/script", "overwrite": false},
		{"type": "move_file", "source": "a", "destination": "/tmp/a"}, // on another file system
		{"type": "move_file", "source": "/tmp/a", "destination": "tree/a"},
		{"type": "copy_file", "source": "tree", "destination": "/tmp/tree"},
	} {
		if o := b.do(command); !o.Success {
			t.Errorf("%v: %+v", command, o)
		}
	}
	r := b.sh("ls -ln copies/of/script back/script /tmp/copies/script; ls -ldn tree/a/b/c /tmp/tree/a/b/c /tmp/moved; find . /tmp | grep -c codebeaker-")
	for line := range strings.Lines(r.Stdout) {
		mode, wanted := "drwxr-xr-x", strings.HasPrefix(line, "d")
		if !wanted {
			mode = "-rwxr-x---"
		}
		if f := strings.Fields(line); len(f) > 1 && (f[0] != mode || f[2] != "1000" || f[3] != "1000") {
			t.Errorf("made for others, or with other permissions: %s", line)
		}
	}
	if !strings.HasSuffix(r.Stdout, "\n0\n") || strings.Count(r.Stdout, "\n") != 7 {
		t.Errorf("looking at what was made: %+v", r)
	}
	for _, tc := range []struct {
		command object
		reason  string
	}{
		{object{"type": "copy_file", "source": "back/script", "destination": "copies/of/script", "overwrite": false}, "copies/of/script: exists"},
		{object{"type": "move_file", "source": "tree", "destination": "tree/a/x"}, "tree: a directory cannot be put into itself"},
		{object{"type": "move_file", "source": "/etc/passwd", "destination": "passwd"}, "/etc/passwd: not permitted"},
		{object{"type": "move_file", "source": "back/script", "destination": "/etc/script"}, "/etc/script: not permitted"},
		{object{"type": "copy_file", "source": "/etc/shadow", "destination": "shadow"}, "/etc/shadow: not permitted"},
		{object{"type": "copy_file", "source": "back/script", "destination": "/etc/passwd"}, "/etc/passwd: not permitted"},
		{object{"type": "create_directory", "path": "/etc/dir"}, "/etc/dir: not permitted"},
		{object{"type": "create_directory", "path": "tree", "recursive": false}, "tree: exists"},
		{object{"type": "delete_file", "path": "tree"}, "tree: directory not empty"},
		{object{"type": "delete_file", "path": "/etc/passwd"}, "/etc/passwd: not permitted"},
		{object{"type": "delete_file", "path": "/bin", "recursive": true}, "/bin: not permitted"},
	} {
		_, err := b.try(tc.command)
		refused(t, err, -32007, tc.reason)
	}
	if o := b.do(object{"type": "copy_file", "source": "/etc/passwd", "destination": "passwd"}); o.Result.Bytes == 0 {
		t.Errorf("copying a file of the image: %+v", o)
	}
}

// A copy that finds no space leaves the destination as it was.
func TestCopyWithoutSpaceLeavesNothing(t *testing.T) {
	b := busybox(t).session(t, nil)
	b.sh("head -c 150000000 /dev/zero > big; echo old > /tmp/to")
	b.do(object{"type": "copy_file", "source": "big", "destination": "/tmp/fits"})
	for _, kind := range []string{"copy_file", "move_file"} {
		_, err := b.try(object{"type": kind, "source": "big", "destination": "/tmp/to"})
		refused(t, err, -32007, "/tmp/to: no space")
	}
	if r := b.sh("cat /tmp/to; ls -A /tmp; ls"); r.Stdout != "old\nfits\nto\nbig\n" {
		t.Errorf("there is %+v", r)
	}
}

// A name of any bytes can be listed, and what is listed can be used.
func TestNamesThatAreNoText(t *testing.T) {
	b := busybox(t).session(t, nil)
	b.sh(`printf bytes > "$(printf 'a\377b')"`)
	l := b.list(object{"path": "."})
	if len(l.Entries) != 1 || l.Entries[0].Path != "./a\uFFFDb" || l.Entries[0].PathBase64 != "Li9h/2I=" {
		t.Fatalf("listed is %+v", l)
	}
	encoded := func(command object) object {
		command["pathEncoding"] = "base64"
		return command
	}
	if o := b.do(encoded(object{"type": "read_file", "path": "Li9h/2I="})); o.Result.Content != "bytes" || o.Result.Path != "Li9h/2I=" {
		t.Errorf("read is %+v", o)
	}
	b.do(encoded(object{"type": "copy_file", "source": "Li9h/2I=", "destination": "/w=="}))
	b.do(encoded(object{"type": "write_file", "path": "/v8=", "content": "more"}))
	b.do(encoded(object{"type": "delete_file", "path": "Li9h/2I="}))
	b.do(encoded(object{"type": "create_directory", "path": "/v4="}))
	b.do(encoded(object{"type": "move_file", "source": "/v8=", "destination": "/v4v/Q=="}))
	l = b.list(encoded(object{"path": "Lg==", "recursive": true}))
	var got []string
	for _, e := range l.Entries {
		got = append(got, e.Path+" "+e.Name+e.PathBase64)
	}
	if want := []string{"Li/+/g== /v4=", "Li/+/i/9 /Q==", "Li// /w=="}; !slices.Equal(got, want) || l.Path != "Lg==" {
		t.Errorf("listed is %q, want %q", got, want)
	}
	if r := b.sh(`printf %s, * | od -An -tx2`); r.Stdout != " fefe ff2c 002c\n" {
		t.Errorf("there is %q", r.Stdout)
	}
}

// A list of more than one answer holds goes on where one ended.
func TestListsPage(t *testing.T) {
	b := busybox(t).session(t, nil)
	const files = 12_000
	b.sh(fmt.Sprintf("mkdir d e; cd d; seq -w 1 %d | xargs touch; touch ../e/x", files))
	command := object{"path": ".", "recursive": true, "pattern": "**/[0-9x]*"}
	seen, last, answers := 0, "", 0
	for cursor := ""; ; answers++ {
		if cursor != "" {
			command["cursor"] = cursor
		}
		l := b.list(command)
		for _, e := range l.Entries {
			if seen++; e.Path <= last {
				t.Fatalf("%s comes after %s", e.Path, last)
			}
			last = e.Path
		}
		if l.Truncated != (l.NextCursor != "") {
			t.Fatalf("truncated %v, and the cursor is %q", l.Truncated, l.NextCursor)
		}
		if cursor = l.NextCursor; cursor == "" {
			break
		}
	}
	if seen != files+1 || last != "./e/x" || answers != 1 {
		t.Errorf("%d entries in %d answers, and the last is %s", seen, answers+1, last)
	}
}

// What a client surely did not mean stays whole.
func TestWorkspaceIsNotDeleted(t *testing.T) {
	b := busybox(t).session(t, nil)
	b.sh("touch file /tmp/file; ln -s /workspace /tmp/link")
	for _, path := range []string{"/workspace", ".", "/", "/workspace/..", "../workspace", "/tmp", "/tmp/link/../workspace"} {
		_, err := b.try(object{"type": "delete_file", "path": path, "recursive": true})
		refused(t, err, -32007, "not permitted")
	}
	if r := b.sh("ls /workspace/file /tmp/file"); r.ExitCode != 0 {
		t.Errorf("something was deleted: %+v", r)
	}
	b.do(object{"type": "delete_file", "path": "/tmp/link", "recursive": true})
	if r := b.sh("ls /workspace/file"); r.ExitCode != 0 {
		t.Errorf("a link was followed: %+v", r)
	}
}

// No file command of a session reaches a file of the host by a link, and none
// deletes or lists through one.
func TestPlantedSymlinksInTreesLeadNowhere(t *testing.T) {
	b := busybox(t).session(t, nil)
	host := filepath.Join(t.TempDir(), "host")
	if err := os.WriteFile(host, []byte("of the host"), 0o666); err != nil {
		t.Fatal(err)
	}
	b.sh("mkdir tree; echo kept > kept; ln -s " + host + " tree/host; ln -s " + filepath.Dir(host) + " tree/dir; ln -s / tree/root; ln -s .. tree/loop")
	_, err := b.try(object{"type": "copy_file", "source": "tree/host", "destination": "x"})
	refused(t, err, -32007, "tree/host: not found")
	_, err = b.try(object{"type": "copy_file", "source": "kept", "destination": "tree/dir/new"})
	refused(t, err, -32007, "tree/dir/new: not a directory")
	l := b.list(object{"path": "tree", "recursive": true})
	if len(l.Entries) != 4 || l.Truncated {
		t.Errorf("a tree of four links is listed as %+v", l)
	}
	for _, e := range l.Entries {
		if e.Type != "symlink" {
			t.Errorf("entry %+v", e)
		}
	}
	b.do(object{"type": "copy_file", "source": "kept", "destination": "tree/host"}) // replaces the link
	b.do(object{"type": "move_file", "source": "tree/root", "destination": "moved"})
	b.do(object{"type": "delete_file", "path": "tree", "recursive": true})
	if r := b.sh("cat kept; ls -d /bin"); r.Stdout != "kept\n/bin\n" {
		t.Errorf("after deleting the tree: %+v", r)
	}
	if text, err := os.ReadFile(host); err != nil || string(text) != "of the host" {
		t.Errorf("the host's file holds %q, %v", text, err)
	}
}

// A directory of any size is listed and deleted without the server growing.
func TestHugeDirectoryIsListedInBounds(t *testing.T) {
	s := private(t)
	b := s.session(t, nil)
	count := max(200_000/slowdown, 12_000)
	if r := b.sh(fmt.Sprintf("mkdir huge; cd huge; seq 1000000 %d | xargs touch", 1_000_000+count-1)); r.ExitCode != 0 {
		t.Fatalf("making files: %+v", r)
	}
	before, err := s.peakMemory()
	if err != nil {
		t.Fatal(err)
	}
	for _, recursive := range []bool{false, true} {
		l := b.list(object{"path": ".", "recursive": recursive})
		if recursive && (len(l.Entries) != 10000 || !l.Truncated || l.Entries[1].Path != "./huge/1000000") || !recursive && len(l.Entries) != 1 {
			t.Errorf("%d entries, truncated %v", len(l.Entries), l.Truncated)
		}
	}
	if l := b.list(object{"path": "huge", "pattern": "100123?"}); len(l.Entries) != 10 || l.Truncated {
		t.Errorf("of a pattern: %d entries, truncated %v", len(l.Entries), l.Truncated)
	}
	b.do(object{"type": "delete_file", "path": "huge", "recursive": true})
	if l := b.list(object{"path": "/workspace"}); len(l.Entries) != 0 {
		t.Errorf("left is %+v", l)
	}
	after, err := s.peakMemory()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("the server's peak was %d MiB, and %d MiB after", before>>20, after>>20)
	if after-before > 64<<20 {
		t.Errorf("the server's memory grew from %d to %d MiB", before>>20, after>>20)
	}
}

// Whatever happens to a tree meanwhile, commands on it answer with what they
// found or with a reason.
func TestTreeThatChangesWhileItIsWalked(t *testing.T) {
	b := busybox(t).session(t, nil)
	o := b.do(object{"type": "execute_shell", "commandName": "sh", "background": true, "args": []string{"-c", `
while :; do
	mkdir -p t/a/b/c; : > t/a/b/c/f; ln -s / t/a/l; mv t/a t/z; mkdir t/a; rm -rf t/a; ln -s ../.. t/a; rm -rf t/z t/a
done`}})
	if !o.Success {
		t.Fatalf("starting the program: %+v", o)
	}
	for i := range 100 {
		for _, command := range []object{
			{"type": "list_directory", "path": "t", "recursive": true},
			{"type": "copy_file", "source": "t/a/b/c/f", "destination": "t/a/copy"},
			{"type": "move_file", "source": "t/z", "destination": "t/y"},
			{"type": "delete_file", "path": "t/y", "recursive": true},
		} {
			err := b.c.Call(t.Context(), "session.execute", object{"sessionId": b.id, "command": command}, nil)
			if no := (*client.Error)(nil); err != nil && (!errors.As(err, &no) || no.Code != -32007) || err != nil && strings.Contains(err.Error(), "interrupted") {
				t.Fatalf("round %d, %v: %v", i, command, err)
			}
		}
	}
}

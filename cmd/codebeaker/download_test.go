package main

import (
	"bytes"
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"codebeaker/rpc/client/clienttest"
)

func TestCpLetsNoNameOutOfTheDirectory(t *testing.T) {
	s := withFiles(t)
	names := []string{"../evil", "..", ".", "", "/evil", "a/../../evil", "x\x00y", "ok"}
	s.also(func(c *clienttest.Conn, r clienttest.Request, command fakeCommand) bool {
		if command.Type == "read_file" {
			c.Reply(r, map[string]any{"result": map[string]any{"content": base64.StdEncoding.EncodeToString([]byte("evil")), "encoding": "base64"}})
			return true
		}
		if command.Type != "list_directory" || command.Pattern != "" {
			return false
		}
		var entries []any
		for _, name := range names {
			for _, kind := range []string{"file", "directory"} {
				if name == "ok" && kind == "directory" || !strings.HasSuffix(command.Path, "workspace") && command.Path != "." {
					continue
				}
				entries = append(entries, map[string]any{"name": name, "path": name, "type": kind, "size": 4, "mode": "0777"})
			}
		}
		c.Reply(r, map[string]any{"result": map[string]any{"entries": entries}})
		return true
	})
	top := t.TempDir()
	write(t, top, "in/")
	_, stderr := cp(t, s, 1, "-r", "s1:", filepath.Join(top, "in"))
	if n := strings.Count(stderr, "is left out: its name is none that a file here can have"); n != 14 {
		t.Errorf("%d names were left out of 14: %q", n, stderr)
	}
	if strings.Contains(stderr, "\x00") {
		t.Errorf("a name reached the terminal as it is: %q", stderr)
	}
	wantTree(t, top, "in/ in/ok(755)evil")
}

func TestCpFollowsNoLinkOfThisHost(t *testing.T) {
	s := withFiles(t, "d/dir/f evil", "d/file evil", "d/plain evil")
	top := t.TempDir()
	write(t, top, "outside/f mine", "outside/file mine", "in/d/")
	for link, target := range map[string]string{"dir": "../../outside", "file": "../../outside/file"} {
		if err := os.Symlink(target, filepath.Join(top, "in/d", link)); err != nil {
			t.Fatal(err)
		}
	}
	_, stderr := cp(t, s, 1, "-r", "s1:d", filepath.Join(top, "in"))
	for _, want := range []string{"d/dir is left out: it is here already, and no directory", "d/file is left out: d/file is here already, and no regular file"} {
		if !strings.Contains(stderr, want) {
			t.Errorf("it said %q, want %q", stderr, want)
		}
	}
	wantTree(t, top, "in/ in/d/ in/d/dir(L---------) in/d/file(L---------) in/d/plain(644)evil outside/ outside/f(644)mine outside/file(644)mine")
	if _, stderr := cp(t, s, 1, "s1:d/file", filepath.Join(top, "in/d/file")); !strings.Contains(stderr, "no regular file") {
		t.Errorf("it said %q", stderr)
	}
}

func TestCpLeavesOutWhatIsNoFile(t *testing.T) {
	make3 := func(dir string) {
		write(t, dir, "d/f x")
		if err := os.Symlink("f", filepath.Join(dir, "d/link")); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Mkfifo(filepath.Join(dir, "d/fifo"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s, here := withFiles(t), t.TempDir()
	make3(here)
	_, stderr := cp(t, s, 1, "-r", filepath.Join(here, "d"), "s1:up")
	for _, want := range []string{"d/link is left out: it is a symbolic link", "d/fifo is left out: it is neither", "2 of the entries were left out"} {
		if !strings.Contains(stderr, want) {
			t.Errorf("it said %q, want %q", stderr, want)
		}
	}
	wantTree(t, filepath.Join(s.files, "workspace/up"), "f(644)x")
	if _, stderr := cp(t, s, 1, filepath.Join(here, "d/fifo"), "s1:up"); !strings.Contains(stderr, "it is neither") {
		t.Errorf("of a FIFO it said %q", stderr)
	}

	make3(filepath.Join(s.files, "workspace"))
	back := t.TempDir()
	_, stderr = cp(t, s, 1, "-r", "s1:d", back)
	for _, want := range []string{"d/link is left out: it is a symbolic link", "d/fifo is left out: it is neither", "2 of the entries were left out"} {
		if !strings.Contains(stderr, want) {
			t.Errorf("it said %q, want %q", stderr, want)
		}
	}
	wantTree(t, back, "d/ d/f(644)x")
	if stdout, _ := cp(t, s, 0, "s1:d/link", "-"); stdout != "x" { // one that was named is followed, in the session
		t.Errorf("a link's target is %q", stdout)
	}
}

func TestCpEndsWithTheSizeThatAFileHad(t *testing.T) {
	s := withFiles(t, "log "+strings.Repeat("x", 2*chunk+5))
	s.also(func(c *clienttest.Conn, r clienttest.Request, command fakeCommand) bool {
		if command.Type != "read_file" {
			return false
		}
		grown := bytes.Repeat([]byte("x"), int(command.Length)) // there is always more
		c.Reply(r, map[string]any{"result": map[string]any{"content": base64.StdEncoding.EncodeToString(grown), "encoding": "base64"}})
		return true
	})
	if stdout, _ := cp(t, s, 0, "s1:log", "-"); len(stdout) != 2*chunk+5 {
		t.Errorf("of %d bytes it copied %d", 2*chunk+5, len(stdout))
	}
}

func TestCpRefusesAListThatIsNotWhole(t *testing.T) {
	s := withFiles(t, "d/f x")
	s.also(func(c *clienttest.Conn, r clienttest.Request, command fakeCommand) bool {
		if command.Type != "list_directory" || command.Pattern != "" {
			return false
		}
		c.Reply(r, map[string]any{"result": map[string]any{"entries": []any{}, "truncated": true}})
		return true
	})
	if _, stderr := cp(t, s, 1, "-r", "s1:d", t.TempDir()); !strings.Contains(stderr, "d has more entries than the server lists") {
		t.Errorf("it said %q", stderr)
	}
}

package main

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"codebeaker/rpc/client/clienttest"
)

// chunk is how much of a file the fake server takes in these tests.
const chunk = 24576

// withFiles returns a server with a session that has files, and takes small
// messages only.
func withFiles(t *testing.T, files ...string) *fakeServer {
	t.Helper()
	s := newFakeServer(t, nil)
	s.intercept = func(c *clienttest.Conn, r clienttest.Request) bool {
		if r.Method != "initialize" {
			return false
		}
		limits := map[string]any{"maxMessageBytes": 64 << 10}
		c.Reply(r, map[string]any{"serverCapabilities": map[string]any{"limits": limits}})
		return true
	}
	write(t, filepath.Join(s.files, "workspace"), files...)
	return s
}

// also has a server answer some requests in another way.
func (s *fakeServer) also(f func(c *clienttest.Conn, r clienttest.Request, command fakeCommand) bool) {
	before := s.intercept
	s.intercept = func(c *clienttest.Conn, r clienttest.Request) bool {
		if before(c, r) {
			return true
		}
		p := clienttest.Decode[struct{ Command fakeCommand }](s.t, r)
		return f(c, r, p.Command)
	}
}

// write makes files below a directory: "name content", or "name/" for a
// directory.
func write(t *testing.T, dir string, files ...string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		name, content, isFile := strings.Cut(f, " ")
		name = filepath.Join(dir, name)
		err := os.MkdirAll(filepath.Dir(name), 0o755)
		if err == nil && isFile {
			err = os.WriteFile(name, []byte(content), 0o644)
		} else if err == nil {
			err = os.MkdirAll(name, 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// tree returns what is below a directory: names, permission bits, contents.
func tree(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		name, _ = filepath.Rel(dir, name)
		switch {
		case d.IsDir():
			fmt.Fprintf(&b, "%s/ ", name)
		case info.Mode().IsRegular():
			content, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				return err
			}
			if len(content) > 100 {
				content = fmt.Appendf(nil, "%d bytes", len(content))
			}
			fmt.Fprintf(&b, "%s(%o)%s ", name, info.Mode().Perm(), content)
		default:
			fmt.Fprintf(&b, "%s(%s) ", name, info.Mode().Type())
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(strings.TrimPrefix(b.String(), "./ "))
}

// cp runs codebeaker cp and returns what it said.
func cp(t *testing.T, s *fakeServer, code int, args ...string) (stdout, stderr string) {
	t.Helper()
	stdout, stderr, got := runCommand(t, s, "of standard input", append([]string{"cp"}, args...)...)
	if got != code {
		t.Errorf("cp %q exited with %d: %q", args, got, stderr)
	}
	return stdout, stderr
}

func wantTree(t *testing.T, dir, want string) {
	t.Helper()
	if got := tree(t, dir); got != want {
		t.Errorf("there is\n%s\nwant\n%s", got, want)
	}
}

func TestCpGoesWhereCpWould(t *testing.T) {
	for name, tc := range map[string]struct {
		args, here, there string // HERE is a directory of this host
	}{
		"file to directory":           {"HERE/f s1:", "", "d/ d/g(644)theirs e/ f(644)mine"},
		"file to subdirectory":        {"HERE/f s1:e", "", "d/ d/g(644)theirs e/ e/f(644)mine"},
		"file to name":                {"HERE/f s1:new/name", "", "d/ d/g(644)theirs e/ new/ new/name(644)mine"},
		"file over file":              {"HERE/f s1:d/g", "", "d/ d/g(644)mine e/"},
		"absolute":                    {"HERE/f s1:/workspace/e/", "", "d/ d/g(644)theirs e/ e/f(644)mine"},
		"standard input":              {"- s1:d/g", "", "d/ d/g(644)of standard input e/"},
		"directory to directory":      {"-r HERE/x s1:e", "", "d/ d/g(644)theirs e/ e/x/ e/x/y/ e/x/y/z(644)mine"},
		"directory to new name":       {"-r HERE/x s1:n", "", "d/ d/g(644)theirs e/ n/ n/y/ n/y/z(644)mine"},
		"what is in a directory":      {"-r HERE/x/. s1:e", "", "d/ d/g(644)theirs e/ e/y/ e/y/z(644)mine"},
		"file from a session":         {"s1:d/g HERE", "f(644)mine g(644)theirs x/ x/y/ x/y/z(644)mine", ""},
		"file from one to a name":     {"s1:d/g HERE/n", "f(644)mine n(644)theirs x/ x/y/ x/y/z(644)mine", ""},
		"file from one over a file":   {"s1:d/g HERE/f", "f(644)theirs x/ x/y/ x/y/z(644)mine", ""},
		"directory from one":          {"-r s1:d HERE", "d/ d/g(644)theirs f(644)mine x/ x/y/ x/y/z(644)mine", ""},
		"directory from one, renamed": {"-r s1:d HERE/n", "f(644)mine n/ n/g(644)theirs x/ x/y/ x/y/z(644)mine", ""},
		"all of one":                  {"-r s1: HERE/x", "f(644)mine x/ x/d/ x/d/g(644)theirs x/e/ x/y/ x/y/z(644)mine", ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := withFiles(t, "d/g theirs", "e/")
			here := t.TempDir()
			write(t, here, "f mine", "x/y/z mine")
			before := [2]string{tree(t, here), tree(t, filepath.Join(s.files, "workspace"))}
			_, stderr := cp(t, s, 0, strings.Fields(strings.ReplaceAll(tc.args, "HERE", here))...)
			if stderr != "" {
				t.Errorf("it said %q", stderr)
			}
			if tc.here == "" {
				tc.here = before[0]
			}
			if tc.there == "" {
				tc.there = before[1]
			}
			wantTree(t, here, tc.here)
			wantTree(t, filepath.Join(s.files, "workspace"), tc.there)
		})
	}
	s := withFiles(t, "d/g theirs")
	if stdout, _ := cp(t, s, 0, "s1:d/g", "-"); stdout != "theirs" {
		t.Errorf("to standard output it copied %q", stdout)
	}
}

func TestCpKeepsContentAndPermissions(t *testing.T) {
	s := withFiles(t)
	here, back := t.TempDir(), t.TempDir()
	write(t, here, "empty/", "zero ", "odd:name*[?]\n x")
	big := make([]byte, 5*chunk)
	_, _ = rand.Read(big)
	for name, bits := range map[string]fs.FileMode{"exact": 0o600, "readonly": 0o444, "program": 0o755} {
		content := big
		if name != "exact" {
			content = append(big, name...)
		}
		if err := os.WriteFile(filepath.Join(here, name), content, bits); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(filepath.Join(here, name), bits); err != nil {
			t.Fatal(err)
		}
	}
	want := tree(t, here)
	cp(t, s, 0, "-r", here, "s1:up")
	wantTree(t, filepath.Join(s.files, "workspace/up"), want)
	cp(t, s, 0, "-r", "s1:up/.", back)
	wantTree(t, back, want)
	for _, name := range []string{"exact", "readonly", "program"} {
		a, err := os.ReadFile(filepath.Join(here, name))
		if err != nil {
			t.Fatal(err)
		}
		if b, err := os.ReadFile(filepath.Join(back, name)); err != nil || !bytes.Equal(a, b) {
			t.Errorf("%s came back with other content, %v", name, err)
		}
	}
	if n := s.called("write_file"); n < 18 {
		t.Errorf("three files of five chunks were sent in %d messages", n)
	}
}

func TestCpLeavesNothingOfACopyThatFails(t *testing.T) {
	big := "big " + strings.Repeat("x", 3*chunk)
	t.Run("into a session", func(t *testing.T) {
		s := withFiles(t)
		writes := 0
		s.also(func(c *clienttest.Conn, r clienttest.Request, command fakeCommand) bool {
			if command.Type != "write_file" {
				return false
			}
			if writes++; writes < 3 {
				return false
			}
			refusePath(c, r, os.ErrPermission)
			return true
		})
		here := t.TempDir()
		write(t, here, big)
		_, stderr := cp(t, s, 1, filepath.Join(here, "big"), "s1:")
		if !strings.Contains(stderr, "not permitted") {
			t.Errorf("it said %q", stderr)
		}
		wantTree(t, filepath.Join(s.files, "workspace"), "")
	})
	t.Run("out of one", func(t *testing.T) {
		s := withFiles(t, big)
		s.also(func(c *clienttest.Conn, r clienttest.Request, command fakeCommand) bool {
			if command.Type != "read_file" || command.Offset == 0 {
				return false
			}
			c.Refuse(r, -32002, "session is closing or closed")
			return true
		})
		here := t.TempDir()
		write(t, here, "big mine")
		_, stderr := cp(t, s, 1, "s1:big", here)
		if !strings.Contains(stderr, "session is closing") {
			t.Errorf("it said %q", stderr)
		}
		wantTree(t, here, "big(644)mine")
	})
	for name, cut := range map[string]bool{"when it is interrupted": false, "when its connection breaks": true} {
		t.Run(name, func(t *testing.T) {
			s := withFiles(t)
			writing, writes := make(chan struct{}), 0
			s.also(func(c *clienttest.Conn, _ clienttest.Request, command fakeCommand) bool {
				if command.Type != "write_file" {
					return false
				}
				if writes++; writes != 2 {
					return false
				}
				if cut {
					c.Cut()
				}
				close(writing)
				return true // without an answer
			})
			here := t.TempDir()
			write(t, here, big)
			p := start(t, s, nil, "cp", filepath.Join(here, "big"), "s1:")
			<-writing
			if !cut {
				p.signal(syscall.SIGINT)
			}
			p.wantExit(1)
			wantTree(t, filepath.Join(s.files, "workspace"), "")
		})
	}
}

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

func TestCpSaysWhatIsWrong(t *testing.T) {
	s := withFiles(t, "d/g theirs")
	here := t.TempDir()
	write(t, here, "f mine", "x/y/z mine")
	if err := syscall.Mkfifo(filepath.Join(here, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	for args, want := range map[string]string{
		"HERE/x s1:":       "is a directory: add -r",
		"s1:d HERE":        "d is a directory: add -r",
		"s1:no HERE":       "not found",
		"HERE/no s1:":      "no such file",
		"HERE/f s1:no/":    "there is no directory no/ in the session",
		"s1:d/g HERE/no/":  "there is no directory",
		"- s1:d":           "d is a directory",
		"-r s1:d -":        "codebeaker exec SESSION -- tar",
		"-r s1:d HERE/f":   "is here already, and no directory",
		"s2:d HERE":        "codebeaker ps lists",
		"s1:d s1:e":        "one path of this host",
		"a b":              "one path of this host",
		"s1:d/g HERE/fifo": "fifo is here already, and no regular file", // or a device
	} {
		if _, stderr := cp(t, s, 1, strings.Fields(strings.ReplaceAll(args, "HERE", here))...); !strings.Contains(stderr, want) {
			t.Errorf("%s: it said %q, want %q", args, stderr, want)
		}
	}
	wantTree(t, here, "f(644)mine fifo(p---------) x/ x/y/ x/y/z(644)mine")
	wantTree(t, filepath.Join(s.files, "workspace"), "d/ d/g(644)theirs")
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

func TestCpShowsHowFarItIsOnATerminal(t *testing.T) {
	var drawn bytes.Buffer
	p := &copyProgress{w: &drawn, width: 60}
	p.begin("/a/b/evil\x1bname", 10<<20)
	p.add(1)
	if drawn.Len() > 0 {
		t.Errorf("it drew %q at once", drawn.String())
	}
	p.began = p.began.Add(-2 * progressAfter)
	p.add(5<<20 - 1)
	p.add(1 << 20) // too soon to draw it again
	if got := drawn.String(); !strings.HasPrefix(got, "\r\x1b[Kevil\uFFFDname 5.0 MiB of 10.0, 50%, 2.5 MiB/s") {
		t.Errorf("it drew %q", got)
	}
	drawn.Reset()
	p.clear()
	p.clear()
	if got := drawn.String(); got != "\r\x1b[K" {
		t.Errorf("it cleared %q", got)
	}
}

func TestCompletionOfCp(t *testing.T) {
	s := withFiles(t, "dir/f x", "data.csv x", "a\tb x", "evil\x1b x")
	for name, tc := range map[string]completion{
		"a session's files":    {[]string{"cp", "s1:"}, []string{"s1:data.csv", "s1:dir/"}, ":6"},
		"a session's subfiles": {[]string{"cp", "s1:dir/"}, []string{"s1:dir/f"}, ":6"},
		"sessions for cp":      {[]string{"cp", "s"}, []string{"s1:\tpython, Idle"}, ":2"},
		"files for cp":         {[]string{"cp", "./"}, nil, ":0"},
	} {
		t.Run(name, func(t *testing.T) { tc.check(t, s) })
	}
	t.Setenv(serverEnv, "127.0.0.1:1")
	if got, _ := completed(t, nil, "cp", "s1:"); len(got) > 0 {
		t.Errorf("without a server: %q", got)
	}
}

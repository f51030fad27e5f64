package shim

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"
)

func fifos(t *testing.T) paths {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can open a directory as a tree of its own")
	}
	dir := t.TempDir()
	p := paths{stdin: filepath.Join(dir, "in"), stdout: filepath.Join(dir, "out"), stderr: filepath.Join(dir, "err")}
	for _, name := range []string{p.stdin, p.stdout, p.stderr} {
		if err := unix.Mkfifo(name, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

func open(t *testing.T, p paths) *streams {
	t.Helper()
	s, err := openStreams(p, os.Getuid(), os.Getgid())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.close)
	return s
}

func TestStreamsTellNoPathOfTheHost(t *testing.T) {
	for i, f := range open(t, fifos(t)).program {
		want := []string{"/in", "/out", "/err"}[i]
		if got, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", f.Fd())); err != nil || got != want {
			t.Errorf("the path of %s is %q, %v", want, got, err)
		}
	}
}

func TestStreamsWaitForNobody(t *testing.T) {
	open(t, fifos(t)) // nobody else has them open
}

func TestProgramOutlivesWhoeverReadsIt(t *testing.T) {
	p := fifos(t)
	s := open(t, p)
	reader, err := os.OpenFile(p.stdout, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	reader.Close()
	if _, err := s.program[1].WriteString("x"); err != nil {
		t.Errorf("the program's output broke: %v", err)
	}
}

func TestInputEndsWhenItIsEnded(t *testing.T) {
	p := fifos(t)
	s := open(t, p)
	writer, err := os.OpenFile(p.stdin, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := writer.WriteString("all"); err != nil {
		t.Fatal(err)
	}
	writer.Close()
	b := make([]byte, 3)
	if _, err := io.ReadFull(s.program[0], b); err != nil {
		t.Fatal(err)
	}
	if err := unix.SetNonblock(int(s.program[0].Fd()), true); err != nil {
		t.Fatal(err)
	}
	if _, err := unix.Read(int(s.program[0].Fd()), b); !errors.Is(err, unix.EAGAIN) {
		t.Errorf("the input ended with its writer: %v", err)
	}
	s.endInput()
	if n, err := unix.Read(int(s.program[0].Fd()), b); n != 0 || err != nil {
		t.Errorf("the input did not end: %d, %v", n, err)
	}
}

func TestOnlyFIFOsAreStreams(t *testing.T) {
	p := fifos(t)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	p.stdout = file
	if s, err := openStreams(p, os.Getuid(), os.Getgid()); !errdefs.IsNotImplemented(err) {
		t.Errorf("a file: %v, %v", s, err)
	}
	p.stdout = filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(p.stderr, p.stdout); err != nil {
		t.Fatal(err)
	}
	if s, err := openStreams(p, os.Getuid(), os.Getgid()); !errors.Is(err, unix.ELOOP) {
		t.Errorf("a link: %v, %v", s, err)
	}
}

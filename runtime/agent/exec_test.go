package agent

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestLookPathFollowsPATH(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, mode os.FileMode) {
		if err := os.WriteFile(filepath.Join(dir, name), nil, mode); err != nil {
			t.Fatal(err)
		}
	}
	write("tool", 0o755)
	if err := os.Mkdir(filepath.Join(dir, "folder"), 0o755); err != nil {
		t.Fatal(err)
	}
	path := "/nonexistent:" + dir
	for _, tc := range []struct {
		name, want string
		err        error
	}{
		{"tool", filepath.Join(dir, "tool"), nil},
		{filepath.Join(dir, "tool"), filepath.Join(dir, "tool"), nil},
		{"missing", "", unix.ENOENT},
		{"", "", unix.ENOENT},
		{"folder", "", unix.EISDIR},
	} {
		got, err := lookPath(tc.name, path)
		if got != tc.want || !errors.Is(err, tc.err) {
			t.Errorf("lookPath(%q) = %q, %v; want %q, %v", tc.name, got, err, tc.want, tc.err)
		}
	}
}

func TestExecWithoutWordFromHostRunsNothing(t *testing.T) {
	var stderr bytes.Buffer
	if code := Exec([]string{"--", "/bin/true"}, strings.NewReader(""), &stderr); code != ExitNotExecutable {
		t.Fatalf("exit code %d, stderr %q", code, stderr.String())
	}
}

func TestExecSaysWhyItCannotStart(t *testing.T) {
	for _, tc := range []struct {
		args []string
		code int
		text string
	}{
		{[]string{"--", "no-such-program"}, ExitNotFound, "no-such-program: not found"},
		{[]string{"-dir", "/no/such", "--", "true"}, ExitNotExecutable, "working directory /no/such: no such file or directory"},
		{[]string{"--", "/etc/passwd"}, ExitNotExecutable, "/etc/passwd: permission denied"},
		{nil, ExitNotExecutable, "usage"},
	} {
		var stderr bytes.Buffer
		code := Exec(tc.args, strings.NewReader("\n"), &stderr)
		if code != tc.code || !strings.Contains(stderr.String(), tc.text) {
			t.Errorf("Exec(%q) = %d, %q; want %d, %q", tc.args, code, stderr.String(), tc.code, tc.text)
		}
	}
}

func TestArgumentsOfExecComeBackAsTheyWereFormatted(t *testing.T) {
	for _, want := range []ExecArgs{
		{Args: []string{"ls"}},
		{Dir: "/w", Args: []string{"-dir", "--", "-line", ""}},
		{Dir: "-x", Line: true, Terminal: true, WaitStatus: true, Fork: true, Args: []string{"a", "b"}},
	} {
		got, err := ParseExec(want.Format())
		if err != nil || !reflect.DeepEqual(*got, want) {
			t.Errorf("got %+v, %v; formatted was %+v", got, err, want)
		}
	}
}

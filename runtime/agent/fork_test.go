package agent

import (
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"codebeaker/runtime/agent/wire"
)

func TestNamesStandForFilesInPATH(t *testing.T) {
	for _, tc := range []struct {
		name, path string
		want       []string
	}{
		{"echo", "/usr/bin:/bin", []string{"/usr/bin/echo", "/bin/echo"}},
		{"echo", "", nil},
		{"echo", "bin:", []string{"./bin/echo", "./echo"}},
		{"./echo", "/bin", []string{"./echo"}},
		{"", "/bin", nil},
	} {
		if got := candidates(tc.name, tc.path); !slices.Equal(got, tc.want) {
			t.Errorf("%q in %q stands for %q; want %q", tc.name, tc.path, got, tc.want)
		}
	}
}

func TestFailuresAreSaidAsByExec(t *testing.T) {
	spec := &wire.Program{Dir: "/work", Args: []string{"/etc"}}
	for _, tc := range []struct {
		failure failure
		want    string
	}{
		{failure{wire.StageDirectory, unix.ENOENT}, "working directory /work: no such file or directory"},
		{failure{wire.StageExec, unix.ENOENT}, "/etc: not found"},
		{failure{wire.StageExec, unix.EACCES}, "/etc: is a directory"},
		{failure{wire.StageExec, unix.ENOEXEC}, "/etc: exec format error"},
	} {
		if got := tc.failure.line(spec); got != tc.want {
			t.Errorf("got %q; want %q", got, tc.want)
		}
	}
}

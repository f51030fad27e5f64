package agent

import (
	"slices"
	"testing"
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

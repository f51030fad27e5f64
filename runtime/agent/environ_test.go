package agent

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestEnvironmentIsThatOfRunc(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	users := file("users", "root:x:0:0:root:/root:/bin/sh\nbroken:1000\na:x:1000:1000::/home/a:/bin/sh\n")
	fifo := filepath.Join(dir, "fifo")
	if err := unix.Mkfifo(fifo, 0o644); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		env    []string
		passwd string
		want   []string
	}{
		"home is looked up":         {[]string{"A=1"}, users, []string{"A=1", "HOME=/home/a"}},
		"home is given":             {[]string{"HOME=/h", "A=1"}, users, []string{"HOME=/h", "A=1"}},
		"an empty home is none":     {[]string{"HOME=/h", "HOME="}, users, []string{"HOME=/h"}},
		"the last counts":           {[]string{"A=1", "B=2", "A=3"}, users, []string{"B=2", "A=3", "HOME=/home/a"}},
		"no users":                  {nil, filepath.Join(dir, "missing"), []string{"HOME=/"}},
		"a list that is a fifo":     {nil, fifo, []string{"HOME=/"}},
		"a list that is a dir":      {nil, dir, []string{"HOME=/"}},
		"a list that is too large":  {nil, file("large", strings.Repeat("\n", maxPasswd)+"a:x:1000:1000::/home/a:/bin/sh\n"), []string{"HOME=/"}},
		"a line that is too large":  {nil, file("line", strings.Repeat("x", maxPasswd)), []string{"HOME=/"}},
		"a home with a NUL in it":   {nil, file("nul", "a:x:1000:1000::/home\x00a:/bin/sh\n"), []string{"HOME=/"}},
		"another user's is not his": {nil, file("other", "a:x:10000:1000::/home/a:/bin/sh\n"), []string{"HOME=/"}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := environ(tc.env, tc.passwd, 1000); !slices.Equal(got, tc.want) {
				t.Errorf("got %q; want %q", got, tc.want)
			}
		})
	}
}

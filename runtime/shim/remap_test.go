package shim

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/containerd/containerd/v2/core/mount"
	"golang.org/x/sys/unix"
)

// mappedFile returns the owner of a file in a directory of the host, looked at
// through a mount of it with the ids of a session.
func mappedFile(t *testing.T, through string) (uid, gid uint32) {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(through, &st); err != nil {
		t.Fatal(err)
	}
	return st.Uid, st.Gid
}

func TestLayersHaveTheIDsOfTheirContainer(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("mounts need root")
	}
	dir := t.TempDir()
	t.Setenv("TMPDIR", t.TempDir())
	var lower []string
	for _, layer := range []string{"1/fs", "12/fs"} {
		path := filepath.Join(dir, layer)
		if err := os.MkdirAll(path, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(path, "file"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(filepath.Join(path, "file"), 3, 4); err != nil {
			t.Fatal(err)
		}
		lower = append(lower, path)
	}
	m, done, err := remap(mount.Mount{Type: "overlay", Source: "overlay", Options: []string{
		"uidmap=0:1000000:10", "lowerdir=" + strings.Join(lower, ":"), "gidmap=0:2000000:4,4:5000000:1", "index=off",
	}})
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Options) != 2 || m.Options[0] != "index=off" {
		t.Errorf("options %q", m.Options)
	}
	_, paths, _ := strings.Cut(m.Options[1], "lowerdir=")
	for i, path := range strings.Split(paths, ":") {
		if slices.Contains(lower, path) {
			t.Errorf("layer %d is where it was", i)
		}
		if uid, gid := mappedFile(t, filepath.Join(path, "file")); uid != 1000003 || gid != 5000000 {
			t.Errorf("layer %d: a file of 3:4 is %d:%d", i, uid, gid)
		}
		if err := os.WriteFile(filepath.Join(path, "file"), []byte("x"), 0o600); err == nil {
			t.Errorf("layer %d can be written to", i)
		}
	}
	if err := done(); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(os.TempDir()); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

func TestUserNamespaceLeavesNoProcess(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("ids of others need root")
	}
	ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: 1 << 30, Size: 1 << 16}}
	for range 100 {
		ns, err := newUserNamespace(ids, ids)
		if err != nil {
			t.Fatal(err)
		}
		ns.Close()
	}
	if _, err := unix.Wait4(-1, nil, unix.WALL|unix.WNOHANG, nil); !errors.Is(err, unix.ECHILD) {
		t.Errorf("wait: %v; want no child", err)
	}
}

func TestMountsWithoutOtherIDsStayAsTheyAre(t *testing.T) {
	for _, m := range []mount.Mount{
		{Type: "overlay", Options: []string{"lowerdir=/a/b:/a/c"}},
		{Type: "bind", Source: "/a", Options: []string{"uidmap=0:1:1", "gidmap=0:1:1", "rbind"}},
	} {
		got, done, err := remap(m)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got.Options, m.Options) {
			t.Errorf("%q became %q", m.Options, got.Options)
		}
		if err := done(); err != nil {
			t.Error(err)
		}
	}
}

func TestMappingsThatAreNoneAreRefused(t *testing.T) {
	for _, text := range []string{"", "0:1", "0:1:2:3", "0:-1:2", "a:1:2", "0:1:2,"} {
		if ids, err := parseIDs(text); err == nil {
			t.Errorf("%q is %v", text, ids)
		}
		m := mount.Mount{Type: "overlay", Options: []string{"lowerdir=/a/b", "gidmap=0:1:2", "uidmap=" + text}}
		if _, _, err := remap(m); err == nil {
			t.Errorf("a mount with uidmap=%q is taken", text)
		}
	}
}

func TestLayersWithoutADirectoryInCommonAreRefused(t *testing.T) {
	for _, c := range []struct {
		paths []string
		want  string
	}{
		{[]string{"/s/1/fs"}, "/s/1"},
		{[]string{"/s/1/fs", "/s/12/fs"}, "/s"},
		{[]string{"/s/1/fs", "/t/1/fs"}, ""},
		{[]string{"/s"}, ""},
		{[]string{"s/1"}, ""},
	} {
		if got, err := commonDir(c.paths); got != c.want || (err != nil) != (c.want == "") {
			t.Errorf("%q: %q, %v; want %q", c.paths, got, err, c.want)
		}
	}
}

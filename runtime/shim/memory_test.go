package shim

import (
	"os"
	"strings"
	"testing"
)

func TestFamilyKnowsItsShims(t *testing.T) {
	f := Family{Address: "/run/a.sock", Namespace: "codebeaker"}
	for args, want := range map[string]bool{
		"codebeaker -namespace codebeaker -id cb-1 -address /run/a.sock":                          true,
		"codebeaker -namespace codebeaker -address /run/a.sock -id cb-1 -debug":                   true,
		"codebeaker -namespace other -id cb-1 -address /run/a.sock":                               false,
		"codebeaker -namespace codebeaker -id cb-1 -address /run/b.sock":                          false,
		"codebeaker -namespace codebeaker -id cb-1 -address":                                      false,
		"codebeaker -namespace codebeaker -address /run/a.sock -publish-binary x -id cb-1 start":  false,
		"codebeaker -namespace codebeaker -address /run/a.sock -publish-binary x -id cb-1 delete": false,
		"codebeaker serve -namespace codebeaker -address /run/a.sock":                             false,
		"codebeaker": false,
		"":           false,
	} {
		if got := f.started(strings.Split(args, " ")); got != want {
			t.Errorf("%q: %t", args, got)
		}
	}
}

func TestFamilyKnowsItsProgram(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink(dir+"/shim-2", dir+"/shim"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir+"/shim-2", nil, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		runtime, path string
		want          bool
	}{
		{"/usr/lib/codebeaker", "/usr/lib/codebeaker", true},
		{"/usr/lib/codebeaker", "/workspace/codebeaker", false},
		{dir + "/shim", dir + "/shim-2", true},
		{"io.containerd.runsc.v1", "/usr/bin/containerd-shim-runsc-v1", true},
		{"io.containerd.runsc.v1", "/usr/bin/containerd-shim-runc-v2", false},
	} {
		if got := (Family{Runtime: test.runtime}).program()(test.path); got != test.want {
			t.Errorf("%s of runtime %s: %t", test.path, test.runtime, got)
		}
	}
}

func TestResidentMemoryOfThisProcess(t *testing.T) {
	anonymous, file, err := resident("/proc/self")
	if err != nil || anonymous < 1<<20 || file < 1<<20 {
		t.Errorf("%d and %d bytes, %v", anonymous, file, err)
	}
}

func BenchmarkFamilyMemory(b *testing.B) {
	f := Family{Runtime: "/usr/lib/codebeaker", Address: "/run/a.sock", Namespace: "codebeaker"}
	for b.Loop() {
		if _, err := f.Memory(); err != nil {
			b.Fatal(err)
		}
	}
}

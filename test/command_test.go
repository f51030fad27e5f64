package test

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

func TestHealth(t *testing.T) {
	s := busybox(t)
	if status, body := get(t, s.base+"/health"); status != 200 || !strings.Contains(body, `"status":"Healthy"`) {
		t.Errorf("/health: %d %s", status, body)
	}
}

func TestRunCommandExitsAsTheProgram(t *testing.T) {
	s := python(t)
	file := filepath.Join(t.TempDir(), "p.py")
	if err := os.WriteFile(file, []byte("import sys\nprint('out', sys.argv[1:])\nprint('err', file=sys.stderr)\nsys.exit(3)\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		stdin          string
		args           []string
		stdout, stderr string
		code           int
	}{
		"a file":           {"", []string{"python", file, "a", "--b"}, "out ['a', '--b']\n", "err\n", 3},
		"standard input":   {"print(10 * 2)", []string{"py", "-"}, "20\n", "", 0},
		"a time limit":     {"while True: pass", []string{"--timeout", "1s", "python", "-"}, "", "codebeaker: The program was killed after its time limit of 1s.\n", 137},
		"bytes":            {"import sys; sys.stdout.buffer.write(b'\\xff\\x00')", []string{"python", "-"}, "\xff\x00", "", 0},
		"unknown language": {"", []string{"cobol", "-"}, "", "codebeaker: language \"cobol\" is unknown", 1},
		"missing file":     {"", []string{"python", "/no/such"}, "", "codebeaker: read program: open /no/such: no such file", 1},
	} {
		t.Run(name, func(t *testing.T) {
			stdout, stderr, code, err := command(t.Context(), tc.stdin, append([]string{"run", "--server", s.url}, tc.args...)...)
			if err != nil || stdout != tc.stdout || code != tc.code || !strings.HasPrefix(stderr, tc.stderr) || tc.stderr == "" && stderr != "" {
				t.Errorf("it printed %q, %q and ended with %d, %v", stdout, stderr, code, err)
			}
		})
	}
	t.Run("no server", func(t *testing.T) {
		_, stderr, code, err := command(t.Context(), "", "run", "--server", "ws://127.0.0.1:1/ws/jsonrpc", "python", "-")
		if err != nil || code != 1 || !strings.Contains(stderr, "codebeaker serve") {
			t.Errorf("it printed %q and ended with %d, %v", stderr, code, err)
		}
	})
}

func TestRunEmbeddedNeedsNoServer(t *testing.T) {
	s := withBusybox(t)
	// The image's python is busybox, so this is what runs.
	_, stderr, code, err := command(t.Context(), "print(1)", append([]string{"run", "--embedded", "--cgroup-parent", s.parent}, append(s.hostArgs(), "python", "-")...)...)
	if err != nil || code != 127 || stderr != "codebeaker: python3: not found\n" {
		t.Errorf("it printed %q and ended with %d, %v", stderr, code, err)
	}
	eventually(t, s.gone)
}

func TestOptionsComeFromFileEnvironmentAndFlags(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "codebeaker.toml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	doctor := func(args ...string) (string, string) {
		t.Helper()
		stdout, stderr, _, err := command(t.Context(), "", append([]string{"doctor", "--config", file}, args...)...)
		if err != nil {
			t.Fatal(err)
		}
		return stdout, stderr
	}
	write("root = \"/of/file\"\n")
	if out, _ := doctor(); !strings.Contains(out, "/of/file,") {
		t.Errorf("the file's root was not taken:\n%s", out)
	}
	t.Setenv("CODEBEAKER_ROOT", "/of/environment")
	if out, _ := doctor(); !strings.Contains(out, "/of/environment,") {
		t.Errorf("the environment's root was not taken:\n%s", out)
	}
	if out, _ := doctor("--root", "/of/flag"); !strings.Contains(out, "/of/flag,") {
		t.Errorf("the flag's root was not taken:\n%s", out)
	}
	for text, want := range map[string]string{
		"rot = \"x\"\n":               file + ":1:1: no option \"rot\"",
		"\nmax_sessions = \"many\"\n": file + ":2:",
		"root = \n":                   file + ":1:",
		"exec_timeout = \"soon\"\n":   file + ":1:",
		"state = \"relative\"\n":      "--state \"relative\": takes an absolute path",
		"log_level = \"loud\"\n":      "--log-level \"loud\": takes debug, info, warn or error",
	} {
		write(text)
		if _, stderr := doctor(); !strings.Contains(stderr, want) {
			t.Errorf("%q: %q; want %q", text, stderr, want)
		}
	}
}

func TestDoctorAndVersion(t *testing.T) {
	stdout, stderr, code, err := command(t.Context(), "", "doctor")
	if err != nil || code != 0 || strings.Contains(stdout, "fail ") {
		t.Errorf("doctor ended with %d, %v on a host where the tests run:\n%s%s", code, err, stdout, stderr)
	}
	for _, subject := range []string{"runtime", "kernel", "cgroups", "limits", "swap", "namespaces", "overlay", "seccomp", "runc", "images"} {
		if !strings.Contains(stdout, subject) {
			t.Errorf("doctor says nothing of %s:\n%s", subject, stdout)
		}
	}
	if stdout, _, code, err := command(t.Context(), "", "version"); err != nil || code != 0 || !strings.Contains(stdout, "containerd v2.") {
		t.Errorf("version ended with %d, %v: %s", code, err, stdout)
	}
}

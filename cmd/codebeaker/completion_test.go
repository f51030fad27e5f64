package main

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// completed returns what is completed, and cobra's directive.
func completed(t *testing.T, s *fakeServer, args ...string) (found []string, directive string) {
	t.Helper()
	stdout, stderr, code := runCommand(t, s, "", append([]string{"__complete"}, args...)...)
	if code != 0 || strings.Contains(stderr, "rror") {
		t.Errorf("%q: it said %q and exited with %d", args, stderr, code)
	}
	lines := strings.Split(strings.TrimSuffix(stdout, "\n"), "\n")
	return lines[:len(lines)-1], lines[len(lines)-1]
}

// completion is what should be completed.
type completion struct {
	args      []string
	want      []string
	directive string
}

func (c completion) check(t *testing.T, s *fakeServer) {
	t.Helper()
	got, directive := completed(t, s, c.args...)
	if !slices.Equal(got, c.want) || directive != c.directive {
		t.Errorf("%q: %q %s, want %q %s", c.args, got, directive, c.want, c.directive)
	}
}

func TestCompletion(t *testing.T) {
	s := newFakeServer(t, nil)
	s.mu.Lock()
	s.execs = append(s.execs, &fakeExecution{id: "e1", command: fakeCommand{CommandName: "sh -c evil\x1b"}})
	s.mu.Unlock()
	for name, tc := range map[string]completion{
		"languages":          {[]string{"run", ""}, []string{"python", "javascript", "go", "csharp"}, ":4"},
		"the program's file": {[]string{"run", "python", ""}, nil, ":0"},
		"a session":          {[]string{"exec", ""}, []string{"s1\tpython, Idle"}, ":4"},
		"of ps":              {[]string{"ps", ""}, []string{"s1\tpython, Idle"}, ":4"},
		"an execution":       {[]string{"attach", ""}, []string{"e1\tsh -c evil\uFFFD"}, ":4"},
		"nothing after":      {[]string{"attach", "e1", ""}, nil, ":4"},
	} {
		t.Run(name, func(t *testing.T) { tc.check(t, s) })
	}
	t.Run("without a server", func(t *testing.T) {
		t.Setenv(serverEnv, "127.0.0.1:1")
		for want, args := range map[string][]string{"": {"exec", ""}, "python,javascript,go,csharp": {"run", ""}} {
			if got, _ := completed(t, nil, args...); strings.Join(got, ",") != want {
				t.Errorf("%q: %q", args, got)
			}
		}
	})
}

func TestCompletionScriptsAreShell(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish"} {
		script, stderr, code := runCommand(t, nil, "", "completion", shell)
		if code != 0 || !strings.Contains(script, "codebeaker") {
			t.Errorf("%s: it printed %d bytes, %q and exited with %d", shell, len(script), stderr, code)
			continue
		}
		path, err := exec.LookPath(shell)
		if err != nil {
			if shell == "bash" {
				t.Errorf("%v", err)
			}
			continue // the others are not on every host
		}
		check := exec.Command(path, "-n")
		check.Stdin = strings.NewReader(script)
		if out, err := check.CombinedOutput(); err != nil {
			t.Errorf("%s -n: %v: %s", shell, err, out)
		}
	}
}

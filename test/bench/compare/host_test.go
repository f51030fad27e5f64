package compare

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestWatchWaitsForFilesAndShim(t *testing.T) {
	dir := t.TempDir()
	bundle := filepath.Join(dir, "bundle")
	if err := os.Mkdir(bundle, 0o700); err != nil {
		t.Fatal(err)
	}
	name := filepath.Base(t.TempDir()) + "-" + filepath.Base(filepath.Dir(dir))
	shim := exec.Command("sh", "-c", "read line", "shim", name)
	stdin, err := shim.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := shim.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = shim.Process.Kill() }()
	w, err := newWatch(Traces{Paths: []string{bundle}, Shim: name})
	if err != nil {
		t.Fatal(err)
	}
	defer w.close()
	left := func() string {
		what, err := w.left()
		if err != nil {
			t.Fatal(err)
		}
		return what
	}
	if got := left(); got != bundle {
		t.Errorf("left is %q, want the bundle", got)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := w.wait(ctx, time.Millisecond); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), bundle) {
		t.Errorf("wait says %v", err)
	}
	if err := os.Remove(bundle); err != nil {
		t.Fatal(err)
	}
	if got := left(); got != "its shim" {
		t.Errorf("left is %q, want the shim", got)
	}
	stdin.Close()
	if err := w.wait(t.Context(), time.Millisecond); err != nil {
		t.Error(err)
	}
	if err := shim.Wait(); err == nil {
		t.Error("read should fail at the end of its input")
	}
}

func TestWatchRefusesWhatIsNotThere(t *testing.T) {
	for _, traces := range []Traces{
		{Cgroup: "/cbb-not-there"}, {Paths: []string{filepath.Join(t.TempDir(), "none")}}, {Shim: "no process has this argument " + t.Name() + time.Now().String()},
	} {
		if w, err := newWatch(traces); err == nil {
			w.close()
			t.Errorf("%+v is watched", traces)
		}
	}
}

func TestSweepSaysWhatIsLeft(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "x")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	left := exec.Command("sh", "-c", "read line", dir+"/program")
	stdin, err := left.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := left.Start(); err != nil {
		t.Fatal(err)
	}
	found, err := remains("/cbb-not-there", dir)
	if err != nil || len(found) != 1 || !strings.HasPrefix(found[0], "process ") {
		t.Errorf("remains are %q, %v", found, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := sweep(ctx, "/cbb-not-there", dir); err == nil {
		t.Error("sweep says nothing")
	}
	if _, err := os.Stat(dir); err != nil {
		t.Errorf("the directory went with something left in it: %v", err)
	}
	stdin.Close()
	_ = left.Wait()
	if err := sweep(t.Context(), "/cbb-not-there", dir); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the directory is there: %v", err)
	}
}

func TestServersDoNotInheritOptions(t *testing.T) {
	t.Setenv("CODEBEAKER_RUNTIME", "other")
	t.Setenv("NOT_CODEBEAKER_X", "kept")
	got := environment()
	if slices.Contains(got, "CODEBEAKER_RUNTIME=other") || !slices.Contains(got, "NOT_CODEBEAKER_X=kept") {
		t.Errorf("environment is %q", got)
	}
}

func TestProcessThatEndsAtOnceIsExplained(t *testing.T) {
	p, err := startProcess("a daemon", "/bin/sh", "-c", "echo the reason >&2; exit 3")
	if err != nil {
		t.Fatal(err)
	}
	err = p.await(t.Context(), func(context.Context) error { return errors.New("not yet") })
	if err == nil || !strings.Contains(err.Error(), "ended with 3:\nthe reason") {
		t.Errorf("await says %v", err)
	}
}

func TestProcessIsStopped(t *testing.T) {
	p, err := startProcess("a daemon", "/bin/sh", "-c", "trap 'exit 0' TERM; echo ready >&2; while :; do sleep 0.05; done")
	if err != nil {
		t.Fatal(err)
	}
	err = p.await(t.Context(), func(context.Context) error {
		if p.logged() != "ready" {
			return errors.New("not yet")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.stop(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestFieldOfMemory(t *testing.T) {
	const text = "MemTotal:       24684000 kB\nPss:  1326 kB\nPss_Dirty:  20 kB\n"
	if got, err := field(text, "Pss"); err != nil || got != 1326 {
		t.Errorf("Pss is %g, %v", got, err)
	}
	if _, err := field(text, "Swap"); err == nil {
		t.Error("what is not there was found")
	}
}

func TestPoolIsFull(t *testing.T) {
	const head = "# HELP codebeaker_pool_members Members.\ncodebeaker_pool_claims_total{language=\"python\"} 9\n"
	metrics := func(ready, starting, target string) string {
		return head + `codebeaker_pool_members{language="python",state="ready"} ` + ready + "\n" +
			`codebeaker_pool_members{language="python",state="starting"} ` + starting + "\n" +
			`codebeaker_pool_members_target{language="python"} ` + target + "\n"
	}
	for _, c := range []struct {
		text string
		full bool
	}{
		{metrics("4", "0", "4"), true},
		{metrics("5", "0", "4"), true},
		{metrics("0", "0", "0"), true},
		{metrics("3", "1", "4"), false},
		{metrics("4", "1", "4"), false},
		{metrics("3", "0", "4"), false},
	} {
		if full, err := poolFull(c.text); err != nil || full != c.full {
			t.Errorf("full is %v, %v of\n%s", full, err, c.text)
		}
	}
	if _, err := poolFull(head); !errors.Is(err, errNoPoolMetrics) {
		t.Errorf("without a target: %v", err)
	}
}

func TestOnlyEmptyDirectoriesAreRemoved(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	if err := os.MkdirAll(filepath.Join(dir, "a", "b"), 0o700); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "a", "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := removeEmpty(dir); err == nil {
		t.Error("a file was no reason to complain")
	}
	if err := os.Remove(file); err != nil {
		t.Error(err)
	}
	if err := removeEmpty(dir); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the directory is there: %v", err)
	}
}

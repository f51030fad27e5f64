package test

import (
	"bufio"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// benchReport is what the tests read of a bench's report.
type benchReport struct {
	Subjects []struct{ Name string }
	Missing  []struct{ Name, Why string }
	Cells    []struct {
		Measure, Subject string
		N, Failed        int
		P50MS, P99MS     float64
	}
	Idle []struct {
		Live, Wanted int
		Inside       float64 `json:"insideKiB"`
	}
}

// smallBench are options of the bench for a run of seconds.
func smallBench(s *server) []string {
	return append([]string{
		"--rounds", "2", "--at-once", "2", "--creates", "1", "--programs", "2", "--files", "2", "--burst", "3", "--idle", "2",
	}, s.hostArgs()...)
}

// benchRemains lists what benches have on the host.
func benchRemains(t *testing.T) []string {
	t.Helper()
	var left []string
	for _, pattern := range []string{"/var/tmp/cbb-*", "/run/cbb-*", "/sys/fs/cgroup/cbb-*", "/sys/fs/cgroup/*/cbb-*"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		left = append(left, found...)
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, "/cbb-") {
			left = append(left, line)
		}
	}
	processes, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range processes {
		text, err := os.ReadFile(p)
		if err == nil && strings.Contains(string(text), "/cbb-") {
			left = append(left, strings.ReplaceAll(string(text), "\x00", " "))
		}
	}
	slices.Sort(left)
	return left
}

func TestBenchMeasuresWhatIsInstalledAndLeavesNothing(t *testing.T) {
	s := python(t)
	before := benchRemains(t)
	dir := t.TempDir()
	jsonFile := filepath.Join(dir, "r.json")
	cmd := exec.CommandContext(t.Context(), binary("codebeaker-bench"), append(smallBench(s), "--json", jsonFile)...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	table, err := cmd.Output()
	if err != nil {
		t.Fatalf("the bench ended with %v:\n%s", err, stderr.String())
	}
	text, err := os.ReadFile(jsonFile)
	if err != nil {
		t.Fatal(err)
	}
	var report benchReport
	if err := json.Unmarshal(text, &report); err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, i := range report.Subjects {
		names[i.Name] = true
	}
	for _, m := range report.Missing {
		if names[m.Name] || m.Why == "" {
			t.Errorf("%s is missing because of %q, and measured %v", m.Name, m.Why, names[m.Name])
		}
	}
	for _, name := range []string{"codebeaker", "containerd", "fork+exec"} {
		if !names[name] {
			t.Errorf("%s was not measured:\n%s", name, stderr.String())
		}
	}
	seen := map[string]bool{}
	for _, c := range report.Cells {
		if c.N == 0 || c.Failed > 0 || c.P50MS <= 0 || c.P50MS > c.P99MS {
			t.Errorf("cell %+v", c)
		}
		if c.Subject == "codebeaker" {
			seen[c.Measure] = true
		}
	}
	if len(seen) != 9 {
		t.Errorf("measured of the server: %v", seen)
	}
	for _, i := range report.Idle {
		if i.Live != i.Wanted || i.Inside <= 0 {
			t.Errorf("idle %+v", i)
		}
	}
	if len(report.Idle) == 0 || !strings.Contains(string(table), "create, 3 at once") {
		t.Errorf("idle %v, and the table is\n%s", report.Idle, table)
	}
	if after := benchRemains(t); !slices.Equal(before, after) {
		t.Errorf("before there was %q, after %q", before, after)
	}
}

func TestBenchEndsAtAnInterrupt(t *testing.T) {
	s := python(t)
	before := benchRemains(t)
	// In the middle of the first round, with everything started.
	code, stderr := interruptBench(t, smallBench(s), "round 1 of 2: containerd")
	if code != 1 || !strings.Contains(stderr, "context canceled") {
		t.Errorf("bench ended with %d:\n%s", code, stderr)
	}
	if after := benchRemains(t); !slices.Equal(before, after) {
		t.Errorf("before there was %q, after %q; it said:\n%s", before, after, stderr)
	}
}

// interruptBench sends SIGINT to a bench once it has said something, and returns
// how it ended.
func interruptBench(t *testing.T, args []string, said string) (code int, stderr string) {
	t.Helper()
	cmd := exec.Command(binary("codebeaker-bench"), args...)
	var all strings.Builder
	pipe, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	late := time.AfterFunc(10*patience, func() { _ = cmd.Process.Kill() })
	defer late.Stop()
	for lines := bufio.NewScanner(pipe); lines.Scan(); {
		all.WriteString(lines.Text() + "\n")
		if strings.Contains(lines.Text(), said) {
			if err := cmd.Process.Signal(os.Interrupt); err != nil {
				t.Error(err)
			}
		}
	}
	_ = cmd.Wait() // its state is asked for
	return cmd.ProcessState.ExitCode(), all.String()
}

package test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// measures are the values of a scrape, by name and labels as they are served.
type measures map[string]float64

func (s *server) metrics(t *testing.T) measures {
	t.Helper()
	status, body := get(t, s.base+"/metrics")
	if status != 200 {
		t.Fatalf("/metrics: %d %s", status, body)
	}
	m := measures{}
	for line := range strings.Lines(body) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		at := strings.LastIndexByte(line, ' ')
		value, err := strconv.ParseFloat(strings.TrimSpace(line[at+1:]), 64)
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		m[line[:at]] = value
	}
	return m
}

// is says which of the values differ.
func (m measures) is(want measures) error {
	for name, value := range want {
		if got, ok := m[name]; !ok || got != value {
			return fmt.Errorf("%s is %g (%t); want %g", name, got, ok, value)
		}
	}
	return nil
}

func TestMetricsOfASessionAddUp(t *testing.T) {
	s := private(t, "--sessions-per-shim", "1") // so that shims come and go
	before := s.metrics(t)
	b := s.session(t, nil)
	b.do(object{"type": "write_file", "path": "x", "content": "1"})
	b.sh("cat x")
	b.sh("exit 3")
	b.do(object{"type": "execute_shell", "commandName": "sleep", "args": []string{"1000"}, "timeout": 1})
	if _, err := b.try(object{"type": "read_file", "path": "none"}); err == nil {
		t.Error("a file that is not there was read")
	}
	if err := b.c.Call(t.Context(), "no.such", object{}, nil); err == nil {
		t.Error("a method that is not there was called")
	}
	used := s.metrics(t)
	if err := used.is(measures{
		`codebeaker_sessions{state="Idle"}`:                                                 1,
		`codebeaker_sessions{state="Active"}`:                                               0,
		`codebeaker_sessions_created_total{language="python",start="cold"}`:                 1,
		`codebeaker_sessions_created_total{language="python",start="pooled"}`:               0,
		`codebeaker_session_create_duration_seconds_count{language="python",start="cold"}`:  1,
		`codebeaker_session_create_stage_duration_seconds_count{stage="task",start="cold"}`: 1,
		`codebeaker_sessions_closed_total{language="python",reason="closed"}`:               0,
		`codebeaker_requests_total{code="ok",method="session.create"}`:                      1,
		`codebeaker_requests_total{code="ok",method="session.execute"}`:                     4,
		`codebeaker_requests_total{code="-32007",method="session.execute"}`:                 1,
		`codebeaker_requests_total{code="-32601",method="none"}`:                            1,
		`codebeaker_request_duration_seconds_count{method="session.execute"}`:               5,
		`codebeaker_connections`:                       1,
		`codebeaker_connections_total`:                 1,
		`codebeaker_shims`:                             1,
		`codebeaker_output_kept_bytes{place="memory"}`: 512, // the ring of the one stream that had any
	}); err != nil {
		t.Error(err)
	}
	stages := 0.0
	for name, value := range used {
		if strings.HasPrefix(name, "codebeaker_session_create_stage_duration_seconds_sum") {
			stages += value
		}
	}
	whole := used[`codebeaker_session_create_duration_seconds_sum{language="python",start="cold"}`]
	if stages <= whole/2 || stages > whole {
		t.Errorf("the stages took %g seconds together; the create took %g", stages, whole)
	}
	for _, name := range []string{
		"process_resident_memory_bytes", `codebeaker_shims_resident_memory_bytes{kind="anonymous"}`, `codebeaker_shims_resident_memory_bytes{kind="file"}`,
	} {
		if used[name] < 1<<20 || used[name] > 1<<30 {
			t.Errorf("%s is %g", name, used[name])
		}
	}
	if before["codebeaker_shims"] != 0 || before["codebeaker_connections_total"] != 0 {
		t.Errorf("before the session there were %v shims", before["codebeaker_shims"])
	}

	b.close()
	b.c.Close()
	// An execution's and a session's end are counted behind the answer.
	eventually(t, func() error {
		m := s.metrics(t)
		if took := m[`codebeaker_execution_duration_seconds_sum{language="python"}`]; took < 1 || took > patience.Seconds() {
			return fmt.Errorf("executions took %g seconds together", took)
		}
		return m.is(measures{
			`codebeaker_sessions{state="Idle"}`:                                    0,
			`codebeaker_sessions{state="Closing"}`:                                 0,
			`codebeaker_containers_removing`:                                       0,
			`codebeaker_sessions_closed_total{language="python",reason="closed"}`:  1,
			`codebeaker_session_close_duration_seconds_count{language="python"}`:   1,
			`codebeaker_session_removal_duration_seconds_count{language="python"}`: 1,
			`codebeaker_executions_total{language="python",reason="exited"}`:       2,
			`codebeaker_executions_total{language="python",reason="timeout"}`:      1,
			`codebeaker_executions_total{language="python",reason="failed"}`:       0,
			`codebeaker_execution_duration_seconds_count{language="python"}`:       3,
			`codebeaker_requests_total{code="ok",method="session.close"}`:          1,
			`codebeaker_requests_pending`:                                          0,
			`codebeaker_connections`:                                               0,
			`codebeaker_connections_total`:                                         1,
			`codebeaker_shims`:                                                     0,
		})
	})
}

// A program of a session can have the path of the shim's program and all its
// arguments.
func TestMetricsTakeNoSessionsProgramForAShim(t *testing.T) {
	s := withBusybox(t)
	dir := filepath.Join(s.dir, "bin") // which is below /tmp, where sessions can make it, too
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"codebeaker", "runc"} {
		program, err := os.ReadFile(binary(name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), program, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	shim := filepath.Join(dir, "codebeaker")
	if err := s.start("--runtime", shim); err != nil {
		t.Fatal(err)
	}
	b := s.session(t, nil)
	// busybox goes by its name, and repeats whatever arguments yes has.
	lie := b.do(object{"type": "execute_shell", "commandName": "sh", "background": true, "args": []string{
		"-c",
		`mkdir -p ` + dir + ` && cp /bin/busybox ` + shim + ` && ln -s ` + shim + ` yes && ./yes -namespace codebeaker -id x -address ` + s.state + `/containerd.sock >/dev/null`,
	}}).Result.ExecutionID
	t.Cleanup(func() {
		_ = b.c.Call(context.WithoutCancel(t.Context()), "execution.cancel", object{"executionId": lie}, nil)
	})
	shims := func() (n int) {
		processes, err := filepath.Glob("/proc/[0-9]*")
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range processes {
			exe, _ := os.Readlink(p + "/exe") // it may have ended
			args, _ := os.ReadFile(p + "/cmdline")
			if exe == shim && strings.Contains(string(args), "\x00-address\x00"+s.state+"/") {
				n++
			}
		}
		return n
	}
	eventually(t, func() error {
		if n := shims(); n != 2 {
			return fmt.Errorf("%d processes look like shims; want the shim and the program", n)
		}
		return nil
	})
	if m := s.metrics(t); m["codebeaker_shims"] != 1 {
		t.Errorf("it counts %g shims of 1", m["codebeaker_shims"])
	}
}

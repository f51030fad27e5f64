package metrics

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"codebeaker/rpc"
	"codebeaker/runtime/shim"
	"codebeaker/session"
	"codebeaker/session/output"
	"codebeaker/session/sessiontest"
)

type fixedSessions session.Stats

func (s fixedSessions) Stats() session.Stats { return session.Stats(s) }

type fixedServer rpc.Stats

func (s fixedServer) Stats() rpc.Stats { return rpc.Stats(s) }

// busy returns a Metrics on which everything has happened once.
func busy() *Metrics {
	m := New(Options{Version: "v1", Languages: []string{"python"}})
	m.SessionCreated("python", true, session.Timings{Pooled: true, Total: 3 * time.Millisecond, Stages: []session.StageTime{
		{Stage: session.StageClaim, Took: time.Millisecond},
	}})
	m.SessionCreated("python", false, session.Timings{Total: 30 * time.Millisecond, Stages: []session.StageTime{
		{Stage: session.StageTask, Took: 20 * time.Millisecond}, {Stage: session.StageStart, Took: time.Millisecond},
	}})
	m.SessionClosed("python", session.ReasonIdle, 2*time.Millisecond, 45*time.Millisecond)
	m.ExecutionEnded("python", session.EndTimeout, 3*time.Second)
	m.ExecutionEnded("python", session.EndFailed, 0)
	request := m.Requests("session.create")
	request(0, 4*time.Millisecond)
	request(-32004, time.Millisecond)
	m.Requests("")(-32601, 0)
	m.Watch(Sources{
		Sessions: fixedSessions{
			Sessions:    map[session.State]int{session.StateActive: 2, session.StateIdle: 3},
			MaxSessions: 256, Queued: 4, Removing: 5, RemovalsWaiting: 12, RemovalFailures: 13,
			Pool: []session.PoolStats{{Language: "python", Ready: 6, Starting: 1, Target: 8, Claims: 9, Misses: 10}},
		},
		Server: fixedServer{Connections: 11, Connected: 12, Pending: 13, PendingBytes: 14, ReplyBytes: 15, NotifiedBytes: 16, WaitingNotifications: 17},
		Output: &output.Kept{},
		Shims:  func() (shim.Memory, error) { return shim.Memory{Shims: 18, AnonymousBytes: 19, FileBytes: 20}, nil },
	})
	return m
}

// scrape returns what a Metrics serves.
func scrape(t *testing.T, m *Metrics) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
	if w.Code != http.StatusOK || !strings.HasPrefix(w.Header().Get("Content-Type"), "text/plain; version=0.0.4") {
		t.Fatalf("%d %s: %s", w.Code, w.Header(), w.Body)
	}
	return w.Body.String()
}

// families reads what was served as Prometheus would.
func families(t *testing.T, text string) map[string]*dto.MetricFamily {
	t.Helper()
	parser := expfmt.NewTextParser(model.LegacyValidation)
	all, err := parser.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func serves(t *testing.T, text string, lines ...string) {
	t.Helper()
	for _, line := range lines {
		if !strings.Contains(text, line+"\n") {
			t.Errorf("no line %s", line)
		}
	}
	if t.Failed() {
		t.Logf("served:\n%s", text)
	}
}

func TestEventsAreCountedWhereTheyBelong(t *testing.T) {
	serves(t, scrape(t, busy()),
		`codebeaker_sessions_created_total{language="python",start="pooled"} 1`,
		`codebeaker_sessions_created_total{language="python",start="cold"} 1`,
		`codebeaker_session_create_duration_seconds_bucket{language="python",start="pooled",le="0.0025"} 0`,
		`codebeaker_session_create_duration_seconds_bucket{language="python",start="pooled",le="0.005"} 1`,
		`codebeaker_session_create_duration_seconds_bucket{language="python",start="cold",le="0.04"} 1`,
		`codebeaker_session_create_stage_duration_seconds_count{stage="claim",start="pooled"} 1`,
		`codebeaker_session_create_stage_duration_seconds_sum{stage="task",start="cold"} 0.02`,
		`codebeaker_sessions_closed_total{language="python",reason="idle"} 1`,
		`codebeaker_session_close_duration_seconds_sum{language="python"} 0.002`,
		`codebeaker_session_removal_duration_seconds_sum{language="python"} 0.045`,
		`codebeaker_executions_total{language="python",reason="timeout"} 1`,
		`codebeaker_executions_total{language="python",reason="failed"} 1`,
		`codebeaker_execution_duration_seconds_count{language="python"} 1`,
		`codebeaker_execution_duration_seconds_sum{language="python"} 3`,
		`codebeaker_requests_total{code="ok",method="session.create"} 1`,
		`codebeaker_requests_total{code="-32004",method="session.create"} 1`,
		`codebeaker_requests_total{code="-32601",method="none"} 1`,
		`codebeaker_request_duration_seconds_count{method="session.create"} 2`,
	)
}

func TestScrapeShowsWhatThereIs(t *testing.T) {
	serves(t, scrape(t, busy()),
		`codebeaker_sessions{state="Creating"} 0`,
		`codebeaker_sessions{state="Active"} 2`,
		`codebeaker_sessions{state="Idle"} 3`,
		`codebeaker_sessions_max 256`,
		`codebeaker_executions_queued 4`,
		`codebeaker_containers_removing 5`,
		`codebeaker_removals_waiting 12`,
		`codebeaker_removal_failures_total 13`,
		`codebeaker_pool_members{language="python",state="ready"} 6`,
		`codebeaker_pool_members{language="python",state="starting"} 1`,
		`codebeaker_pool_members_target{language="python"} 8`,
		`codebeaker_pool_claims_total{language="python"} 9`,
		`codebeaker_pool_misses_total{language="python"} 10`,
		`codebeaker_connections 11`,
		`codebeaker_connections_total 12`,
		`codebeaker_requests_pending 13`,
		`codebeaker_requests_pending_bytes 14`,
		`codebeaker_replies_queued_bytes 15`,
		`codebeaker_notifications_queued_bytes 16`,
		`codebeaker_notifications_waiting 17`,
		`codebeaker_output_kept_bytes{place="memory"} 0`,
		`codebeaker_shims 18`,
		`codebeaker_shims_resident_memory_bytes{kind="anonymous"} 19`,
		`codebeaker_shims_resident_memory_bytes{kind="file"} 20`,
	)
}

func TestLanguagesCountFromZero(t *testing.T) {
	text := scrape(t, New(Options{Languages: []string{"go"}}))
	serves(t, text,
		`codebeaker_sessions_created_total{language="go",start="pooled"} 0`,
		`codebeaker_sessions_closed_total{language="go",reason="lost"} 0`,
		`codebeaker_executions_total{language="go",reason="oom"} 0`,
	)
}

func TestShimsAreLookedAtOnceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		looks := 0
		s := shims{look: func() (shim.Memory, error) {
			looks++
			return shim.Memory{Shims: looks}, nil
		}}
		for _, want := range []int{1, 1, 2} {
			if m, err := s.memory(); err != nil || m.Shims != want {
				t.Errorf("saw %+v, %v; want that of look %d", m, err, want)
			}
			<-time.After(shimsFor * 2 / 3)
		}
	})
}

func TestWhatCannotBeMeasuredHidesNothingElse(t *testing.T) {
	var log strings.Builder
	m := New(Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
	m.Watch(Sources{
		Sessions: fixedSessions{}, Server: fixedServer{Connections: 1}, Output: &output.Kept{},
		Shims: func() (shim.Memory, error) { return shim.Memory{}, errors.New("no processes") },
	})
	text := scrape(t, m)
	serves(t, text, "codebeaker_connections 1")
	if strings.Contains(text, "codebeaker_shims") {
		t.Error("it shows shims that it could not measure")
	}
	if !strings.Contains(log.String(), "no processes") {
		t.Errorf("the log says %q", log.String())
	}
}

func TestScrapeWaitsForNoSession(t *testing.T) {
	host := sessiontest.NewHost()
	release := host.HoldCreates()
	m := New(Options{})
	manager := host.Manager(func(o *session.Options) { o.Observer = m })
	created := make(chan error, 1)
	go func() {
		_, err := manager.Create(t.Context(), session.CreateRequest{Language: "python"})
		created <- err
	}()
	m.Watch(Sources{
		Sessions: manager, Server: fixedServer{}, Output: &output.Kept{},
		Shims: func() (shim.Memory, error) { return shim.Memory{}, nil },
	})
	for manager.Stats().Sessions[session.StateCreating] == 0 {
		<-time.After(time.Millisecond)
	}
	serves(t, scrape(t, m), `codebeaker_sessions{state="Creating"} 1`)
	release()
	if err := <-created; err != nil {
		t.Fatal(err)
	}
	serves(t, scrape(t, m), `codebeaker_sessions{state="Active"} 1`, `codebeaker_sessions_created_total{language="python",start="cold"} 1`)
	if err := manager.Shutdown(context.WithoutCancel(t.Context())); err != nil {
		t.Fatal(err)
	}
	serves(t, scrape(t, m), `codebeaker_sessions{state="Active"} 0`, `codebeaker_sessions_closed_total{language="python",reason="shutdown"} 1`)
}

func BenchmarkExecutionEnded(b *testing.B) {
	m := New(Options{Languages: []string{"python"}})
	b.ReportAllocs()
	for b.Loop() {
		m.ExecutionEnded("python", session.EndExited, time.Millisecond)
	}
}

func BenchmarkRequest(b *testing.B) {
	ended := New(Options{}).Requests("session.execute")
	b.ReportAllocs()
	for b.Loop() {
		ended(0, time.Millisecond)
	}
}

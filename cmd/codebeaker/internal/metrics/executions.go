package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"codebeaker/session"
)

// executions measures executions.
type executions struct {
	ended    *prometheus.CounterVec
	duration *prometheus.HistogramVec
}

func newExecutions() executions {
	return executions{
		ended: counterOf("executions_total",
			"Executions that ended, by how; failed is one whose program never ran or could not be followed.", "language", "reason"),
		duration: histogramOf("execution_duration_seconds", "How long the programs of executions ran.",
			append(buckets(), 60, 300), "language"),
	}
}

func (e *executions) collectors() []prometheus.Collector {
	return []prometheus.Collector{e.ended, e.duration}
}

// ExecutionEnded implements session.Observer.
func (m *Metrics) ExecutionEnded(language string, reason session.EndReason, took time.Duration) {
	l := m.language(language)
	l.ended.WithLabelValues(string(reason)).Inc()
	if reason != session.EndFailed { // which has no duration
		l.executionTook.Observe(took.Seconds())
	}
}

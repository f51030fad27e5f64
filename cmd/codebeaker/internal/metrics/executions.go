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
	programs *prometheus.CounterVec
}

func newExecutions() executions {
	return executions{
		ended: counterOf("executions_total",
			"Executions that ended, by how; failed is one whose program never ran or could not be followed.", "language", "reason"),
		duration: histogramOf("execution_duration_seconds", "How long the programs of executions ran.",
			append(buckets(), 60, 300), "language"),
		programs: counterOf("programs_total",
			"Programs that ended and that their session's zygote could have forked, by start: forked is one that it did, started one whose interpreter was started.",
			"language", "start"),
	}
}

func (e *executions) collectors() []prometheus.Collector {
	return []prometheus.Collector{e.ended, e.duration, e.programs}
}

// ExecutionEnded implements session.Observer.
func (m *Metrics) ExecutionEnded(language string, reason session.EndReason, took time.Duration) {
	l := m.language(language)
	l.ended.WithLabelValues(string(reason)).Inc()
	if reason != session.EndFailed { // which has no duration
		l.executionTook.Observe(took.Seconds())
	}
}

// ProgramRan implements session.Observer.
func (m *Metrics) ProgramRan(language string, forked bool) {
	l := m.language(language)
	if forked {
		l.programForked.Inc()
	} else {
		l.programStarted.Inc()
	}
}

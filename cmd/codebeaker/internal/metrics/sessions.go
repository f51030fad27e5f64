package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"codebeaker/session"
)

// The values of the label start: how a session was.
const (
	startPooled = "pooled"
	startCold   = "cold"
)

// sessions measures the lives of sessions.
type sessions struct {
	created        *prometheus.CounterVec
	createDuration *prometheus.HistogramVec
	stageDuration  *prometheus.HistogramVec
	// pooledStages and coldStages are the stageDuration of each start.
	pooledStages, coldStages prometheus.ObserverVec

	closed         *prometheus.CounterVec
	closeDuration  *prometheus.HistogramVec
	removeDuration *prometheus.HistogramVec
}

func newSessions() sessions {
	s := sessions{
		created: counterOf("sessions_created_total",
			"Sessions that took commands, by start: pooled is one that was claimed from the warm pool, cold one that was started for its client.",
			"language", "start"),
		createDuration: histogramOf("session_create_duration_seconds",
			"How long it took until a session took commands.", buckets(), "language", "start"),
		stageDuration: histogramOf("session_create_stage_duration_seconds",
			"How long each stage of creating a session took.", buckets(), "start", "stage"),
		closed: counterOf("sessions_closed_total",
			"Sessions of which nothing is left, by the reason for which they closed.", "language", "reason"),
		closeDuration: histogramOf("session_close_duration_seconds",
			"How long it took from the decision to close a session until all that ran in it had ended.", buckets(), "language"),
		removeDuration: histogramOf("session_removal_duration_seconds",
			"How long it took from the decision to close a session until nothing of it was left.", buckets(), "language"),
	}
	s.pooledStages = s.stageDuration.MustCurryWith(prometheus.Labels{"start": startPooled})
	s.coldStages = s.stageDuration.MustCurryWith(prometheus.Labels{"start": startCold})
	return s
}

func (s *sessions) collectors() []prometheus.Collector {
	return []prometheus.Collector{s.created, s.createDuration, s.stageDuration, s.closed, s.closeDuration, s.removeDuration}
}

// SessionCreated implements session.Observer.
func (m *Metrics) SessionCreated(language string, pooled bool, t session.Timings) {
	start, stages := &m.language(language).cold, m.sessions.coldStages
	if pooled {
		start, stages = &m.language(language).pooled, m.sessions.pooledStages
	}
	start.created.Inc()
	start.took.Observe(t.Total.Seconds())
	for _, s := range t.Stages {
		stages.WithLabelValues(string(s.Stage)).Observe(s.Took.Seconds())
	}
}

// SessionClosed implements session.Observer.
func (m *Metrics) SessionClosed(language string, why session.Reason, answered, gone time.Duration) {
	l := m.language(language)
	l.closed.WithLabelValues(string(why)).Inc()
	l.closeTook.Observe(answered.Seconds())
	l.removeTook.Observe(gone.Seconds())
}

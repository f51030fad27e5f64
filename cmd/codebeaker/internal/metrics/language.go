package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"codebeaker/session"
)

// language has what is measured of one language. Its labels are looked up when
// it is made, as far as they are known then, and not when something happens.
type language struct {
	pooled, cold          start
	closed, ended         *prometheus.CounterVec // by reason
	closeTook, removeTook prometheus.Observer
	executionTook         prometheus.Observer

	programForked, programStarted prometheus.Counter
}

// start has what is measured of the creates that begin in the pool, or do not.
type start struct {
	created prometheus.Counter
	took    prometheus.Observer
}

// language returns what is measured of a language.
func (m *Metrics) language(name string) *language {
	known, ok := m.languages.Load(name)
	if !ok {
		known, _ = m.languages.LoadOrStore(name, m.newLanguage(name))
	}
	return known.(*language) //nolint:errcheck // there is nothing else in it
}

func (m *Metrics) newLanguage(name string) *language {
	label := prometheus.Labels{"language": name}
	start := func(how string) start {
		return start{m.sessions.created.WithLabelValues(name, how), m.sessions.createDuration.WithLabelValues(name, how)}
	}
	l := &language{
		pooled:        start(startPooled),
		cold:          start(startCold),
		closed:        m.sessions.closed.MustCurryWith(label),
		ended:         m.executions.ended.MustCurryWith(label),
		closeTook:     m.sessions.closeDuration.WithLabelValues(name),
		removeTook:    m.sessions.removeDuration.WithLabelValues(name),
		executionTook: m.executions.duration.WithLabelValues(name),

		programForked:  m.executions.programs.WithLabelValues(name, "forked"),
		programStarted: m.executions.programs.WithLabelValues(name, "started"),
	}
	// From zero on, or the first would not be seen as an increase.
	for _, why := range []session.Reason{
		session.ReasonClosed, session.ReasonIdle, session.ReasonLifetime, session.ReasonLost, session.ReasonShutdown,
	} {
		l.closed.WithLabelValues(string(why))
	}
	for _, how := range []session.EndReason{
		session.EndExited, session.EndSignaled, session.EndTimeout, session.EndOOM, session.EndCancelled,
		session.EndOutputLimit, session.EndSessionClosed, session.EndLost, session.EndFailed,
	} {
		l.ended.WithLabelValues(string(how))
	}
	return l
}

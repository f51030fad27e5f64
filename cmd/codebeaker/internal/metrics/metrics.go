// Package metrics measures a server and serves what it measured to Prometheus.
//
// What happens is counted where it happens: a Metrics is the observer of the
// sessions and of the requests. What there is at a moment (sessions, queues,
// memory) is looked at when somebody scrapes, which waits for no session, no
// disk and no client: see Sources.
//
// Names follow Prometheus' conventions: seconds, bytes, _total. No label has a
// value that a client can choose: languages are those of the catalogue, methods
// those that there are, and no id of anything is one. docs/metrics.md lists all
// of them and is kept by a test.
package metrics

import (
	"fmt"
	"log/slog"
	"net/http"
	goruntime "runtime"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// namespace begins the name of every metric of our own.
const namespace = "codebeaker"

const (
	// scrapesAtOnce bounds what scrapes cost.
	scrapesAtOnce = 4
	scrapeTimeout = 10 * time.Second
)

// Options say what a Metrics is told from the start.
type Options struct {
	// Version is the server's.
	Version string
	// Languages are the names of the catalogue. They have series from the start,
	// so that the first event of each is seen as an increase.
	Languages []string
	Log       *slog.Logger
}

// Metrics is what was measured. It is a session.Observer and an rpc.Observer.
type Metrics struct {
	registry *prometheus.Registry
	log      *slog.Logger

	sessions   sessions
	executions executions
	requests   requests

	// languages has a *language for each that was seen, found without labels.
	languages sync.Map
}

// New returns a Metrics of a server on which nothing has happened.
func New(opts Options) *Metrics {
	m := &Metrics{
		registry:   prometheus.NewRegistry(),
		log:        opts.Log,
		sessions:   newSessions(),
		executions: newExecutions(),
		requests:   newRequests(),
	}
	if m.log == nil {
		m.log = slog.New(slog.DiscardHandler)
	}
	build := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Namespace: namespace, Name: "build_info", Help: "1, labelled with the versions of the server and of its Go.",
	}, []string{"version", "goversion"})
	build.WithLabelValues(opts.Version, goruntime.Version()).Set(1)
	m.registry.MustRegister(build,
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	m.registry.MustRegister(m.sessions.collectors()...)
	m.registry.MustRegister(m.executions.collectors()...)
	m.registry.MustRegister(m.requests.collectors()...)
	for _, name := range opts.Languages {
		m.language(name)
	}
	return m
}

// Watch has every scrape look at what there is. It is called once, before the
// Handler is used.
func (m *Metrics) Watch(s Sources) { m.registry.MustRegister(newGauges(s)) }

// Handler serves the metrics. What cannot be measured is logged and left out.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		ErrorLog:            errorLog{m.log},
		ErrorHandling:       promhttp.ContinueOnError,
		MaxRequestsInFlight: scrapesAtOnce,
		Timeout:             scrapeTimeout,
	})
}

type errorLog struct{ log *slog.Logger }

func (l errorLog) Println(v ...any) { l.log.Warn("measure", "error", fmt.Sprint(v...)) }

// buckets are the upper bounds of durations that last from a millisecond to
// half a minute. They have the targets of a create, 5, 20, 40 and 120 ms, so
// that a histogram says how many met them.
func buckets() []float64 {
	return []float64{.001, .0025, .005, .01, .02, .04, .08, .12, .25, .5, 1, 2.5, 5, 10, 30}
}

func counterOf(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}, labels)
}

func histogramOf(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: namespace, Name: name, Help: help, Buckets: buckets}, labels)
}

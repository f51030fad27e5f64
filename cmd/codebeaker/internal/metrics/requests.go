package metrics

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	// codeOK is the label of a request that has a result.
	codeOK = "ok"
	// methodNone is that of one that names no method that there is.
	methodNone = "none"
)

// requests measures requests.
type requests struct {
	answered *prometheus.CounterVec
	duration *prometheus.HistogramVec
}

func newRequests() requests {
	return requests{
		answered: counterOf("requests_total",
			"Requests that were carried out or refused, by method (none where it is none of the server's) and by the code of the error (ok where there is none).",
			"method", "code"),
		duration: histogramOf("request_duration_seconds",
			"How long it took from the receipt of a request until its response was ready, including the wait for requests before it.",
			append(buckets(), 60, 300), "method"),
	}
}

func (r *requests) collectors() []prometheus.Collector {
	return []prometheus.Collector{r.answered, r.duration}
}

// Requests implements rpc.Observer.
func (m *Metrics) Requests(method string) func(code int, took time.Duration) {
	if method == "" {
		method = methodNone
	}
	answered := m.requests.answered.MustCurryWith(prometheus.Labels{"method": method})
	ok := answered.WithLabelValues(codeOK)
	duration := m.requests.duration.WithLabelValues(method)
	return func(code int, took time.Duration) {
		if code == 0 {
			ok.Inc()
		} else {
			answered.WithLabelValues(strconv.Itoa(code)).Inc()
		}
		duration.Observe(took.Seconds())
	}
}

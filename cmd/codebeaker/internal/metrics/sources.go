package metrics

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"codebeaker/rpc"
	"codebeaker/runtime/shim"
	"codebeaker/session"
	"codebeaker/session/output"
)

// Sources are what a scrape looks at. None of them may wait for a session, a
// client or a disk.
type Sources struct {
	Sessions interface{ Stats() session.Stats }
	Server   interface{ Stats() rpc.Stats }
	Output   *output.Kept
	// Shims looks through the processes of the host, at most once a second.
	Shims func() (shim.Memory, error)
}

// shimsFor is how long a look at the shims is good for.
const shimsFor = time.Second

// shims remembers a look at the shims.
type shims struct {
	look func() (shim.Memory, error)

	mu    sync.Mutex
	until time.Time
	last  shim.Memory
	err   error
}

// memory returns what was seen not long ago.
func (s *shims) memory() (shim.Memory, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := time.Now(); !now.Before(s.until) {
		s.last, s.err = s.look()
		s.until = now.Add(shimsFor)
	}
	return s.last, s.err
}

// gauges is the collector of what there is at a moment.
type gauges struct {
	sources Sources
	shims   shims

	sessions, sessionsMax, removing, queued          *prometheus.Desc
	removals, removalFailures                        *prometheus.Desc
	members, target, claims, misses                  *prometheus.Desc
	connections, connected                           *prometheus.Desc
	pending, pendingBytes, replyBytes, notifiedBytes *prometheus.Desc
	waiting                                          *prometheus.Desc
	held, heldWaiting, heldMax                       *prometheus.Desc
	output                                           *prometheus.Desc
	shimCount, shimMemory                            *prometheus.Desc
}

func newGauges(s Sources) *gauges {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(prometheus.BuildFQName(namespace, "", name), help, labels, nil)
	}
	return &gauges{
		sources: s, shims: shims{look: s.Shims},

		sessions:    desc("sessions", "Sessions, by state.", "state"),
		sessionsMax: desc("sessions_max", "How many sessions there may be."),
		removing:    desc("containers_removing", "Containers that are being removed behind an answer, for the first time."),
		queued:      desc("executions_queued", "Executions of execution.run that wait for a session of their own."),

		removals:        desc("removals_waiting", "Containers that could not be removed and are tried again."),
		removalFailures: desc("removal_failures_total", "Tries to remove a container that failed."),

		members: desc("pool_members", "Members of the warm pool, by state: ready, or starting and not to be claimed yet.", "language", "state"),
		target:  desc("pool_members_target", "How many members the warm pool should have.", "language"),
		claims:  desc("pool_claims_total", "Creates that found a member of the warm pool.", "language"),
		misses:  desc("pool_misses_total", "Creates that found no member of the warm pool, and started a container of their own.", "language"),

		connections:   desc("connections", "WebSocket connections, with those whose client left while its requests are still carried out."),
		connected:     desc("connections_total", "WebSocket connections that were opened."),
		pending:       desc("requests_pending", "Requests that have no written response."),
		pendingBytes:  desc("requests_pending_bytes", "About what the messages take whose requests are not all carried out."),
		replyBytes:    desc("replies_queued_bytes", "Replies that wait for clients to read."),
		notifiedBytes: desc("notifications_queued_bytes", "Notifications that wait for clients to read."),
		waiting:       desc("notifications_waiting", "Notifications that wait for room in the queue of their connection."),

		held:        desc("messages_held_bytes", "About what long messages and all replies take, from before they are read or made, by kind: requests or replies.", "kind"),
		heldWaiting: desc("messages_waiting", "Long messages that wait for memory to be read, and calls that wait for memory for their replies, by kind.", "kind"),
		heldMax:     desc("messages_held_bytes_max", "What long messages and replies may take, half of it each."),

		output: desc("output_kept_bytes", "What is kept of the output of executions, by place: memory or file.", "place"),

		shimCount: desc("shims", "Shims of this server's containerd."),
		shimMemory: desc("shims_resident_memory_bytes",
			"Memory of all shims, by kind: anonymous is each one's own, file is of files, such as their program, and counts in each shim that shares it.", "kind"),
	}
}

// Describe implements prometheus.Collector.
func (g *gauges) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		g.sessions, g.sessionsMax, g.removing, g.queued, g.removals, g.removalFailures, g.members, g.target, g.claims, g.misses,
		g.connections, g.connected, g.pending, g.pendingBytes, g.replyBytes, g.notifiedBytes, g.waiting,
		g.held, g.heldWaiting, g.heldMax,
		g.output, g.shimCount, g.shimMemory,
	} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (g *gauges) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	counter := func(d *prometheus.Desc, value uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(value), labels...)
	}

	stats := g.sources.Sessions.Stats()
	for _, state := range []session.State{
		session.StateCreating, session.StateActive, session.StateIdle, session.StateClosing, session.StateClosed,
	} {
		gauge(g.sessions, float64(stats.Sessions[state]), string(state))
	}
	gauge(g.sessionsMax, float64(stats.MaxSessions))
	gauge(g.removing, float64(stats.Removing))
	gauge(g.queued, float64(stats.Queued))
	gauge(g.removals, float64(stats.RemovalsWaiting))
	counter(g.removalFailures, stats.RemovalFailures)
	for _, p := range stats.Pool {
		gauge(g.members, float64(p.Ready), p.Language, "ready")
		gauge(g.members, float64(p.Starting), p.Language, "starting")
		gauge(g.target, float64(p.Target), p.Language)
		counter(g.claims, p.Claims, p.Language)
		counter(g.misses, p.Misses, p.Language)
	}

	server := g.sources.Server.Stats()
	gauge(g.connections, float64(server.Connections))
	counter(g.connected, server.Connected)
	gauge(g.pending, float64(server.Pending))
	gauge(g.pendingBytes, float64(server.PendingBytes))
	gauge(g.replyBytes, float64(server.ReplyBytes))
	gauge(g.notifiedBytes, float64(server.NotifiedBytes))
	gauge(g.waiting, float64(server.WaitingNotifications))

	gauge(g.held, float64(server.HeldRequests), "requests")
	gauge(g.held, float64(server.HeldReplies), "replies")
	gauge(g.heldWaiting, float64(server.WaitingRequests), "requests")
	gauge(g.heldWaiting, float64(server.WaitingReplies), "replies")
	gauge(g.heldMax, float64(server.MaxHeldBytes))

	memory, files := g.sources.Output.Bytes()
	gauge(g.output, float64(memory), "memory")
	gauge(g.output, float64(files), "file")

	m, err := g.shims.memory()
	if err != nil {
		ch <- prometheus.NewInvalidMetric(g.shimMemory, err)
		return
	}
	gauge(g.shimCount, float64(m.Shims))
	gauge(g.shimMemory, float64(m.AnonymousBytes), "anonymous")
	gauge(g.shimMemory, float64(m.FileBytes), "file")
}

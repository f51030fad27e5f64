package rpc

import "time"

// Observer is told what clients ask for, for metrics.
type Observer interface {
	// Requests is called once for each method that there is, and with "" for what
	// names none of them. What it returns is called for each of those requests
	// when its response is ready, before the client can have it, and at the same
	// time from many goroutines; it returns at once. The code is that of the
	// error, or 0. It took the time since the message was received, waiting for
	// other requests included.
	Requests(method string) func(code int, took time.Duration)
}

// nobody is the Observer where there is none.
type nobody struct{}

func (nobody) Requests(string) func(int, time.Duration) { return func(int, time.Duration) {} }

// Stats count what a Server has at one moment, and what it had since it was
// made.
type Stats struct {
	// Connections includes those whose client left while calls still run.
	Connections int
	// Connected counts the connections that there were and are.
	Connected uint64
	// Pending is how many requests have no written reply, PendingBytes
	// about what the messages take that are not carried out.
	Pending      int
	PendingBytes int64
	// ReplyBytes and NotifiedBytes wait for clients to read.
	ReplyBytes, NotifiedBytes int64
	// HeldRequests and HeldReplies are what is held of the budgets, WaitingRequests and
	// WaitingReplies how many wait for a part of them.
	HeldRequests, HeldReplies       int64
	WaitingRequests, WaitingReplies int
	MaxHeldBytes                    int64
	// WaitingNotifications are those that wait for room among the NotifiedBytes.
	WaitingNotifications int
}

// Stats counts what all connections have. It waits for none of them.
func (s *Server) Stats() Stats {
	s.mu.Lock()
	stats := Stats{Connections: s.serving, Connected: s.connected}
	s.mu.Unlock()
	stats.MaxHeldBytes = s.opts.MaxHeldBytes
	stats.HeldRequests, stats.WaitingRequests = s.requests.stats()
	stats.HeldReplies, stats.WaitingReplies = s.replies.stats()
	s.eachConn(func(c *conn) {
		c.mu.Lock()
		defer c.mu.Unlock()
		stats.Pending += c.state.requests
		stats.PendingBytes += c.state.bytes
		stats.ReplyBytes += c.state.queued
		stats.NotifiedBytes += c.state.notified
		stats.WaitingNotifications += len(c.state.notes)
	})
	return stats
}

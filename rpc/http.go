package rpc

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"github.com/gorilla/websocket"
)

// Path is where the WebSocket endpoint is.
const Path = "/ws/jsonrpc"

func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc(Path, s.serveRPC)
	mux.HandleFunc("/health", readOnly(s.serveReady))
	mux.HandleFunc("/health/ready", readOnly(s.serveReady))
	mux.HandleFunc("/health/live", readOnly(s.serveLive))
	if s.opts.Metrics != nil {
		mux.HandleFunc("/metrics", readOnly(s.opts.Metrics.ServeHTTP))
	}
	return mux
}

// serveRPC upgrades to a WebSocket and serves it.
func (s *Server) serveRPC(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Method != http.MethodGet:
		w.Header().Set("Allow", http.MethodGet)
		http.Error(w, "connect with a WebSocket client, which sends GET", http.StatusMethodNotAllowed)
		return
	case !websocket.IsWebSocketUpgrade(r):
		w.Header().Set("Upgrade", "websocket")
		w.Header().Set("Connection", "Upgrade")
		http.Error(w, "this is a WebSocket endpoint for JSON-RPC 2.0: connect to ws://"+r.Host+Path,
			http.StatusUpgradeRequired)
		return
	case !s.originAllowed(r):
		http.Error(w, "pages of this origin may not connect: add it to the allowed origins of the server",
			http.StatusForbidden)
		return
	}
	if err := s.reserve(); err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	made := false
	defer func() {
		if !made {
			s.unreserve()
		}
	}()

	// Not the buffers of the HTTP server: they would read past the link.
	upgrader := websocket.Upgrader{
		ReadBufferSize:  16 << 10, // clients cut messages into many small frames
		WriteBufferSize: 4 << 10,
		CheckOrigin:     func(*http.Request) bool { return true }, // done above
		Error: func(w http.ResponseWriter, _ *http.Request, status int, reason error) {
			w.Header().Set("Sec-WebSocket-Version", "13")
			http.Error(w, reason.Error(), status)
		},
	}
	l := &link{idle: s.opts.PingInterval * 5 / 2, write: s.opts.WriteTimeout}
	ws, err := upgrader.Upgrade(&hijacker{ResponseWriter: w, link: l}, r, nil)
	if err != nil {
		s.opts.Log.Debug("upgrade failed", "remote", r.RemoteAddr, "error", err)
		return // Upgrade has answered
	}
	// Calls outlive the connection, and so the context of its request.
	c := newConn(context.WithoutCancel(r.Context()), s, ws, l)
	made = true
	defer s.remove(c)
	if !s.add(c) {
		c.close(websocket.CloseGoingAway, "server is shutting down")
	}
	c.serve()
}

// originAllowed says whether the page that opens the connection may do so. A
// browser lets any page connect to any host, this one included, and tells the
// server only the page's origin. An origin that equals the Host header proves
// nothing: a page can have its own name resolve to 127.0.0.1. So every origin
// has to be listed. No browser leaves the header out.
func (s *Server) originAllowed(r *http.Request) bool {
	for _, origin := range r.Header.Values("Origin") {
		listed := slices.ContainsFunc(s.opts.AllowedOrigins, func(allowed string) bool {
			return allowed == "*" || strings.EqualFold(strings.TrimSuffix(allowed, "/"), origin)
		})
		if !listed {
			return false
		}
	}
	return true
}

type health struct {
	Status        string `json:"status"`
	Reason        string `json:"reason,omitempty"`
	Version       string `json:"version,omitempty"`
	UptimeSeconds int64  `json:"uptimeSeconds"`
	Connections   int    `json:"connections"`
}

// serveLive says that the process serves, which is all a supervisor can repair.
func (s *Server) serveLive(w http.ResponseWriter, _ *http.Request) { s.writeHealth(w, "") }

// serveReady says whether requests would be carried out.
func (s *Server) serveReady(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	stopping := s.stopping
	s.mu.Unlock()
	if stopping {
		s.writeHealth(w, "the server is shutting down")
		return
	}
	if s.opts.Ready != nil {
		if err := s.opts.Ready(); err != nil {
			s.writeHealth(w, err.Error())
			return
		}
	}
	s.writeHealth(w, "")
}

func (s *Server) writeHealth(w http.ResponseWriter, reason string) {
	s.mu.Lock()
	connections := s.serving
	s.mu.Unlock()
	h := health{
		Status:        "Healthy",
		Reason:        reason,
		Version:       s.opts.Version,
		UptimeSeconds: int64(s.now().Sub(s.started).Seconds()),
		Connections:   connections,
	}
	status := http.StatusOK
	if reason != "" {
		h.Status, status = "Unhealthy", http.StatusServiceUnavailable
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(h)
}

// readOnly lets GET and HEAD pass.
func readOnly(f http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "only GET and HEAD", http.StatusMethodNotAllowed)
			return
		}
		f(w, r)
	}
}

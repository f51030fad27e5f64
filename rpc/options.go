package rpc

import (
	"context"
	"log/slog"
	"time"

	"codebeaker/session"
)

// Sessions carries out what clients ask. Its methods are called concurrently.
// They must return soon after their context ends, which happens only when a
// Shutdown runs out of time, never because a client left.
type Sessions interface {
	Create(ctx context.Context, req session.CreateRequest) (session.Info, error)
	Execute(ctx context.Context, id string, cmd session.Command) (*session.Outcome, error)
	List(ctx context.Context) ([]session.Info, error)
	Close(ctx context.Context, id string) error
	Languages(ctx context.Context) ([]session.Language, error)
}

// Options configure a Server. Zero values stand for the defaults; only Sessions
// is required.
type Options struct {
	// Sessions carries out the requests.
	Sessions Sessions
	// Log takes what an operator should see; nil discards it.
	Log *slog.Logger
	// Name and Version are told to clients. The default name is "codebeaker".
	Name, Version string
	// AllowedOrigins are the values of the Origin header, such as
	// "https://app.example.com", from which browsers may connect; "*" stands for
	// all. A client that sends no Origin is no browser and is always let in.
	AllowedOrigins []string
	// Ready returns why the server cannot work, or nil. It is called for each
	// health request. The text is shown to whoever asks.
	Ready func() error

	// MaxMessageBytes bounds a message from a client. Default 16 MiB.
	MaxMessageBytes int64
	// MaxBatch bounds the entries of a batch. Default 1000.
	MaxBatch int
	// MaxConnections bounds connections, including those whose client left while
	// calls still run. Default 1024.
	MaxConnections int
	// MaxPendingRequests is how many requests of a connection may be without a
	// written reply before the reader stops. One batch may exceed it. Default 256.
	MaxPendingRequests int
	// MaxPendingBytes is how many bytes of requests that are not carried out a
	// connection may hold before the reader stops. One message may exceed it.
	// Default twice MaxMessageBytes.
	MaxPendingBytes int64
	// MaxQueuedBytes is how many bytes of replies may wait for the client to read
	// before no further call is started. Calls that run then may exceed it. It
	// also bounds the reply to a batch: entries that have not started when it is
	// reached are refused. Default twice MaxMessageBytes.
	MaxQueuedBytes int64

	// WriteTimeout is how long the client may take to read the next 64 KiB of
	// what is being written. Default 10 s.
	WriteTimeout time.Duration
	// PingInterval is how often a ping is sent. A connection on which nothing
	// moves for two and a half intervals is dropped. Default 30 s.
	PingInterval time.Duration
	// CloseTimeout is how long the client may take to answer a close frame.
	// Default 5 s.
	CloseTimeout time.Duration
}

func (o Options) withDefaults() Options {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Name == "" {
		o.Name = "codebeaker"
	}
	orDefault(&o.MaxMessageBytes, 16<<20)
	orDefault(&o.MaxBatch, 1000)
	orDefault(&o.MaxConnections, 1024)
	orDefault(&o.MaxPendingRequests, 256)
	orDefault(&o.MaxPendingBytes, 2*o.MaxMessageBytes)
	orDefault(&o.MaxQueuedBytes, 2*o.MaxMessageBytes)
	orDefault(&o.WriteTimeout, 10*time.Second)
	orDefault(&o.PingInterval, 30*time.Second)
	orDefault(&o.CloseTimeout, 5*time.Second)
	return o
}

func orDefault[T int | int64 | time.Duration](field *T, value T) {
	if *field <= 0 {
		*field = value
	}
}

package rpc

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"codebeaker/session"
)

// The interfaces below are what a Server needs; *session.Manager is all of
// them. Their methods are called concurrently. They must return soon after their
// context ends: when the request is cancelled, when a Shutdown runs out of time, or,
// with session.ErrLeft as its cause, when nobody waits any more for what goes on
// all the same.

// Sessions makes and ends sessions.
type Sessions interface {
	Create(ctx context.Context, req session.CreateRequest) (session.Info, error)
	Get(ctx context.Context, id string) (session.Info, error)
	Touch(ctx context.Context, id string) (session.Info, error)
	List(ctx context.Context) ([]session.Info, error)
	Close(ctx context.Context, id string) error
}

// Commands carries out what clients have done in a session, or in one that is
// made for it. The caller releases an execution that it gets.
type Commands interface {
	// Execute returns when the command has ended. It cancels a program whose context
	// ends, unless the cause is session.ErrLeft.
	Execute(ctx context.Context, sessionID string, cmd session.Command) (*session.Outcome, error)
	// Start returns at once. The program does not end with the context.
	Start(ctx context.Context, sessionID string, p session.Program, background bool) (*session.Execution, error)
	Run(ctx context.Context, req session.RunRequest) (*session.Execution, error)
}

// Executions knows the programs that run, and those that ran. The caller releases
// an execution that it gets.
type Executions interface {
	Execution(ctx context.Context, id string) (*session.Execution, error)
	// Attach is Execution for a client that wants to follow it.
	Attach(ctx context.Context, id string) (*session.Execution, error)
	// Executions describes those of a session, or all where sessionID is empty.
	Executions(ctx context.Context, sessionID string) ([]session.ExecutionInfo, error)
	// Closed returns when a session has ended its executions and closes.
	Closed(ctx context.Context, sessionID string) (session.Reason, error)
}

// Catalogue knows the languages.
type Catalogue interface {
	Languages(ctx context.Context) ([]session.Language, error)
}

// Options configure a Server. Zero values stand for the defaults; only Sessions,
// Commands, Executions and Catalogue are required.
type Options struct {
	// These carry out the requests.
	Sessions   Sessions
	Commands   Commands
	Executions Executions
	Catalogue  Catalogue
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
	// Observer is told of requests; nobody is where it is nil.
	Observer Observer
	// Metrics serves /metrics; nil for none.
	Metrics http.Handler

	// MaxMessageBytes bounds a message from a client. Default 16 MiB.
	MaxMessageBytes int64
	// MaxBatch bounds the entries of a batch. Default 1000.
	MaxBatch int
	// MaxConnections bounds connections. As many again, whose client left, may have
	// calls that still run; of more, those that left first are given up. Default 1024.
	MaxConnections int
	// MaxPendingRequests is how many requests of a connection may be without a
	// written reply before the reader stops, those not counted that wait for an
	// earlier one. One batch may exceed it. Default 256.
	MaxPendingRequests int
	// MaxPendingBytes is how many bytes of requests that are not carried out a
	// connection may hold before the reader stops, with 1 KiB for each request
	// besides its text. One message may exceed it.
	// Default twice MaxMessageBytes.
	MaxPendingBytes int64
	// MaxQueuedBytes is how many bytes of replies may wait for the client to read
	// before no further call is started. Calls that run then may exceed it. It
	// also bounds the reply to a batch: entries that have not started when it is
	// reached are refused. Default twice MaxMessageBytes.
	MaxQueuedBytes int64
	// MaxHeldBytes is about how many bytes the messages that are read or carried out and
	// the replies that clients have not read take together, of all connections: half of
	// it each. What would exceed it waits for its turn. Default 256 MiB.
	MaxHeldBytes int64
	// MaxNotifiedBytes is how many bytes of notifications may wait for the client
	// to read before no further one is queued; one may exceed it. Programs do not
	// wait for that: what is not kept until the client has read is lost to it, and
	// it is told so. Default 256 KiB.
	MaxNotifiedBytes int64
	// MaxFollowed is how many executions a connection may follow at one time.
	// Default 256.
	MaxFollowed int

	// WriteTimeout is how long the client may take to read the next 64 KiB of
	// what is being written. Default 10 s.
	WriteTimeout time.Duration
	// MessageTimeout is how long a long message may take to come while others wait for
	// the memory that it holds. Default 1 min.
	MessageTimeout time.Duration
	// PingInterval is how often a ping is sent. A connection on which nothing
	// moves for two and a half intervals is dropped. Default 30 s.
	PingInterval time.Duration
	// CloseTimeout is how long the client may take to answer a close frame, and how
	// long input of a client that has left waits for a program to read it.
	// Default 5 s.
	CloseTimeout time.Duration
}

func (o Options) withDefaults() Options {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Observer == nil {
		o.Observer = nobody{}
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
	orDefault(&o.MaxHeldBytes, 256<<20)
	orDefault(&o.MaxNotifiedBytes, 256<<10)
	orDefault(&o.MaxFollowed, 256)
	orDefault(&o.WriteTimeout, 10*time.Second)
	orDefault(&o.MessageTimeout, time.Minute)
	orDefault(&o.PingInterval, 30*time.Second)
	orDefault(&o.CloseTimeout, 5*time.Second)
	return o
}

func orDefault[T int | int64 | time.Duration](field *T, value T) {
	if *field <= 0 {
		*field = value
	}
}

package session

import "time"

// State is where a session is in its life. The texts are those of the wire.
type State string

const (
	// StateCreating is a session whose container is being made.
	StateCreating State = "Creating"
	// StateActive is a session that was not used yet or has a command running.
	StateActive State = "Active"
	// StateIdle is a session that was used and has no command running.
	StateIdle State = "Idle"
	// StateClosing is a session that is being removed and takes no commands.
	StateClosing State = "Closing"
	// StateClosed is a session of which nothing is left.
	StateClosed State = "Closed"
)

// Limits bound what all programs of a session may use together. The kernel
// enforces each of them. Zero asks for the default.
type Limits struct {
	// MemoryBytes bounds memory, with no swap beside it.
	MemoryBytes int64
	// CPUs bounds processor time in cores; 1.5 is one and a half.
	CPUs float64
	// Pids bounds processes and threads.
	Pids int64
}

// CreateRequest asks for a session.
type CreateRequest struct {
	// Language is the name or an alias of a language in the catalogue.
	Language string
	// IdleTimeout is how long the session may go unused; zero for the default.
	IdleTimeout time.Duration
	// MaxLifetime is how long the session may live; zero for the default.
	MaxLifetime time.Duration
	// Limits bound the session.
	Limits Limits
	// Env is added to the environment of every program.
	Env map[string]string
}

// Info describes a session at one moment.
type Info struct {
	ID string
	// ContainerID is the id of the containerd container.
	ContainerID  string
	Language     string
	CreatedAt    time.Time
	LastActivity time.Time
	State        State
	// ExecutionCount is how many commands it was given, those for files too.
	ExecutionCount int
	IdleTimeout    time.Duration
	MaxLifetime    time.Duration
	// Limits are those in force, as read back from the kernel.
	Limits Limits
	// Timings say what creating it took.
	Timings Timings
}

// EndReason says how an execution ended, as it was seen. The texts are those
// of the wire.
type EndReason string

const (
	// EndExited is a program that ended by itself, with an exit code.
	EndExited EndReason = "exited"
	// EndSignaled is a program that a signal ended.
	EndSignaled EndReason = "signaled"
	// EndTimeout is a program that was killed at its deadline.
	EndTimeout EndReason = "timeout"
	// EndOOM is a program that the kernel killed for want of memory.
	EndOOM EndReason = "oom"
	// EndCancelled is a program that was killed on request.
	EndCancelled EndReason = "cancelled"
	// EndOutputLimit is a program that was killed because it printed more than
	// the manager's MaxPrintedBytes.
	EndOutputLimit EndReason = "output_limit"
	// EndSessionClosed is a program that was killed because its session closed.
	EndSessionClosed EndReason = "session_closed"
	// EndLost is a program whose end nobody saw.
	EndLost EndReason = "lost"
)

// ExecutionResult is what a finished execution left.
type ExecutionResult struct {
	ID string
	// ExitCode is the program's, or 128 plus the number of the signal that
	// ended it, or -1 where nobody saw its end.
	ExitCode int
	// Stdout and Stderr are the end of each stream, up to the manager's
	// MaxOutputBytes, and the offsets say where in the stream they begin.
	Stdout, Stderr             []byte
	StdoutOffset, StderrOffset int64
	// StdoutTruncated and StderrTruncated say that something came before that.
	StdoutTruncated, StderrTruncated bool
	Duration                         time.Duration
	EndReason                        EndReason
	// Signal is the name of the signal that ended the program, such as
	// "SIGKILL"; empty where none did.
	Signal string
	Usage  Usage
}

// Usage is what an execution used, from the accounts that the kernel keeps.
type Usage struct {
	CPU time.Duration
	// PeakMemoryBytes is the most memory it had at one time, with the cache of the
	// files that it used, which the kernel takes back where memory is short.
	PeakMemoryBytes uint64
	// MaxRSSBytes is the most memory that one of its processes had resident at one
	// time, which that cache is not part of; 0 where the runtime does not tell. Of
	// all processes together the kernel keeps no such account.
	MaxRSSBytes uint64
	// OOMKills is how many of its processes the kernel killed for want of memory,
	// whatever the program made of that.
	OOMKills uint64
}

// Language is a language of the catalogue, as a client sees it.
type Language struct {
	Name    string
	Aliases []string
	// Version is that of the language's toolchain in the image; empty where
	// there is no image.
	Version string
	// Image is the name of the image.
	Image string
	// Ready says that sessions can be started.
	Ready bool
}

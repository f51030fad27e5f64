package session

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"codebeaker/runtime"
	"codebeaker/session/output"
)

// Stream is one of the streams that a program writes.
type Stream int

const (
	// Stdout is standard output, and all that a program with a terminal prints.
	Stdout Stream = iota
	// Stderr is standard error.
	Stderr
)

// String returns the stream's name on the wire.
func (s Stream) String() string {
	if s == Stderr {
		return "stderr"
	}
	return "stdout"
}

// ExecutionStatus is where an execution is in its life. The texts are those of
// the wire.
type ExecutionStatus string

const (
	// StatusQueued is an execution whose session is still to be made.
	StatusQueued ExecutionStatus = "queued"
	// StatusRunning is one whose program runs.
	StatusRunning ExecutionStatus = "running"
	// StatusCompleted is one whose program ended, with whatever exit code.
	StatusCompleted ExecutionStatus = "completed"
	// StatusFailed is one whose program never ran, or could not be followed.
	StatusFailed ExecutionStatus = "failed"
)

// Window is the part of a stream that is kept, by byte offsets: Start is that
// of the first byte, End that of the one after the last.
type Window struct{ Start, End int64 }

// ExecutionInfo describes an execution at one moment.
type ExecutionInfo struct {
	ID string
	// SessionID is empty while the execution is queued.
	SessionID string
	Language  string
	// Command names the program, for people.
	Command string
	Status  ExecutionStatus
	// StartedAt and EndedAt are zero until then.
	CreatedAt, StartedAt, EndedAt time.Time
	TTY, Background               bool
	Stdout, Stderr                Window
	// ExitCode and EndReason are those of the result; EndReason is empty where
	// there is none.
	ExitCode  int
	EndReason EndReason
}

// Execution is one program of a session, or the few that a command takes to do
// its work, one after another: its record, which outlives it, its output as far
// as it is kept, and what can be done to it while it runs. Executions belong to
// the Manager; their methods are safe for concurrent use. The Manager forgets
// executions that have ended, but not the output of one that is held: whoever gets
// one from the Manager holds it, and calls Release once.
type Execution struct {
	id, language, command string
	tty, background       bool
	opts                  *Options
	created               time.Time
	logs                  [2]*output.Log // by Stream
	printed               atomic.Int64   // bytes of both streams

	started, done       chan struct{}
	cancelled, overflow chan struct{}
	cancelOnce          sync.Once
	overflowOnce        sync.Once

	// typing is held, as a value in the channel, by whoever writes to stdin.
	typing chan struct{}

	mu        sync.Mutex
	sessionID string
	status    ExecutionStatus
	startedAt time.Time
	endedAt   time.Time
	// process runs, or is nil. Its stdin is where typed text goes; nil when it
	// has ended.
	process Process
	stdin   runtime.Input
	// outcome is without what was printed, which is in logs.
	outcome *Outcome
	err     error
	// holds counts those who may still read the output, even if the execution is
	// forgotten meanwhile.
	holds     int
	forgotten bool
}

func newExecution(opts *Options, spill *output.Spill, language, command string, p *ProgramOptions, background bool) *Execution {
	return &Execution{
		id: newID(), language: language, command: command, tty: p.TTY, background: background, opts: opts,
		created: time.Now(), status: StatusQueued,
		logs:    [2]*output.Log{output.NewLog(opts.MaxOutputBytes, spill, opts.Kept), output.NewLog(opts.MaxOutputBytes, spill, opts.Kept)},
		started: make(chan struct{}), done: make(chan struct{}),
		cancelled: make(chan struct{}), overflow: make(chan struct{}),
		typing: make(chan struct{}, 1),
		holds:  1, // of whoever asked for it
	}
}

// ID returns the id, which cannot be guessed.
func (e *Execution) ID() string { return e.id }

// Output returns what is kept of a stream. It is the execution's to write to.
func (e *Execution) Output(s Stream) *output.Log { return e.logs[s] }

// Started is closed when the program runs, or will never run.
func (e *Execution) Started() <-chan struct{} { return e.started }

// Done is closed when the execution has ended and its output with it.
func (e *Execution) Done() <-chan struct{} { return e.done }

// Ending is Outcome without what was printed, for whoever has that already.
func (e *Execution) Ending() (*Outcome, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.outcome, e.err
}

// Outcome returns what came of an execution that is done: an outcome whose
// Result is an *ExecutionResult with the end of what it printed, or why its
// program never ran. Both are nil before that.
func (e *Execution) Outcome() (*Outcome, error) {
	outcome, err := e.Ending()
	if outcome == nil {
		return nil, err
	}
	whole := *outcome
	result, ok := outcome.Result.(*ExecutionResult)
	if !ok {
		return &whole, nil
	}
	printed := *result
	whole.Result = &printed
	if printed.Stdout, printed.StdoutOffset, err = e.logs[Stdout].Tail(e.opts.MaxOutputBytes); err != nil {
		return nil, err
	}
	if printed.Stderr, printed.StderrOffset, err = e.logs[Stderr].Tail(e.opts.MaxOutputBytes); err != nil {
		return nil, err
	}
	printed.StdoutTruncated, printed.StderrTruncated = printed.StdoutOffset > 0, printed.StderrOffset > 0
	return &whole, nil
}

// Hold holds the execution once more. The caller holds it already.
func (e *Execution) Hold() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.holds++
}

// Release ends a hold. The output may be gone then.
func (e *Execution) Release() {
	e.mu.Lock()
	e.holds--
	free := e.forgotten && e.holds == 0
	e.mu.Unlock()
	if free {
		e.free()
	}
}

// Info describes the execution.
func (e *Execution) Info() ExecutionInfo {
	var windows [2]Window
	for i, l := range e.logs {
		windows[i].Start, windows[i].End, _ = l.Window()
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	info := ExecutionInfo{
		ID: e.id, SessionID: e.sessionID, Language: e.language, Command: e.command, Status: e.status,
		CreatedAt: e.created, StartedAt: e.startedAt, EndedAt: e.endedAt, TTY: e.tty, Background: e.background,
		Stdout: windows[Stdout], Stderr: windows[Stderr],
	}
	if e.outcome != nil {
		if r, ok := e.outcome.Result.(*ExecutionResult); ok {
			info.ExitCode, info.EndReason = r.ExitCode, r.EndReason
		}
	}
	return info
}

// Cancel ends the execution with all that it started. One that is done stays
// as it is.
func (e *Execution) Cancel() { e.cancelOnce.Do(func() { close(e.cancelled) }) }

// count notes that bytes were printed, and ends an execution that prints more
// than it may.
func (e *Execution) count(n int64) {
	if most := e.opts.MaxPrintedBytes; e.printed.Add(n) > most && most > 0 {
		e.overflowOnce.Do(func() { close(e.overflow) })
	}
}

// Await waits for the end of the execution. It cancels the execution if ctx ends
// before, and then waits for that; but if the cause is ErrLeft, the execution runs
// on and ErrLeft is the error.
func (e *Execution) Await(ctx context.Context) error {
	select {
	case <-e.done:
		return nil
	case <-ctx.Done():
	}
	if errors.Is(context.Cause(ctx), ErrLeft) {
		return ErrLeft
	}
	e.Cancel()
	<-e.done
	return nil
}

// Signal sends a signal, such as "SIGTERM", "TERM" or "15", to the program
// alone. An *InvalidError says that there is no such signal, a *StateError that
// no program runs.
func (e *Execution) Signal(ctx context.Context, name string) error {
	signal, err := parseSignal(name)
	if err != nil {
		return err
	}
	return e.onProcess(func(p Process) error { return p.Signal(ctx, signal) })
}

// Resize gives the program's terminal another size. A *StateError says that no
// program runs, or that it has no terminal.
func (e *Execution) Resize(ctx context.Context, rows, columns uint16) error {
	if !e.tty {
		return e.stateError("it has no terminal")
	}
	if rows == 0 || columns == 0 {
		return &InvalidError{Field: "rows", Takes: "a number above 0, as does cols"}
	}
	return e.onProcess(func(p Process) error { return p.Resize(ctx, runtime.Size{Rows: rows, Columns: columns}) })
}

// onProcess calls f with the program that runs.
func (e *Execution) onProcess(f func(Process) error) error {
	e.mu.Lock()
	process := e.process
	e.mu.Unlock()
	if process == nil {
		return e.stateError("no program runs")
	}
	if err := f(process); errdefs.IsNotFound(err) {
		return e.stateError("the program has ended")
	} else if err != nil {
		return err
	}
	return nil
}

func (e *Execution) stateError(why string) error {
	return &StateError{Status: e.Info().Status, Why: why}
}

// run says that a program of the execution runs.
func (e *Execution) run(sessionID string, process Process) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.process, e.stdin = process, process.Streams().Stdin
	if e.status == StatusQueued {
		e.sessionID, e.status, e.startedAt = sessionID, StatusRunning, time.Now()
		close(e.started)
	}
}

// rest says that no program of the execution runs.
func (e *Execution) rest() {
	if !e.tty {
		_ = e.endInput() // of a program that has ended
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	// Runc's shim takes the end of a terminal's input for that of the terminal,
	// and drops what was not read of it (containerd, runc/platform.go,
	// CopyConsole). So that is closed with the process, after the last output.
	e.process, e.stdin = nil, nil
}

// finish ends the execution, with an outcome or with an error.
func (e *Execution) finish(outcome *Outcome, err error) {
	for _, l := range e.logs {
		l.Close()
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.outcome, e.err, e.endedAt = outcome, err, time.Now()
	e.status = StatusCompleted
	if err != nil {
		e.status = StatusFailed
	}
	select {
	case <-e.started:
	default:
		close(e.started)
	}
	close(e.done)
}

// forget frees the output as soon as nobody holds it.
func (e *Execution) forget() {
	e.mu.Lock()
	e.forgotten = true
	free := e.holds == 0
	e.mu.Unlock()
	if free {
		e.free()
	}
}

func (e *Execution) free() {
	for _, l := range e.logs {
		l.Discard()
	}
}

// memory returns how many bytes of memory the output takes.
func (e *Execution) memory() int { return e.logs[Stdout].Memory() + e.logs[Stderr].Memory() }

// parseSignal reads a signal's name, with or without SIG, or its number.
func parseSignal(name string) (syscall.Signal, error) {
	if n, err := strconv.Atoi(name); err == nil {
		if n < 1 || n > 64 {
			return 0, &InvalidError{Field: "signal", Takes: "a number from 1 to 64"}
		}
		return syscall.Signal(n), nil
	}
	upper := strings.ToUpper(name)
	if !strings.HasPrefix(upper, "SIG") {
		upper = "SIG" + upper
	}
	if signal := unix.SignalNum(upper); signal != 0 {
		return signal, nil
	}
	return 0, &InvalidError{Field: "signal", Takes: "the name of a signal, such as SIGTERM, or its number"}
}

// StateError is something that cannot be done to an execution as it is.
type StateError struct {
	Status ExecutionStatus
	// Why says so for a person.
	Why string
}

func (e *StateError) Error() string { return fmt.Sprintf("execution is %s: %s", e.Status, e.Why) }

func (e *StateError) Unwrap() error { return errdefs.ErrFailedPrecondition }

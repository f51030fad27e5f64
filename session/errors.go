package session

import (
	"fmt"
	"time"

	"github.com/containerd/errdefs"
)

// Errors of the manager, to be matched with errors.Is. Each wraps the errdefs
// class that it belongs to.
var (
	// ErrNotFound is a session that does not exist, or no longer.
	ErrNotFound = fmt.Errorf("session %w", errdefs.ErrNotFound)
	// ErrExecution is an execution that does not exist, or is not kept any more.
	ErrExecution = fmt.Errorf("execution %w", errdefs.ErrNotFound)
	// ErrClosed is a session that is closing.
	ErrClosed = fmt.Errorf("session is closing: %w", errdefs.ErrFailedPrecondition)
	// ErrLanguage is a language that is unknown or whose image is not ready.
	ErrLanguage = fmt.Errorf("language not available: %w", errdefs.ErrFailedPrecondition)
	// ErrCancelled is an execution that was cancelled before its session was made.
	ErrCancelled = fmt.Errorf("the execution was cancelled before its program ran: %w", errdefs.ErrAborted)
	// ErrLeft is nobody who waits any more. As the cause of a context it ends the
	// wait, and not what is waited for.
	ErrLeft = fmt.Errorf("nobody waits any more: %w", errdefs.ErrAborted)
	// ErrShutdown is a manager that is shutting down.
	ErrShutdown = fmt.Errorf("server is shutting down: %w", errdefs.ErrUnavailable)
)

// InvalidError is a request with a value that cannot be taken.
type InvalidError struct {
	// Field is the wire name of the field, such as "memoryLimitMB".
	Field string
	// Takes says what the field takes, such as "16 to 65536".
	Takes string
}

func (e *InvalidError) Error() string { return e.Field + " takes " + e.Takes }

func (e *InvalidError) Unwrap() error { return errdefs.ErrInvalidArgument }

// LimitError is a request that a limit of the server refuses.
type LimitError struct {
	// Limit says which limit, and its value.
	Limit string
	// RetryAfter is when the request may succeed; zero where waiting does not
	// help by itself.
	RetryAfter time.Duration
}

func (e *LimitError) Error() string { return "limit reached: " + e.Limit }

func (e *LimitError) Unwrap() error { return errdefs.ErrResourceExhausted }

// PathError is a file command that the session's file system refused.
type PathError struct {
	// Path is the path as the client gave it.
	Path string
	// Reason is "not found", "exists", "is a directory", "not a directory",
	// "not permitted", "not a regular file", "directory not empty", "too
	// large", "no space" or another short text without a path of the host.
	Reason string
}

func (e *PathError) Error() string { return e.Path + ": " + e.Reason }

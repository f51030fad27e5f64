package rpc

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/containerd/errdefs"

	"codebeaker/session"
)

// Codes of JSON-RPC 2.0 and of this server.
const (
	codeParse          = -32700
	codeInvalidRequest = -32600
	codeNoMethod       = -32601
	codeInvalidParams  = -32602
	codeInternal       = -32603

	codeNoSession     = -32001
	codeSessionClosed = -32002
	codeLanguage      = -32003
	codeLimit         = -32004
	codeUnauthorised  = -32005
	codeNoExecution   = -32006
	codePath          = -32007
	codeCancelled     = -32008
	codeState         = -32009
)

// wireError is an error as a client sees it.
type wireError struct {
	Code    int            `json:"code"`
	Message string         `json:"message"`
	Data    map[string]any `json:"data,omitempty"`
}

func (e *wireError) Error() string { return fmt.Sprintf("%s (code %d)", e.Message, e.Code) }

// invalidParams is a value that cannot be taken. Field is its path from the
// params, such as "command.args[2]".
func invalidParams(field, format string, args ...any) *wireError {
	e := &wireError{Code: codeInvalidParams, Message: "invalid params: " + fmt.Sprintf(format, args...)}
	if field != "" {
		e.Data = map[string]any{"field": field}
	}
	return e
}

func cancelled() *wireError {
	return &wireError{Code: codeCancelled, Message: "the request was cancelled"}
}

func shuttingDown() *wireError {
	return &wireError{Code: codeCancelled, Message: "the server is shutting down"}
}

// wireErrorOf translates an error of a call. Only texts that were written for
// clients pass; what else an error says goes to log, under an id that the
// client is told, so that nothing of the host leaks.
func wireErrorOf(log *slog.Logger, err error) *wireError {
	if e := translate(err); e != nil {
		return e
	}
	return internalError(log, err)
}

// codeOf returns the code that a client would be told of an error, 0 where
// there is none.
func codeOf(err error) int {
	if err == nil {
		return 0
	}
	if e := translate(err); e != nil {
		return e.Code
	}
	return codeInternal
}

// failureText says why an execution failed, as far as that is the client's
// business.
func failureText(err error) string {
	if e := translate(err); e != nil {
		return e.Message
	}
	return "internal error"
}

// translate returns what a client is told of an error, or nil where that is
// none of its business.
func translate(err error) *wireError {
	var (
		wire    *wireError
		invalid *session.InvalidError
		limit   *session.LimitError
		path    *session.PathError
		state   *session.StateError
	)
	switch {
	case errors.As(err, &wire):
		return wire
	case errors.As(err, &invalid):
		return invalidParams(invalid.Field, "%v", invalid)
	case errors.As(err, &limit):
		e := &wireError{Code: codeLimit, Message: limit.Error()}
		if limit.RetryAfter > 0 {
			wait := limit.RetryAfter + time.Millisecond - 1
			e.Data = map[string]any{"retryAfterMs": wait.Milliseconds()}
		}
		return e
	case errors.As(err, &path):
		return &wireError{
			Code:    codePath,
			Message: path.Error(),
			Data:    map[string]any{"path": path.Path, "reason": path.Reason},
		}
	case errors.As(err, &state):
		return &wireError{Code: codeState, Message: state.Error(), Data: map[string]any{"status": state.Status}}
	case errors.Is(err, session.ErrExecution):
		return &wireError{Code: codeNoExecution, Message: "execution not found: it was never started, or ended too long ago"}
	case errors.Is(err, session.ErrNotFound):
		return &wireError{Code: codeNoSession, Message: "session not found: it was closed or never created"}
	case errors.Is(err, session.ErrClosed):
		return &wireError{Code: codeSessionClosed, Message: "session is closing or closed"}
	case errors.Is(err, session.ErrLanguage):
		class := ": " + errdefs.ErrFailedPrecondition.Error()
		return &wireError{Code: codeLanguage, Message: strings.TrimSuffix(err.Error(), class)}
	case errors.Is(err, session.ErrCancelled):
		return &wireError{Code: codeCancelled, Message: "the execution was cancelled before its program ran"}
	case errors.Is(err, session.ErrShutdown):
		return shuttingDown()
	case errors.Is(err, context.Canceled), errors.Is(err, session.ErrLeft):
		return cancelled()
	}
	return nil
}

// internalError logs an error that is none of the client's business and
// returns what the client is told instead.
func internalError(log *slog.Logger, err error, attrs ...any) *wireError {
	id := rand.Text()[:12]
	log.Error("request failed", append([]any{"errorId", id, "error", err}, attrs...)...)
	return &wireError{Code: codeInternal, Message: "internal error", Data: map[string]any{"id": id}}
}

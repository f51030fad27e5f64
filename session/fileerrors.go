package session

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"codebeaker/runtime/agent"
)

// Reasons of a PathError that more than one place gives.
const (
	reasonNotFound     = "not found"
	reasonExists       = "exists"
	reasonDenied       = "not permitted"
	reasonDirectory    = "is a directory"
	reasonNotDirectory = "not a directory"
	reasonNotRegular   = "not a regular file"
)

// reasonOf says what an error of a session's file system means to a client.
func reasonOf(errno syscall.Errno) string {
	switch errno {
	case unix.ENOENT:
		return reasonNotFound
	case unix.EACCES, unix.EPERM, unix.EROFS:
		return reasonDenied
	case unix.EEXIST:
		return reasonExists
	case unix.EISDIR:
		return reasonDirectory
	case unix.ENOTDIR:
		return reasonNotDirectory
	case unix.ENOTEMPTY:
		return "directory not empty"
	case unix.ENXIO:
		return reasonNotRegular // opened without a peer
	case unix.ENOSPC, unix.EDQUOT:
		return "no space"
	case unix.EFBIG:
		return "too large"
	case unix.ENAMETOOLONG:
		return "name too long"
	case unix.ELOOP:
		return "too many levels of symbolic links"
	case unix.EBUSY, unix.ETXTBSY, unix.EAGAIN: // the last of a lease on the file
		return "busy"
	case unix.EMFILE, unix.ENFILE, unix.ENOMEM:
		return "the session has too many open files or too little memory"
	default:
		return "failed"
	}
}

// fileCallError is a call that the helper answered with an error.
type fileCallError struct{ reply agent.FileReply }

func (e *fileCallError) Error() string {
	return fmt.Sprintf("file helper answers with error %d", int(e.reply.Errno))
}

// paths are the paths of a command, as the client gave them.
type paths struct{ path, to string }

// fileError turns what went wrong in a file command into a *PathError, where it
// is about the path. The helper's texts are from inside the session; they are
// recognized, and never passed on.
func fileError(asked paths, timeout time.Duration, err error) error {
	timedOut := fmt.Sprintf("timed out after %s", timeout)
	var (
		known  *PathError
		lost   *lostError
		answer *fileCallError
	)
	switch {
	case err == nil, errors.As(err, &known), errors.Is(err, ErrClosed):
		return err
	case errors.Is(err, context.DeadlineExceeded) && errors.As(err, &lost) && !lost.again:
		return &PathError{Path: asked.path, Reason: timedOut + "; the command may have been carried out in part"}
	case errors.Is(err, context.DeadlineExceeded):
		return &PathError{Path: asked.path, Reason: timedOut}
	case errors.Is(err, context.Canceled):
		return fmt.Errorf("file command in session: %w", err)
	case errors.As(err, &lost) && lost.again:
		return &PathError{Path: asked.path, Reason: "interrupted: the session's file helper was killed; send the command again"}
	case errors.As(err, &lost):
		return &PathError{Path: asked.path, Reason: "interrupted: the session's file helper was killed; " +
			"the command may have been carried out, so look before you send it again"}
	case errors.As(err, &answer) && answer.reply.Errno == unix.ETIMEDOUT:
		return &PathError{Path: asked.path, Reason: timedOut}
	case errors.As(err, &answer):
		return answer.pathError(asked)
	}
	return fmt.Errorf("file command in session: %w", err)
}

func (e *fileCallError) pathError(asked paths) *PathError {
	reason := reasonOf(e.reply.Errno)
	switch {
	case e.reply.Copied:
		reason = "copied to the destination, but could not be removed: " + reason
	case e.reply.Errno == unix.EINVAL && asked.to != "":
		reason = "a directory cannot be put into itself"
	}
	at := asked.path
	if e.reply.AtTo {
		at = asked.to
	}
	if e.reply.Below != "" {
		at = strings.TrimRight(at, "/") + "/" + string(e.reply.Below)
	}
	return &PathError{Path: at, Reason: reason}
}

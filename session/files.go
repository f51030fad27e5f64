package session

import (
	"context"
	"fmt"
	"path"
	"strings"

	"codebeaker/runtime"
	"codebeaker/runtime/agent"
)

// maxPathBytes is PATH_MAX of Linux without its NUL.
const maxPathBytes = 4095

// executeFile carries out a file command and returns its result, which is
// that of the command's type. Errors are *InvalidError, *PathError, ErrClosed
// or the host's.
func (s *session) executeFile(ctx context.Context, cmd Command) (any, error) {
	switch cmd := cmd.(type) {
	case *WriteFile:
		return s.writeFile(ctx, cmd)
	case *ReadFile:
		return s.readFile(ctx, cmd)
	case *CreateDirectory:
		return s.createDirectory(ctx, cmd)
	case *CopyFile:
		return s.copyFile(ctx, cmd)
	case *MoveFile:
		return s.moveFile(ctx, cmd)
	case *DeleteFile:
		return s.deleteFile(ctx, cmd)
	case *ListDirectory:
		return s.listDirectory(ctx, cmd)
	default:
		return nil, fmt.Errorf("execute file command: unknown type %T", cmd)
	}
}

// withFiles calls f with a client for the session's files and turns what can
// go wrong with the paths into a *PathError.
func (s *session) withFiles(ctx context.Context, asked paths, f func(context.Context, *fileClient) error) error {
	return fileError(asked, s.opts.FileTimeout, s.files.use(ctx, s, s.opts.FileTimeout, f))
}

// filePath makes the path of a file command absolute.
func filePath(field, p string) (agent.FilePath, error) {
	name, err := sessionPath(field, p)
	return agent.FilePath(name), err
}

// sessionPath makes a path absolute, without looking at it.
func sessionPath(field, p string) (string, error) {
	if p == "" || len(p) > maxPathBytes || strings.Contains(p, "\x00") {
		return "", &InvalidError{Field: field, Takes: fmt.Sprintf("a path of 1 to %d bytes without NUL", maxPathBytes)}
	}
	if path.IsAbs(p) {
		return p, nil
	}
	return runtime.Workspace + "/" + p, nil
}

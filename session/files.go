package session

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/pkg/sftp"

	"codebeaker/runtime"
)

// maxPathBytes is PATH_MAX of Linux without its NUL.
const maxPathBytes = 4095

// executeFile carries out a file command.
func (s *session) executeFile(ctx context.Context, cmd Command) (any, error) {
	switch cmd := cmd.(type) {
	case *WriteFile:
		return s.writeFile(ctx, cmd)
	case *ReadFile:
		return s.readFile(ctx, cmd)
	default:
		return nil, fmt.Errorf("execute command: unknown type %T", cmd)
	}
}

// writeFile carries out WriteFile.
func (s *session) writeFile(ctx context.Context, cmd *WriteFile) (*WriteFileResult, error) {
	name, err := sessionPath("command.path", cmd.Path)
	if err != nil {
		return nil, err
	}
	flags := os.O_WRONLY | os.O_CREATE
	if cmd.Mode != WriteAppend {
		flags |= os.O_TRUNC
	}
	err = s.withFiles(ctx, cmd.Path, func(client *sftp.Client) error {
		file, err := openOrMakeParents(client, name, flags)
		if err != nil {
			return err
		}
		defer file.Close() // again, after a failure
		if cmd.Permissions != nil {
			if err := file.Chmod(fs.FileMode(*cmd.Permissions & 0o777)); err != nil {
				return err
			}
		}
		if err := writeAll(file, cmd); err != nil {
			return err
		}
		return file.Close()
	})
	if err != nil {
		return nil, err
	}
	return &WriteFileResult{Path: cmd.Path, Bytes: int64(len(cmd.Content))}, nil
}

// writeAll writes the content. SFTP writes at offsets, so appending is to start
// at the end.
func writeAll(file *sftp.File, cmd *WriteFile) error {
	var offset int64
	if cmd.Mode == WriteAppend {
		info, err := file.Stat()
		if err != nil {
			return err
		}
		offset = info.Size()
	}
	n, err := file.WriteAt(cmd.Content, offset)
	if err == nil && n < len(cmd.Content) {
		err = io.ErrShortWrite
	}
	return err
}

// openOrMakeParents opens a file for writing, and makes its parents only where
// they turn out to be missing.
func openOrMakeParents(client *sftp.Client, name string, flags int) (*sftp.File, error) {
	file, err := client.OpenFile(name, flags)
	if !errors.Is(err, fs.ErrNotExist) {
		return file, err
	}
	if err := client.MkdirAll(path.Dir(name)); err != nil {
		return nil, err
	}
	return client.OpenFile(name, flags)
}

// removeFile removes a file that the session made by itself.
func (s *session) removeFile(ctx context.Context, name string) error {
	return s.withFiles(ctx, name, func(client *sftp.Client) error { return client.Remove(name) })
}

// readFile carries out ReadFile.
func (s *session) readFile(ctx context.Context, cmd *ReadFile) (*ReadFileResult, error) {
	name, err := sessionPath("command.path", cmd.Path)
	if err != nil {
		return nil, err
	}
	if cmd.Offset < 0 {
		return nil, &InvalidError{Field: "command.offset", Takes: "a whole number of bytes from 0 on"}
	}
	var content []byte
	err = s.withFiles(ctx, cmd.Path, func(client *sftp.Client) error {
		// Before Open: opening a FIFO waits for a writer.
		info, err := client.Stat(name)
		switch {
		case err != nil:
			return err
		case info.IsDir():
			return &PathError{Path: cmd.Path, Reason: "is a directory"}
		case !info.Mode().IsRegular():
			return &PathError{Path: cmd.Path, Reason: "not a regular file"}
		}
		file, err := client.Open(name)
		if err != nil {
			return err
		}
		defer file.Close()
		content, err = readRange(file, cmd, info.Size(), s.opts.MaxFileBytes)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &ReadFileResult{Path: cmd.Path, Content: content}, nil
}

// readRange reads what cmd asks for, at most limit bytes. A size of zero means
// nothing: files of /proc have none.
func readRange(file *sftp.File, cmd *ReadFile, size, limit int64) ([]byte, error) {
	tooLarge := &PathError{Path: cmd.Path, Reason: fmt.Sprintf("too large: one read returns at most %d bytes; read ranges with offset and length", limit)}
	want := cmd.Length
	if want < 0 || size > 0 && want > size-cmd.Offset {
		want = max(size-cmd.Offset, 0)
	}
	if want > limit {
		return nil, tooLarge
	}
	buf := make([]byte, want)
	n, err := file.ReadAt(buf, cmd.Offset)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	buf = buf[:n]
	if cmd.Length >= 0 && size > 0 || errors.Is(err, io.EOF) {
		return buf, nil
	}
	// To the true end, of a file that grew or never told its size.
	if _, err := file.Seek(cmd.Offset+int64(n), io.SeekStart); err != nil {
		return nil, err
	}
	rest := limit - int64(n)
	if cmd.Length >= 0 {
		rest = min(rest, cmd.Length-int64(n)+1)
	}
	more, err := io.ReadAll(io.LimitReader(plainReader{file}, rest+1))
	if err != nil {
		return nil, err
	}
	buf = append(buf, more...)
	if cmd.Length >= 0 && int64(len(buf)) > cmd.Length {
		buf = buf[:cmd.Length]
	}
	if int64(len(buf)) > limit {
		return nil, tooLarge
	}
	return buf, nil
}

// plainReader hides a file's WriteTo, which trusts its size.
type plainReader struct{ io.Reader }

// withFiles calls f with a client for the session's files and turns what can
// go wrong with the path into a *PathError.
func (s *session) withFiles(ctx context.Context, asked string, f func(*sftp.Client) error) error {
	err := s.files.use(ctx, s, s.opts.FileTimeout, f)
	pathErr, known := (*PathError)(nil), false
	switch {
	case err == nil, errors.As(err, &pathErr), errors.Is(err, ErrClosed):
		return err
	case errors.Is(err, errHelperEnded):
		return &PathError{Path: asked, Reason: "interrupted: the session's file helper was killed; send the command again"}
	case errors.Is(err, context.DeadlineExceeded):
		return &PathError{Path: asked, Reason: fmt.Sprintf("timed out after %s", s.opts.FileTimeout)}
	}
	if pathErr, known = pathError(asked, err); known {
		return pathErr
	}
	return fmt.Errorf("file command in session: %w", err)
}

// pathError turns what the helper answered into a reason. The helper's text is
// from inside the session; only known endings of it are passed on.
func pathError(asked string, err error) (*PathError, bool) {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return &PathError{Path: asked, Reason: "not found"}, true
	case errors.Is(err, fs.ErrPermission):
		return &PathError{Path: asked, Reason: "not permitted"}, true
	}
	var errno interface{ Error() string }
	if status := (*sftp.StatusError)(nil); errors.As(err, &status) {
		errno = status
	} else if pe := (*fs.PathError)(nil); errors.As(err, &pe) {
		errno = pe // from MkdirAll, which makes its own
	} else {
		return nil, false
	}
	for text, reason := range map[string]string{
		"is a directory":                    "is a directory",
		"not a directory":                   "not a directory",
		"file exists":                       "exists",
		"no space left on device":           "no space",
		"disk quota exceeded":               "no space",
		"file name too long":                "name too long",
		"too many levels of symbolic links": "too many levels of symbolic links",
		"read-only file system":             "not permitted",
		"text file busy":                    "busy",
		"no such device or address":         "not a regular file",
	} {
		if strings.Contains(errno.Error(), text) {
			return &PathError{Path: asked, Reason: reason}, true
		}
	}
	return &PathError{Path: asked, Reason: "failed"}, true
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

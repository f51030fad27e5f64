package session

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"

	"github.com/pkg/sftp"
)

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
	err = s.withFiles(ctx, paths{path: cmd.Path}, func(_ context.Context, client *fileClient) error {
		if cmd.Mode == WriteAppend {
			// Others' are to come before or after, not into the same place.
			s.files.appends.Lock()
			defer s.files.appends.Unlock()
		}
		file, err := openOrMakeParents(client, name, cmd.Path, flags)
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
func openOrMakeParents(client *fileClient, name, asked string, flags int) (*sftp.File, error) {
	// Before the file is opened: opening a FIFO waits for a reader, and the
	// helper with it.
	if _, err := statRegular(client, name, asked); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	file, err := client.OpenFile(name, flags)
	if !errors.Is(err, fs.ErrNotExist) {
		return file, err
	}
	err = client.MkdirAll(path.Dir(name))
	if status := (*sftp.StatusError)(nil); errors.As(err, &status) && statusReason(status) == reasonExists {
		return nil, &PathError{Path: asked, Reason: reasonNotDirectory} // a link that leads nowhere
	}
	if err != nil {
		return nil, err
	}
	return client.OpenFile(name, flags)
}

// removeFile removes a file that the session made by itself.
func (s *session) removeFile(ctx context.Context, name string) error {
	return s.withFiles(ctx, paths{path: name}, func(_ context.Context, client *fileClient) error { return client.Remove(name) })
}

// statRegular describes a file and makes sure that it is a regular one.
func statRegular(client *fileClient, name, asked string) (fs.FileInfo, error) {
	info, err := client.Stat(name)
	switch {
	case err != nil:
		return nil, err
	case info.IsDir():
		return nil, &PathError{Path: asked, Reason: reasonDirectory}
	case !info.Mode().IsRegular():
		return nil, &PathError{Path: asked, Reason: reasonNotRegular}
	}
	return info, nil
}

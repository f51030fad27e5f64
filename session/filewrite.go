package session

import (
	"context"
	"errors"
	"path"

	"codebeaker/runtime/agent"
)

// writeFile carries out WriteFile.
func (s *session) writeFile(ctx context.Context, cmd *WriteFile) (*WriteFileResult, error) {
	name, err := filePath("command.path", cmd.Path)
	if err != nil {
		return nil, err
	}
	err = s.withFiles(ctx, paths{path: cmd.Path}, func(ctx context.Context, client *fileClient) error {
		if cmd.Mode == WriteAppend {
			// Others' are to come before or after, not between two packets.
			s.files.appends.Lock()
			defer s.files.appends.Unlock()
		}
		return client.write(ctx, agent.FileRequest{
			Op: agent.WriteFile, Path: name, Size: int64(len(cmd.Content)), Append: cmd.Mode == WriteAppend, Permissions: cmd.Permissions,
		}, cmd.Content)
	})
	if err != nil {
		return nil, err
	}
	return &WriteFileResult{Path: cmd.Path, Bytes: int64(len(cmd.Content))}, nil
}

// writeSource writes a file that the session makes by itself, in a directory that
// is there. Errors are about that.
func (s *session) writeSource(ctx context.Context, name string, content []byte) error {
	return s.withFiles(ctx, paths{path: path.Dir(name)}, func(ctx context.Context, client *fileClient) error {
		return client.write(ctx, agent.FileRequest{Op: agent.WriteFile, Path: agent.FilePath(name), Size: int64(len(content)), NoParents: true}, content)
	})
}

// removeFile removes a file that the session made by itself. It does so again
// where the helper ended meanwhile, which has removed it or has not.
func (s *session) removeFile(ctx context.Context, name string) (err error) {
	for range maxHelpers {
		err = s.files.use(ctx, s, s.opts.FileTimeout, func(ctx context.Context, client *fileClient) error {
			_, err := client.call(ctx, agent.FileRequest{Op: agent.RemoveFile, Path: agent.FilePath(name)})
			return err
		})
		if !errors.As(err, new(*lostError)) {
			break
		}
	}
	return err
}

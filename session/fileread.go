package session

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"codebeaker/runtime/agent"
)

// readFile carries out ReadFile.
func (s *session) readFile(ctx context.Context, cmd *ReadFile) (*ReadFileResult, error) {
	name, err := filePath("command.path", cmd.Path)
	if err != nil {
		return nil, err
	}
	if cmd.Offset < 0 {
		return nil, &InvalidError{Field: "command.offset", Takes: "a whole number of bytes from 0 on"}
	}
	result := &ReadFileResult{Path: cmd.Path}
	err = s.withFiles(ctx, paths{path: cmd.Path}, func(ctx context.Context, client *fileClient) (err error) {
		result.Content, err = client.read(ctx, agent.FileRequest{
			Op: agent.ReadFile, Path: name, Offset: cmd.Offset, Length: cmd.Length, MaxBytes: int(s.opts.MaxFileBytes),
		})
		if answer := (*fileCallError)(nil); errors.As(err, &answer) && answer.reply.Errno == unix.EFBIG {
			return &PathError{Path: cmd.Path, Reason: fmt.Sprintf(
				"too large: one read returns at most %d bytes; read ranges with offset and length", s.opts.MaxFileBytes)}
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return result, nil
}

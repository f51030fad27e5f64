package session

import (
	"context"

	"codebeaker/runtime"
	"codebeaker/runtime/agent"
)

// createDirectory carries out CreateDirectory.
func (s *session) createDirectory(ctx context.Context, cmd *CreateDirectory) (*CreateDirectoryResult, error) {
	name, err := filePath("command.path", cmd.Path)
	if err != nil {
		return nil, err
	}
	_, err = s.callFiles(ctx, paths{path: cmd.Path}, agent.FileRequest{
		Op: agent.MakeDirectory, Path: name, Recursive: cmd.Recursive,
	})
	if err != nil {
		return nil, err
	}
	return &CreateDirectoryResult{Path: cmd.Path}, nil
}

// copyFile carries out CopyFile. The bytes do not leave the session.
func (s *session) copyFile(ctx context.Context, cmd *CopyFile) (*CopyFileResult, error) {
	from, to, err := sessionPaths(cmd.Source, cmd.Destination)
	if err != nil {
		return nil, err
	}
	reply, err := s.callFiles(ctx, paths{cmd.Source, cmd.Destination}, agent.FileRequest{
		Op: agent.CopyFile, Path: from, To: to, Overwrite: cmd.Overwrite,
	})
	if err != nil {
		return nil, err
	}
	return &CopyFileResult{Source: cmd.Source, Destination: cmd.Destination, Bytes: max(reply.Bytes, 0)}, nil
}

// moveFile carries out MoveFile.
func (s *session) moveFile(ctx context.Context, cmd *MoveFile) (*MoveFileResult, error) {
	from, to, err := sessionPaths(cmd.Source, cmd.Destination)
	if err != nil {
		return nil, err
	}
	_, err = s.callFiles(ctx, paths{cmd.Source, cmd.Destination}, agent.FileRequest{
		Op: agent.MoveFile, Path: from, To: to, Overwrite: cmd.Overwrite,
	})
	if err != nil {
		return nil, err
	}
	return &MoveFileResult{Source: cmd.Source, Destination: cmd.Destination}, nil
}

// deleteFile carries out DeleteFile.
func (s *session) deleteFile(ctx context.Context, cmd *DeleteFile) (*DeleteFileResult, error) {
	name, err := filePath("command.path", cmd.Path)
	if err != nil {
		return nil, err
	}
	_, err = s.callFiles(ctx, paths{path: cmd.Path}, agent.FileRequest{
		Op: agent.RemoveFile, Path: name, Recursive: cmd.Recursive, Keep: []string{"/", runtime.Workspace},
	})
	if err != nil {
		return nil, err
	}
	return &DeleteFileResult{Path: cmd.Path}, nil
}

// callFiles makes one call to the session's file helper.
func (s *session) callFiles(ctx context.Context, asked paths, req agent.FileRequest) (*agent.FileReply, error) {
	var reply *agent.FileReply
	err := s.withFiles(ctx, asked, func(ctx context.Context, client *fileClient) (err error) {
		reply, err = client.call(ctx, req)
		return err
	})
	return reply, err
}

func sessionPaths(source, destination string) (from, to agent.FilePath, err error) {
	if from, err = filePath("command.sourcePath", source); err != nil {
		return "", "", err
	}
	to, err = filePath("command.destinationPath", destination)
	return from, to, err
}

package rpc

import (
	"fmt"
	"unicode/utf8"

	"codebeaker/session"
)

// The commands of session.execute on files, and their results.

type writeFileParams struct {
	Path        string       `json:"path" takes:"required,nonempty" doc:"The file. A relative path starts at /workspace."`
	Content     []byte       `json:"content" takes:"required" doc:"What to write."`
	Mode        string       `json:"mode" takes:"oneof=Create|Append|Overwrite,default=Create" doc:"Create and Overwrite replace a file that exists, Append adds to its end."`
	Encoding    string       `json:"encoding" takes:"oneof=utf-8|base64,default=utf-8" doc:"How content is written here."`
	Permissions *permissions `json:"permissions" doc:"Permission bits in octal, such as 0755. Without it, those of a file that exists stay and a new one gets 0644."`
}

type writeFileResult struct {
	Path  string `json:"path" doc:"The file."`
	Bytes int64  `json:"bytes" doc:"How many bytes were written."`
}

func newWriteFile(p *writeFileParams) (command, error) {
	c := &session.WriteFile{Path: p.Path, Content: p.Content, Permissions: (*uint32)(p.Permissions)}
	if p.Mode == "Append" {
		c.Mode = session.WriteAppend
	}
	if p.Encoding == "base64" {
		var err error
		if c.Content, err = decodeBase64("command.content", c.Content); err != nil {
			return command{}, err
		}
	}
	return command{Command: c}, nil
}

func writeFileDone(_ *writeFileParams, r *session.WriteFileResult) writeFileResult {
	return writeFileResult{Path: r.Path, Bytes: r.Bytes}
}

type readFileParams struct {
	Path     string `json:"path" takes:"required,nonempty" doc:"The file. A relative path starts at /workspace."`
	Encoding string `json:"encoding" takes:"oneof=utf-8|base64,default=utf-8" doc:"base64 asks for the content in base64 whatever it is."`
	Offset   int64  `json:"offset" takes:"min=0,default=0" doc:"Where to start, in bytes."`
	Length   *int64 `json:"length" takes:"min=0" doc:"How many bytes to read at most; all where absent."`
}

type readFileResult struct {
	Path     string   `json:"path" doc:"The file."`
	Content  longText `json:"content" doc:"What was read."`
	Bytes    int      `json:"bytes" doc:"How many bytes were read."`
	Encoding string   `json:"encoding" doc:"utf-8, or base64 where the content is no text or was asked for so."`
}

func newReadFile(p *readFileParams) (command, error) {
	c := &session.ReadFile{Path: p.Path, Offset: p.Offset, Length: -1}
	if p.Length != nil {
		c.Length = *p.Length
	}
	return command{Command: c}, nil
}

// newReadFileResult sends as base64 what is no text, and what was asked for so.
func newReadFileResult(p *readFileParams, r *session.ReadFileResult) readFileResult {
	result := readFileResult{Path: r.Path, Content: longText{content: r.Content}, Bytes: len(r.Content), Encoding: "utf-8"}
	if p.Encoding == "base64" || !utf8.Valid(r.Content) {
		result.Encoding, result.Content.base64 = "base64", true
	}
	return result
}

type createDirectoryParams struct {
	Path      string `json:"path" takes:"required,nonempty" doc:"The directory. A relative path starts at /workspace."`
	Recursive bool   `json:"recursive" takes:"default=true" doc:"Makes missing parents too, and takes a directory that exists."`
}

type createDirectoryResult struct {
	Path string `json:"path" doc:"The directory."`
}

func newCreateDirectory(p *createDirectoryParams) (command, error) {
	return command{Command: &session.CreateDirectory{Path: p.Path, Recursive: p.Recursive}}, nil
}

func createDirectoryDone(_ *createDirectoryParams, r *session.CreateDirectoryResult) createDirectoryResult {
	return createDirectoryResult{Path: r.Path}
}

// transferParams are those of copy_file and move_file.
type transferParams struct {
	Source      string `json:"sourcePath" takes:"required,nonempty,also=source" doc:"What there is. A relative path starts at /workspace."`
	Destination string `json:"destinationPath" takes:"required,nonempty,also=destination" doc:"What there will be. Its parent directories are made."`
	Overwrite   bool   `json:"overwrite" takes:"default=true" doc:"Replaces a file that is at the destination, which otherwise is an error."`
}

type (
	copyFileParams struct{ transferParams }
	moveFileParams struct{ transferParams }
)

type copyFileResult struct {
	Source      string `json:"source" doc:"What was copied."`
	Destination string `json:"destination" doc:"The copy."`
	Bytes       int64  `json:"bytes" doc:"Its size in bytes."`
}

func newCopyFile(p *copyFileParams) (command, error) {
	return command{Command: &session.CopyFile{Source: p.Source, Destination: p.Destination, Overwrite: p.Overwrite}}, nil
}

func copyFileDone(_ *copyFileParams, r *session.CopyFileResult) copyFileResult {
	return copyFileResult{Source: r.Source, Destination: r.Destination, Bytes: r.Bytes}
}

type moveFileResult struct {
	Source      string `json:"source" doc:"Where it was."`
	Destination string `json:"destination" doc:"Where it is."`
}

func newMoveFile(p *moveFileParams) (command, error) {
	return command{Command: &session.MoveFile{Source: p.Source, Destination: p.Destination, Overwrite: p.Overwrite}}, nil
}

func moveFileDone(_ *moveFileParams, r *session.MoveFileResult) moveFileResult {
	return moveFileResult{Source: r.Source, Destination: r.Destination}
}

type deleteFileParams struct {
	Path      string `json:"path" takes:"required,nonempty" doc:"What to delete. A relative path starts at /workspace."`
	Recursive bool   `json:"recursive" takes:"default=false" doc:"Deletes a directory with all that is in it; without it, only an empty one is deleted."`
}

type deleteFileResult struct {
	Path    string `json:"path" doc:"What there was."`
	Deleted bool   `json:"deleted" doc:"True."`
}

func newDeleteFile(p *deleteFileParams) (command, error) {
	return command{Command: &session.DeleteFile{Path: p.Path, Recursive: p.Recursive}}, nil
}

func deleteFileDone(_ *deleteFileParams, r *session.DeleteFileResult) deleteFileResult {
	return deleteFileResult{Path: r.Path, Deleted: true}
}

type listDirectoryParams struct {
	Path          string `json:"path" takes:"default=/workspace" doc:"The directory. A relative path starts at /workspace."`
	Recursive     bool   `json:"recursive" takes:"default=false" doc:"Lists what is in subdirectories too."`
	Pattern       string `json:"pattern" doc:"A pattern with *, ? and [] that a name has to match, or, where it has a slash, the path below the directory."`
	IncludeHidden bool   `json:"includeHidden" takes:"default=false" doc:"Lists what begins with a dot, and what is below it."`
	MaxDepth      int64  `json:"maxDepth" takes:"min=0,max=1000000,default=0" doc:"How many levels a recursive list has: 1 is the directory alone, 0 is all."`
}

type listDirectoryResult struct {
	Path    string     `json:"path" doc:"The directory."`
	Entries []dirEntry `json:"entries" doc:"What is in it, sorted by path."`
	// Truncated is absent where it would be false.
	Truncated bool `json:"truncated,omitempty" doc:"There are more entries than the server lists."`
}

type dirEntry struct {
	Name     string           `json:"name" doc:"The last part of path."`
	Path     string           `json:"path" doc:"Begins with the path of the command."`
	Type     session.FileType `json:"type" doc:"What it is. Symbolic links are not followed."`
	Size     int64            `json:"size" doc:"In bytes."`
	Mode     string           `json:"mode" doc:"Permission bits in octal, as write_file takes them."`
	Modified wireTime         `json:"modified" doc:"When the content last changed."`
}

func newListDirectory(p *listDirectoryParams) (command, error) {
	return command{Command: &session.ListDirectory{
		Path: p.Path, Recursive: p.Recursive, Pattern: p.Pattern,
		IncludeHidden: p.IncludeHidden, MaxDepth: int(p.MaxDepth),
	}}, nil
}

func newListDirectoryResult(_ *listDirectoryParams, r *session.ListDirectoryResult) listDirectoryResult {
	result := listDirectoryResult{Path: r.Path, Truncated: r.Truncated, Entries: make([]dirEntry, 0, len(r.Entries))}
	for _, e := range r.Entries {
		result.Entries = append(result.Entries, dirEntry{
			Name: e.Name, Path: e.Path, Type: e.Type, Size: e.Size,
			Mode: fmt.Sprintf("%04o", e.Mode), Modified: wireTime(e.Modified),
		})
	}
	return result
}

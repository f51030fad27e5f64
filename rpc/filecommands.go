package rpc

import (
	"encoding/base64"
	"fmt"
	"unicode/utf8"

	"codebeaker/session"
)

// The commands of session.execute on files, and their results.

// pathCoding is how a command writes the paths of files. Linux takes any bytes for
// a name, JSON takes text alone.
type pathCoding struct {
	PathEncoding string `json:"pathEncoding" takes:"oneof=utf-8|base64,default=utf-8" doc:"How paths are written in the command and in its result: as they are, or their bytes in base64, for names that are not UTF-8."`
}

// decode returns the path that is meant.
func (c pathCoding) decode(field, written string) (string, error) {
	if c.PathEncoding != "base64" {
		return written, nil
	}
	path, err := decodeBase64("command."+field, []byte(written))
	return string(path), err
}

// encode writes a path as the command does.
func (c pathCoding) encode(path string) string {
	if c.PathEncoding != "base64" {
		return path
	}
	return base64.StdEncoding.EncodeToString([]byte(path))
}

type writeFileParams struct {
	pathCoding

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
	path, err := p.decode("path", p.Path)
	if err != nil {
		return command{}, err
	}
	c := &session.WriteFile{Path: path, Content: p.Content, Permissions: (*uint32)(p.Permissions)}
	if p.Mode == "Append" {
		c.Mode = session.WriteAppend
	}
	if p.Encoding == "base64" {
		if c.Content, err = decodeBase64("command.content", c.Content); err != nil {
			return command{}, err
		}
	}
	return command{Command: c}, nil
}

func writeFileDone(p *writeFileParams, r *session.WriteFileResult) writeFileResult {
	return writeFileResult{Path: p.encode(r.Path), Bytes: r.Bytes}
}

type readFileParams struct {
	pathCoding

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
	path, err := p.decode("path", p.Path)
	if err != nil {
		return command{}, err
	}
	c := &session.ReadFile{Path: path, Offset: p.Offset, Length: -1}
	if p.Length != nil {
		c.Length = *p.Length
	}
	return command{Command: c}, nil
}

// newReadFileResult sends as base64 what is no text, and what was asked for so.
func newReadFileResult(p *readFileParams, r *session.ReadFileResult) readFileResult {
	result := readFileResult{Path: p.encode(r.Path), Content: longText{content: r.Content}, Bytes: len(r.Content), Encoding: "utf-8"}
	if p.Encoding == "base64" || !utf8.Valid(r.Content) {
		result.Encoding, result.Content.base64 = "base64", true
	}
	return result
}

type createDirectoryParams struct {
	pathCoding

	Path      string `json:"path" takes:"required,nonempty" doc:"The directory. A relative path starts at /workspace."`
	Recursive bool   `json:"recursive" takes:"default=true" doc:"Makes missing parents too, and takes a directory that exists."`
}

type createDirectoryResult struct {
	Path string `json:"path" doc:"The directory."`
}

func newCreateDirectory(p *createDirectoryParams) (command, error) {
	path, err := p.decode("path", p.Path)
	return command{Command: &session.CreateDirectory{Path: path, Recursive: p.Recursive}}, err
}

func createDirectoryDone(p *createDirectoryParams, r *session.CreateDirectoryResult) createDirectoryResult {
	return createDirectoryResult{Path: p.encode(r.Path)}
}

// transferParams are those of copy_file and move_file.
type transferParams struct {
	pathCoding

	Source      string `json:"sourcePath" takes:"required,nonempty,also=source" doc:"The file or the directory that there is. A relative path starts at /workspace."`
	Destination string `json:"destinationPath" takes:"required,nonempty,also=destination" doc:"What there will be. Its parent directories are made."`
	Overwrite   bool   `json:"overwrite" takes:"default=true" doc:"Replaces a file, or an empty directory with a directory, that is at the destination, which otherwise is an error."`
}

func (p *transferParams) decodeBoth() (from, to string, err error) {
	if from, err = p.decode("sourcePath", p.Source); err != nil {
		return "", "", err
	}
	to, err = p.decode("destinationPath", p.Destination)
	return from, to, err
}

type (
	copyFileParams struct{ transferParams }
	moveFileParams struct{ transferParams }
)

type copyFileResult struct {
	Source      string `json:"source" doc:"What was copied."`
	Destination string `json:"destination" doc:"The copy."`
	Bytes       int64  `json:"bytes" doc:"The size of the files copied, in bytes."`
}

func newCopyFile(p *copyFileParams) (command, error) {
	from, to, err := p.decodeBoth()
	return command{Command: &session.CopyFile{Source: from, Destination: to, Overwrite: p.Overwrite}}, err
}

func copyFileDone(p *copyFileParams, r *session.CopyFileResult) copyFileResult {
	return copyFileResult{Source: p.encode(r.Source), Destination: p.encode(r.Destination), Bytes: r.Bytes}
}

type moveFileResult struct {
	Source      string `json:"source" doc:"Where it was."`
	Destination string `json:"destination" doc:"Where it is."`
}

func newMoveFile(p *moveFileParams) (command, error) {
	from, to, err := p.decodeBoth()
	return command{Command: &session.MoveFile{Source: from, Destination: to, Overwrite: p.Overwrite}}, err
}

func moveFileDone(p *moveFileParams, r *session.MoveFileResult) moveFileResult {
	return moveFileResult{Source: p.encode(r.Source), Destination: p.encode(r.Destination)}
}

type deleteFileParams struct {
	pathCoding

	Path      string `json:"path" takes:"required,nonempty" doc:"What to delete. A relative path starts at /workspace."`
	Recursive bool   `json:"recursive" takes:"default=false" doc:"Deletes a directory with all that is in it; without it, only an empty one is deleted."`
}

type deleteFileResult struct {
	Path    string `json:"path" doc:"What there was."`
	Deleted bool   `json:"deleted" doc:"True."`
}

func newDeleteFile(p *deleteFileParams) (command, error) {
	path, err := p.decode("path", p.Path)
	return command{Command: &session.DeleteFile{Path: path, Recursive: p.Recursive}}, err
}

func deleteFileDone(p *deleteFileParams, r *session.DeleteFileResult) deleteFileResult {
	return deleteFileResult{Path: p.encode(r.Path), Deleted: true}
}

type listDirectoryParams struct {
	pathCoding

	Path          *string `json:"path" doc:"The directory; /workspace where absent or empty. A relative path starts there."`
	Recursive     bool    `json:"recursive" takes:"default=false" doc:"Lists what is in subdirectories too."`
	Pattern       string  `json:"pattern" doc:"A pattern with *, ?, [] and {,} that a name has to match, or, where it has a slash, the path below the directory, of which ** takes any depth."`
	IncludeHidden bool    `json:"includeHidden" takes:"default=false" doc:"Lists what begins with a dot, and what is below it."`
	MaxDepth      int64   `json:"maxDepth" takes:"min=0,max=1000000,default=0" doc:"How many levels a recursive list has: 1 is the directory alone, 0 is all."`
	Limit         *int64  `json:"limit" takes:"min=1,max=10000" doc:"How many entries one answer has at most; 10000 where absent."`
	Cursor        *string `json:"cursor" doc:"The nextCursor of an answer, to go on behind it. The other fields have to be those of that command."`
}

type listDirectoryResult struct {
	Path    string     `json:"path" doc:"The directory."`
	Entries []dirEntry `json:"entries" doc:"What is in it, sorted by the bytes of their paths."`
	// Truncated is absent where it would be false, NextCursor with it.
	Truncated  bool   `json:"truncated,omitempty" doc:"There are more entries than one answer has."`
	NextCursor string `json:"nextCursor,omitempty" doc:"The cursor with which the same command goes on, where truncated is true."`
}

type dirEntry struct {
	Name     string           `json:"name" doc:"The last part of path."`
	Path     string           `json:"path" doc:"Begins with the path of the command."`
	Base64   string           `json:"pathBase64,omitempty" doc:"The bytes of path in base64, where they are not UTF-8 and path has U+FFFD in their place."`
	Type     session.FileType `json:"type" doc:"What it is. Symbolic links are not followed."`
	Size     int64            `json:"size" doc:"In bytes."`
	Mode     string           `json:"mode" doc:"Permission bits in octal, as write_file takes them."`
	Modified wireTime         `json:"modified" doc:"When the content last changed."`
}

func newListDirectory(p *listDirectoryParams) (command, error) {
	c := &session.ListDirectory{
		Recursive: p.Recursive, Pattern: p.Pattern, IncludeHidden: p.IncludeHidden,
		MaxDepth: int(p.MaxDepth),
	}
	if p.Limit != nil {
		c.Limit = int(*p.Limit)
	}
	var err error
	if p.Path != nil {
		if c.Path, err = p.decode("path", *p.Path); err != nil {
			return command{}, err
		}
	}
	if p.Cursor != nil {
		after, err := base64.RawURLEncoding.DecodeString(*p.Cursor)
		if err != nil {
			return command{}, invalidParams("command.cursor", "command.cursor takes the nextCursor of an answer")
		}
		c.After = string(after)
	}
	return command{Command: c}, nil
}

func newListDirectoryResult(p *listDirectoryParams, r *session.ListDirectoryResult) listDirectoryResult {
	result := listDirectoryResult{
		Path: p.encode(r.Path), Truncated: r.Truncated,
		NextCursor: base64.RawURLEncoding.EncodeToString([]byte(r.Next)),
		Entries:    make([]dirEntry, 0, len(r.Entries)),
	}
	for _, e := range r.Entries {
		entry := dirEntry{
			Name: p.encode(e.Name), Path: p.encode(e.Path), Type: e.Type, Size: e.Size,
			Mode: fmt.Sprintf("%04o", e.Mode), Modified: wireTime(e.Modified),
		}
		if p.PathEncoding != "base64" && !utf8.ValidString(e.Path) {
			entry.Base64 = base64.StdEncoding.EncodeToString([]byte(e.Path))
		}
		result.Entries = append(result.Entries, entry)
	}
	return result
}

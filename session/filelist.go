package session

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/bmatcuk/doublestar/v4"
	"golang.org/x/sys/unix"

	"codebeaker/runtime"
	"codebeaker/runtime/agent"
)

// maxListBytes bounds the paths of one listing together, in bytes.
const maxListBytes = 4 << 20

// listDirectory carries out ListDirectory.
func (s *session) listDirectory(ctx context.Context, cmd *ListDirectory) (*ListDirectoryResult, error) {
	result := &ListDirectoryResult{Path: cmd.Path}
	if result.Path == "" {
		result.Path = runtime.Workspace
	}
	name, err := filePath("command.path", result.Path)
	if err != nil {
		return nil, err
	}
	if cmd.MaxDepth < 0 {
		return nil, &InvalidError{Field: "command.maxDepth", Takes: "a whole number from 0 on, of which 0 is no limit"}
	}
	if !doublestar.ValidatePattern(cmd.Pattern) || len(cmd.Pattern) > maxPathBytes {
		return nil, &InvalidError{Field: "command.pattern", Takes: `a pattern such as "*.py" or "src/**/*.go", with *, **, ?, [a-z], {a,b} and \ before one of these`}
	}
	if cmd.Limit < 0 || cmd.Limit > s.opts.MaxListEntries {
		return nil, &InvalidError{Field: "command.limit", Takes: fmt.Sprintf("a whole number from 1 to %d", s.opts.MaxListEntries)}
	}
	most := s.opts.MaxListEntries
	if cmd.Limit > 0 {
		most = cmd.Limit
	}
	reply, err := s.callFiles(ctx, paths{path: result.Path}, agent.FileRequest{
		Op: agent.ListDirectory, Path: name, Recursive: cmd.Recursive,
		Pattern: cmd.Pattern, Hidden: cmd.IncludeHidden, Depth: cmd.MaxDepth,
		After: agent.FilePath(cmd.After), MaxEntries: most, MaxBytes: maxListBytes,
	})
	if err != nil {
		return nil, err
	}
	result.Truncated = reply.Truncated
	result.Entries = make([]FileEntry, 0, len(reply.Entries))
	for _, e := range reply.Entries {
		result.Entries = append(result.Entries, newFileEntry(result.Path, e))
	}
	// What a session answers is in the order that it likes.
	slices.SortFunc(result.Entries, func(a, b FileEntry) int { return strings.Compare(a.Path, b.Path) })
	if n := len(result.Entries); result.Truncated && n > 0 {
		result.Next = result.Entries[n-1].Path[len(strings.TrimRight(result.Path, "/"))+1:]
	}
	return result, nil
}

func newFileEntry(dir string, e agent.FileEntry) FileEntry {
	below := string(e.Path)
	return FileEntry{
		Name: path.Base(below), Path: strings.TrimRight(dir, "/") + "/" + below,
		Type: fileType(e.Mode), Size: max(e.Size, 0), Mode: e.Mode & 0o777,
		Modified: fileTime(e.Seconds, e.Nanoseconds),
	}
}

func fileType(mode uint32) FileType {
	switch mode & unix.S_IFMT {
	case unix.S_IFREG:
		return FileRegular
	case unix.S_IFDIR:
		return FileDirectory
	case unix.S_IFLNK:
		return FileSymlink
	default:
		return FileOther
	}
}

// fileTime returns a time that RFC 3339 can write; a session may give a file
// any.
func fileTime(seconds, nanoseconds int64) time.Time {
	first := time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC)
	last := time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)
	switch {
	case seconds < first.Unix():
		return first
	case seconds > last.Unix():
		return last
	default:
		return time.Unix(seconds, min(max(nanoseconds, 0), 1e9-1)).UTC()
	}
}

package agent

import (
	"encoding/base64"
	"syscall"
	"time"
)

// FilePath is a path as the kernel has it: bytes, which need be no text. JSON
// has them in base64.
type FilePath string

// MarshalText implements encoding.TextMarshaler.
func (p FilePath) MarshalText() ([]byte, error) {
	return base64.StdEncoding.AppendEncode(nil, []byte(p)), nil
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (p *FilePath) UnmarshalText(text []byte) error {
	path, err := base64.StdEncoding.AppendDecode(nil, text)
	*p = FilePath(path)
	return err
}

// FileOp is what a FileRequest asks for.
type FileOp string

const (
	// WriteFile writes what comes with the request to the regular file Path.
	WriteFile FileOp = "write"
	// ReadFile reads the regular file Path.
	ReadFile FileOp = "read"
	// MakeDirectory makes the directory Path.
	MakeDirectory FileOp = "mkdir"
	// CopyFile copies the regular file or directory Path to To.
	CopyFile FileOp = "copy"
	// MoveFile renames Path to To.
	MoveFile FileOp = "move"
	// RemoveFile removes Path.
	RemoveFile FileOp = "remove"
	// ListDirectory lists the directory Path.
	ListDirectory FileOp = "list"
)

// FileRequest is an operation on files. It is the head of a packet.
type FileRequest struct {
	Op FileOp `json:"op"`
	// Path and To are absolute.
	Path FilePath `json:"path"`
	To   FilePath `json:"to,omitempty"`
	// Append has WriteFile add to the end of the file, not replace it.
	Append bool `json:"append,omitempty"`
	// NoParents has WriteFile fail where the file's directory is not there.
	NoParents bool `json:"noParents,omitempty"`
	// Size is how many bytes WriteFile is given altogether.
	Size int64 `json:"size,omitempty"`
	// Permissions are what WriteFile gives the file; nil for what it has, or
	// 0644.
	Permissions *uint32 `json:"permissions,omitempty"`
	// More says that another request of the same id with more data follows.
	More bool `json:"more,omitempty"`
	// Offset and Length are the range that ReadFile reads; a negative length is
	// up to the end. Where it has more than MaxBytes, that is an error.
	Offset int64 `json:"offset,omitempty"`
	Length int64 `json:"length,omitempty"`
	// Overwrite lets CopyFile and MoveFile replace what is at To.
	Overwrite bool `json:"overwrite,omitempty"`
	// Recursive makes parents, removes what is in a directory, or lists it.
	Recursive bool `json:"recursive,omitempty"`
	// Keep are directories that RemoveFile refuses, under whatever name.
	Keep []string `json:"keep,omitempty"`
	// Pattern, Hidden and Depth are those of a listing, as session has them.
	Pattern string `json:"pattern,omitempty"`
	Hidden  bool   `json:"hidden,omitempty"`
	Depth   int    `json:"depth,omitempty"`
	// After is the path, below that of the directory, after which a listing
	// begins; the first where it is empty.
	After FilePath `json:"after,omitempty"`
	// MaxEntries and MaxBytes bound a listing, of which the bytes are those of
	// the entries' paths with the directory's before them.
	MaxEntries int `json:"maxEntries,omitempty"`
	MaxBytes   int `json:"maxBytes,omitempty"`
	// Timeout is when to give up, leaving nothing half-done behind.
	Timeout time.Duration `json:"timeout"`
}

// FileReply answers a FileRequest.
type FileReply struct {
	// Errno is why it failed; 0 where it did not.
	Errno syscall.Errno `json:"errno,omitempty"`
	// AtTo says that To is what it failed at, and not Path.
	AtTo bool `json:"atTo,omitempty"`
	// Below is what in the tree Path or To it failed at, as a path below that; empty
	// where it is that itself.
	Below FilePath `json:"below,omitempty"`
	// Copied says that a file was copied to another file system but could not
	// be removed where it was.
	Copied bool `json:"copied,omitempty"`
	// Size is how many bytes ReadFile expects to read altogether.
	Size int64 `json:"size,omitempty"`
	// Bytes is how many the files copied have.
	Bytes int64 `json:"bytes,omitempty"`
	// Entries are those of a listing.
	Entries []FileEntry `json:"entries,omitempty"`
	// Truncated says that there were more than MaxEntries or MaxBytes allow.
	Truncated bool `json:"truncated,omitempty"`
	// More says that another reply with more entries or data follows.
	More bool `json:"more,omitempty"`
}

// FileEntry is an entry of a directory.
type FileEntry struct {
	// Path is relative to the directory listed.
	Path FilePath `json:"p"`
	// Mode is what stat gives, type and permissions.
	Mode uint32 `json:"m"`
	Size int64  `json:"s,omitempty"`
	// Seconds and Nanoseconds are the time of modification since 1970.
	Seconds     int64 `json:"t"`
	Nanoseconds int64 `json:"n,omitempty"`
}

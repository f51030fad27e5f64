package session

import "time"

// Command is something to do in a session. File commands answer when they are
// done: *WriteFile, *ReadFile, *CreateDirectory, *CopyFile, *MoveFile,
// *DeleteFile and *ListDirectory. Programs start an execution: *Shell, *Code
// and *InstallPackages.
type Command interface{ command() }

// Program is a command that starts an execution. Its result, once that has
// ended, is an *ExecutionResult.
type Program interface {
	Command
	program() *ProgramOptions
}

// WriteMode says what WriteFile does to a file that exists.
type WriteMode int

const (
	// WriteReplace creates the file or replaces its content.
	WriteReplace WriteMode = iota
	// WriteAppend creates the file or adds to its end as that is when the
	// command starts. Other commands that append wait; a program of the session
	// that writes to the file does not.
	WriteAppend
)

// WriteFile writes a file, making its parent directories. Its result is a
// *WriteFileResult.
type WriteFile struct {
	// Path is absolute or relative to /workspace, like that of every command.
	Path    string
	Content []byte
	Mode    WriteMode
	// Permissions are the file's permission bits; nil leaves those of an
	// existing file alone and gives a new one 0644.
	Permissions *uint32
}

// WriteFileResult says what WriteFile did.
type WriteFileResult struct {
	Path string
	// Bytes is how many bytes this command wrote.
	Bytes int64
}

// ReadFile reads a file or a range of it. Its result is a *ReadFileResult.
type ReadFile struct {
	Path string
	// Offset is where to start, in bytes.
	Offset int64
	// Length is how many bytes to read at most; negative for all. What exceeds
	// the manager's MaxFileBytes is refused, not cut.
	Length int64
}

// ReadFileResult is what ReadFile read.
type ReadFileResult struct {
	Path    string
	Content []byte
}

// CreateDirectory makes a directory. One that exists is no error where
// Recursive. Its result is a *CreateDirectoryResult.
type CreateDirectory struct {
	Path string
	// Recursive makes missing parents, too.
	Recursive bool
}

// CreateDirectoryResult says what CreateDirectory did.
type CreateDirectoryResult struct{ Path string }

// CopyFile copies a regular file or a directory, with permission bits and holes,
// making the parent directories of the destination. The destination changes as a
// whole or not at all. A symbolic link at the source is followed, one below it is
// copied, one at the destination is replaced. Its result is a *CopyFileResult.
type CopyFile struct {
	Source, Destination string
	// Overwrite replaces a file or, with a directory, an empty directory that is at
	// the destination, which otherwise is an error.
	Overwrite bool
}

// CopyFileResult says what CopyFile did.
type CopyFileResult struct {
	Source, Destination string
	// Bytes is the size of all files copied.
	Bytes int64
}

// MoveFile renames a file or a directory, making the parent directories of the
// destination. To another file system, such as /tmp, it is copied and then
// removed. Its result is a *MoveFileResult.
type MoveFile struct {
	Source, Destination string
	// Overwrite replaces a file or an empty directory that is at the
	// destination, which otherwise is an error.
	Overwrite bool
}

// MoveFileResult says what MoveFile did.
type MoveFileResult struct{ Source, Destination string }

// DeleteFile removes a file, a symbolic link or a directory. /workspace and / are
// not removed, and nor is what is in a directory that cannot be. Its result is a
// *DeleteFileResult.
type DeleteFile struct {
	Path string
	// Recursive removes a directory with all that is in it; without it, only an
	// empty one is removed.
	Recursive bool
}

// DeleteFileResult says what DeleteFile did.
type DeleteFileResult struct{ Path string }

// ListDirectory lists a directory, sorted by path. Symbolic links are listed
// and not followed, but for Path itself. Subdirectories that cannot be read are
// listed without what is in them. Its result is a *ListDirectoryResult.
type ListDirectory struct {
	// Path is the directory; /workspace where empty.
	Path string
	// Recursive lists what is in subdirectories, too.
	Recursive bool
	// Pattern, where it is not empty, is a pattern of doublestar that an entry's
	// name has to match; one with a slash is matched with the path below Path.
	Pattern string
	// IncludeHidden lists entries whose name starts with a dot, and what is
	// below them, too.
	IncludeHidden bool
	// MaxDepth is how many levels Recursive lists: 1 is the directory itself;
	// 0 is all.
	MaxDepth int
	// Limit is the most entries that are listed; 0 is the manager's MaxListEntries.
	Limit int
	// After is the Next of a listing that this one continues; empty begins.
	After string
}

// ListDirectoryResult is what ListDirectory found.
type ListDirectoryResult struct {
	Path    string
	Entries []FileEntry
	// Truncated says that there are more entries than Limit, or than 4 MiB of
	// paths; Entries are the first of them, and Next leads on.
	Truncated bool
	Next      string
}

// FileType is what kind of file an entry is. The texts are those of the wire.
type FileType string

const (
	// FileRegular is a regular file.
	FileRegular FileType = "file"
	// FileDirectory is a directory.
	FileDirectory FileType = "directory"
	// FileSymlink is a symbolic link, wherever it leads.
	FileSymlink FileType = "symlink"
	// FileOther is a socket, a FIFO or a device.
	FileOther FileType = "other"
)

// FileEntry is an entry of a directory.
type FileEntry struct {
	// Name is the last element of Path, which begins with that of the command. They
	// are bytes, and need be no UTF-8.
	Name, Path string
	Type       FileType
	// Size is in bytes.
	Size int64
	// Mode is the permission bits.
	Mode     uint32
	Modified time.Time
}

// ProgramOptions are what all programs have in common.
type ProgramOptions struct {
	// Stdin is what the program reads first.
	Stdin []byte
	// StdinOpen keeps standard input open behind Stdin, for Execution.Input;
	// otherwise it ends there.
	StdinOpen bool
	// Timeout is the deadline for the program and all that it started; zero for
	// the manager's default, negative for none but that of the session.
	Timeout time.Duration
	// TTY gives the program a terminal of Rows and Columns, 24 and 80 where
	// zero, in place of three streams. What it prints is then all on stdout.
	TTY           bool
	Rows, Columns uint16
}

// Shell runs a program. Its name is historical: no shell is involved, but where
// Args is empty and Name is no program but a line of shell.
type Shell struct {
	// Name is a program, looked up in PATH. Where Args is empty and Name is no
	// program but a line of shell, of any length, bash of the image runs it, or
	// /bin/sh where there is no bash.
	Name string
	Args []string
	// Dir is the working directory; /workspace where empty.
	Dir string
	// Env is added to the session's environment.
	Env map[string]string
	ProgramOptions
}

// Code runs source code as the catalogue says for its language.
type Code struct {
	Code []byte
	// Dir is the working directory, for packages too; /workspace where empty. It
	// has to be there, and has the source while that runs.
	Dir string
	// Language is a name or an alias of the catalogue; the session's where
	// empty. Its toolchain has to be in the session's image.
	Language string
	Args     []string
	// Packages are installed first, as InstallPackages does.
	Packages []string
	// Env is added to the session's environment.
	Env map[string]string
	ProgramOptions
}

// InstallPackages installs packages with the package manager of the session's
// language. One of Packages and RequirementsFile is given.
type InstallPackages struct {
	Packages []string
	// RequirementsFile is a file that lists packages, as the language has it.
	RequirementsFile string
	ProgramOptions
}

func (*WriteFile) command()       {}
func (*ReadFile) command()        {}
func (*CreateDirectory) command() {}
func (*CopyFile) command()        {}
func (*MoveFile) command()        {}
func (*DeleteFile) command()      {}
func (*ListDirectory) command()   {}
func (*Shell) command()           {}
func (*Code) command()            {}
func (*InstallPackages) command() {}

func (c *Shell) program() *ProgramOptions           { return &c.ProgramOptions }
func (c *Code) program() *ProgramOptions            { return &c.ProgramOptions }
func (c *InstallPackages) program() *ProgramOptions { return &c.ProgramOptions }

// Outcome is the answer to a command that was carried out.
type Outcome struct {
	// Result is the result that the command's type names.
	Result any
	// Success is false where a program did not exit with 0.
	Success bool
	// Error is a sentence for a person where Success is false.
	Error    string
	Duration time.Duration
}

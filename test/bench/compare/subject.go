package compare

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
)

// The limits of every sandbox.
const (
	memoryBytes = 512 << 20
	pidsLimit   = 256
	cpuPeriod   = 100_000 // microseconds, as is what is used of it: one core
	userID      = 1000
	workspace   = "/workspace"
)

// Subject makes sandboxes. Its methods are safe for concurrent use, but for
// Close.
type Subject interface {
	// Create returns a sandbox that runs programs.
	Create(ctx context.Context) (Sandbox, error)
	// Daemons are the processes that serve all its sandboxes.
	Daemons() []int
	// Close ends everything that the subject started. No call may be under way
	// or follow.
	Close(ctx context.Context) error
}

// Sandbox is what programs run in. Its methods are safe for concurrent use.
type Sandbox interface {
	// Run runs a program and returns what it printed; one that fails is an error.
	Run(ctx context.Context, args ...string) (string, error)
	Write(ctx context.Context, path string, content []byte) error
	Read(ctx context.Context, path string) ([]byte, error)
	// Delete returns when the subject says that the sandbox is closed.
	Delete(ctx context.Context) error
	// Traces are what the host has of it.
	Traces() Traces
}

// coder is a sandbox that takes Python without a command line.
type coder interface {
	Python(ctx context.Context, code string) (string, error)
}

// Traces are what the host has of a sandbox while it lives.
type Traces struct {
	// Cgroup is its path below each hierarchy.
	Cgroup string
	// Paths are its files and directories.
	Paths []string
	// Shim is an argument that only the processes of its own outside of it have;
	// empty where it has none of its own.
	Shim string
}

// Info says what a subject is.
type Info struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	// How says how it is used, for people.
	How string `json:"how"`
	// Floor says that it makes no sandbox worth the name: what it measures is
	// the least that running a program takes.
	Floor bool `json:"floor,omitempty"`
	// NewOnly says that it differs from an earlier subject in how sandboxes are
	// made alone, and nothing else is measured.
	NewOnly bool `json:"newOnly,omitempty"`
}

// contestant is a subject that runs.
type contestant struct {
	Info
	Subject
	// dir holds what it has on a disk, and state what it has in memory. One of
	// them is in the arguments of each of its processes.
	dir, state string
	// cgroup is the parent of its sandboxes' cgroups.
	cgroup string
	// settle returns when a pool that it has is full; nil where it has none.
	settle func(ctx context.Context) error
}

// The names of subjects, which are what reports compare.
const (
	nameServer     = "codebeaker"
	nameCold       = "codebeaker-cold"
	nameContainerd = "containerd"
	nameDocker     = "docker"
	nameFork       = "fork+exec"
	nameBwrap      = "bubblewrap"
)

// python runs code in the way that the sandbox has for it.
func python(ctx context.Context, s Sandbox, code string) (string, error) {
	if c, ok := s.(coder); ok {
		return c.Python(ctx, code)
	}
	return s.Run(ctx, "python3", "-c", code)
}

// writeCommand and readCommand are how files come and go where a subject has
// only programs.
func writeCommand(path string) []string { return []string{"sh", "-c", `cat >"$0"`, inWorkspace(path)} }

func readCommand(path string) []string { return []string{"cat", inWorkspace(path)} }

func inWorkspace(path string) string { return filepath.Join(workspace, path) }

// output is what a program printed; both are bounded by what the bench runs.
type output struct{ stdout, stderr bytes.Buffer }

// result returns what a program printed, or how it failed.
func (o *output) result(args []string, code int) (string, error) {
	if code != 0 {
		return "", fmt.Errorf("run %s: exit code %d: %.200s", args[0], code, o.stderr.String())
	}
	return o.stdout.String(), nil
}

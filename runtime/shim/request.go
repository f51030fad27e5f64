package shim

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/containerd/errdefs"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"codebeaker/runtime/agent"
	"codebeaker/runtime/agent/wire"
	"codebeaker/runtime/shim/direct"
)

// defaultOOMScore makes programs die before the agent where their
// specification has no score.
const defaultOOMScore = 500

// parseRequest reads the process of an exec, which NewRequest turns into a request.
func parseRequest(spec []byte, agentPath string, terminal bool) (*direct.Request, error) {
	var p specs.Process
	if err := json.Unmarshal(spec, &p); err != nil {
		return nil, fmt.Errorf("read the process's specification: %w: %w", err, errdefs.ErrInvalidArgument)
	}
	return NewRequest(&p, agentPath, terminal)
}

// NewRequest turns the process of an exec into a request, which is still without
// ids. A process that runs the agent in its exec role is the program which that
// would become, started as it says; one in the role of the zygote is the
// container's zygote.
func NewRequest(p *specs.Process, agentPath string, terminal bool) (*direct.Request, error) {
	if p.ApparmorProfile != "" || p.SelinuxLabel != "" {
		return nil, fmt.Errorf("a process with a security label of its own: %w", errdefs.ErrNotImplemented)
	}
	r := &direct.Request{OOMScore: defaultOOMScore, Program: wire.Program{
		Terminal: terminal, UID: p.User.UID, GID: p.User.GID, Groups: p.User.AdditionalGids, Umask: 0o22,
		Dir: p.Cwd, Args: p.Args, Env: p.Env,
	}}
	if p.OOMScoreAdj != nil {
		if *p.OOMScoreAdj < -1000 || *p.OOMScoreAdj > 1000 {
			return nil, fmt.Errorf("score %d for the OOM killer: %w", *p.OOMScoreAdj, errdefs.ErrInvalidArgument)
		}
		r.OOMScore = int16(*p.OOMScoreAdj)
	}
	if p.User.Umask != nil {
		r.Program.Umask = *p.User.Umask
	}
	if box := p.ConsoleSize; box != nil {
		r.Program.Rows, r.Program.Columns = uint16(box.Height), uint16(box.Width)
	}
	for _, l := range p.Rlimits {
		resource, ok := rlimits()[strings.TrimPrefix(l.Type, "RLIMIT_")]
		if !ok {
			return nil, fmt.Errorf("limit %q: %w", l.Type, errdefs.ErrInvalidArgument)
		}
		r.Program.Rlimits = append(r.Program.Rlimits, wire.Rlimit{Resource: resource, Soft: l.Soft, Hard: l.Hard})
	}
	if len(p.Args) > 1 && p.Args[0] == agentPath && p.Args[1] == agent.RoleExec {
		e, err := agent.ParseExec(p.Args[2:])
		if err != nil {
			return nil, fmt.Errorf("read the process's arguments: %w: %w", err, errdefs.ErrInvalidArgument)
		}
		r.Raw, r.Program.Soft, r.Program.Line, r.Program.Args = e.WaitStatus, true, e.Line, e.Args
		r.Program.Fork = e.Fork
		if e.Dir != "" {
			r.Program.Dir = e.Dir
		}
	}
	if len(p.Args) > 2 && p.Args[0] == agentPath && p.Args[1] == agent.RoleZygote {
		r.Program.Zygote, r.Program.Args = true, p.Args[2:]
	}
	return r, nil
}

func rlimits() map[string]uint32 {
	return map[string]uint32{
		"AS": unix.RLIMIT_AS, "CORE": unix.RLIMIT_CORE, "CPU": unix.RLIMIT_CPU, "DATA": unix.RLIMIT_DATA,
		"FSIZE": unix.RLIMIT_FSIZE, "LOCKS": unix.RLIMIT_LOCKS, "MEMLOCK": unix.RLIMIT_MEMLOCK,
		"MSGQUEUE": unix.RLIMIT_MSGQUEUE, "NICE": unix.RLIMIT_NICE, "NOFILE": unix.RLIMIT_NOFILE,
		"NPROC": unix.RLIMIT_NPROC, "RSS": unix.RLIMIT_RSS, "RTPRIO": unix.RLIMIT_RTPRIO,
		"RTTIME": unix.RLIMIT_RTTIME, "SIGPENDING": unix.RLIMIT_SIGPENDING, "STACK": unix.RLIMIT_STACK,
	}
}

// explain says why a program could not be started.
func explain(r wire.Report, p *wire.Program) error {
	errno := r.Errno
	var class error = errdefs.ErrUnknown
	var doing string
	switch r.Stage {
	case wire.StageExec:
		doing = fmt.Sprintf("exec %q", p.Args[0])
		if errno == unix.ENOENT {
			class = errdefs.ErrNotFound
		}
	case wire.StageDirectory:
		doing = fmt.Sprintf("change to directory %q", p.Dir)
	case wire.StageTerminal:
		doing = "open a terminal"
	case wire.StageFork:
		doing = "fork"
		if errno == wire.ErrZygoteSilent {
			doing = "fork from the container's zygote, which did not answer"
			class = errdefs.ErrUnavailable
		}
		if errno == unix.ESRCH {
			class = errdefs.ErrUnavailable // killed before it ran
		}
	case wire.StageCgroup:
		doing = "enter the cgroup"
	case wire.StageStreams:
		doing = "set up the streams"
	case wire.StageLimits:
		doing = "set limits"
	case wire.StageUser:
		doing = fmt.Sprintf("become user %d", p.UID)
	case wire.StageFilter:
		doing = "filter system calls"
	default:
		doing = "prepare"
	}
	if errno == unix.ENOMEM || errno == unix.EAGAIN {
		class = errdefs.ErrResourceExhausted
	}
	return fmt.Errorf("%s: %w: %w", doing, errno, class)
}

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

// ProgramOOMScore is the oom_score_adj of programs. It makes the kernel kill them
// before the agent, whose memory is far less than half of the smallest session's.
const ProgramOOMScore = 500

// parseRequest reads the process of an exec that comes through containerd. The
// request is still without ids. A process that runs the agent in its exec role is the
// program which that would become; one in the role of the zygote is the container's
// zygote.
func parseRequest(spec []byte, agentPath string, terminal bool) (*direct.Request, error) {
	var p specs.Process
	if err := json.Unmarshal(spec, &p); err != nil {
		return nil, fmt.Errorf("read the process's specification: %w: %w", err, errdefs.ErrInvalidArgument)
	}
	if p.ApparmorProfile != "" || p.SelinuxLabel != "" {
		return nil, fmt.Errorf("a process with a security label of its own: %w", errdefs.ErrNotImplemented)
	}
	r := &direct.Request{OOMScore: ProgramOOMScore, Program: wire.Program{
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
	var err error
	if r.Program.Rlimits, err = Rlimits(p.Rlimits); err != nil {
		return nil, err
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

// Rlimits turns the limits of a specification into those of a program. A limit of an
// unknown name is an errdefs.ErrInvalidArgument.
func Rlimits(limits []specs.POSIXRlimit) ([]wire.Rlimit, error) {
	var all []wire.Rlimit
	for _, l := range limits {
		resource, ok := rlimits()[strings.TrimPrefix(l.Type, "RLIMIT_")]
		if !ok {
			return nil, fmt.Errorf("limit %q: %w", l.Type, errdefs.ErrInvalidArgument)
		}
		all = append(all, wire.Rlimit{Resource: resource, Soft: l.Soft, Hard: l.Hard})
	}
	return all, nil
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

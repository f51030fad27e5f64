package runtime

import (
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"codebeaker/runtime/agent"
	"codebeaker/runtime/agent/wire"
	"codebeaker/runtime/shim"
	"codebeaker/runtime/shim/direct"
)

// role is what a process of a container is for.
type role int

const (
	// roleExec is a program of a client, as the session's user.
	roleExec role = iota
	// roleFiles is the helper for the container's files, as the session's user.
	roleFiles
	// roleZygote is the container's zygote, as root.
	roleZygote
)

// zygoteScore makes the kernel kill the zygote after the programs and before the
// agent if memory is short.
const zygoteScore = 100

// program is what a process of a container runs.
type program struct {
	role role
	// args are those of a roleExec: the program and its arguments. Of a roleZygote
	// they are the interpreter and the modules that it loads.
	args, env []string
	// The rest is of a roleExec, as in ExecOptions.
	dir        string
	line, fork bool
	terminal   *Size
	noInput    bool
}

// slotKind is the kind of the slot that the program needs.
func (p *program) slotKind() slotKind {
	if p.role == roleZygote {
		return zygoteSlot
	}
	return execSlot
}

// request is the program for a shim that starts it without containerd.
func (p *program) request(c *Container, id string) *direct.Request {
	r := &direct.Request{Container: c.id, ID: id, OOMScore: shim.ProgramOOMScore, Raw: true, Program: wire.Program{
		UID: UserID, GID: UserID, Umask: 0o22, Rlimits: c.rlimits, Dir: c.pid1.Cwd, Args: p.args, Env: p.env,
	}}
	switch p.role {
	case roleFiles:
		r.Program.Args = []string{agentPath, agent.RoleFiles}
	case roleZygote:
		r.OOMScore, r.Program.Zygote = zygoteScore, true
		r.Program.UID, r.Program.GID = 0, 0
	case roleExec:
		r.Program.Soft, r.Program.Dir, r.Program.Line, r.Program.Fork = true, p.dir, p.line, p.fork
		if p.terminal != nil {
			r.Program.Terminal, r.Program.Rows, r.Program.Columns = true, p.terminal.Rows, p.terminal.Columns
		}
	}
	return r
}

// process is the program for containerd's Task service: a process that runs the agent
// in a role. starts says that the shim starts the program itself.
func (p *program) process(c *Container, starts bool) *specs.Process {
	switch p.role {
	case roleFiles:
		return execProcess(c.pid1, []string{agent.RoleFiles}, p.env, nil)
	case roleZygote:
		process := execProcess(c.pid1, append([]string{agent.RoleZygote}, p.args...), p.env, nil)
		score := zygoteScore
		process.User, process.OOMScoreAdj = specs.User{}, &score
		return process
	case roleExec:
	}
	args := agent.ExecArgs{
		Dir: p.dir, Line: p.line, Terminal: p.terminal != nil, WaitStatus: starts, Fork: starts && p.fork, Args: p.args,
	}
	return execProcess(c.pid1, append([]string{agent.RoleExec}, args.Format()...), p.env, p.terminal)
}

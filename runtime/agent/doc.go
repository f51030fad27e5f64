// Package agent is the code that runs inside every session, in the small
// static binary codebeaker-agent. The host binds the binary read-only into the
// session, executable and not readable, so that the kernel keeps every process
// of it from being traced or opened by the session's programs.
//
// It has three roles, named by its first argument:
//
//   - init is pid 1 of the session. It reaps orphans and otherwise waits. It
//     runs as the session's root, which the session's programs, running as
//     another user, cannot signal. Where a shim gives it a socket it starts
//     programs as well (package wire): it forks, and the process enters its
//     cgroups and becomes its user before the shim, which has seen where it
//     is, lets it become the program. For that init has the capabilities to
//     change users, and else none; what it starts never has one.
//   - exec starts one program for a shim that knows nothing of the agent. It
//     waits for a byte on standard input, which the host writes after it has
//     put the process into the execution's cgroup, and then becomes the
//     program. So with either, no program runs outside its cgroup, and neither
//     does a child of it.
//   - files serves the session's files on standard input and output, as the
//     session's user, in packets that carry a FileRequest or a FileReply and a
//     piece of a file (Packets).
//
// Where the shim asks for it, init has a zygote beside it, an interpreter that
// forks itself into programs (zygote.go).
//
// The agent trusts its arguments, its standard input and its socket, which come
// from the host, and nothing else. No program inherits the socket.
package agent

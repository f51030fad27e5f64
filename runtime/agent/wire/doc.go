// Package wire is what the shim of package shim and the agent that is pid 1 of
// its containers say to each other. Version 4.
//
// They speak over one SOCK_SEQPACKET pair. The shim makes it, keeps one end, and
// gives the other to pid 1 as an inherited descriptor, which pid 1 marks
// close-on-exec before it does anything else: no program ever has it. Each
// message is one packet of a header and, in Start alone, a body. Nothing is
// ever answered with text from inside a session. The header is package frame's.
//
//	from     kind     argument        detail        descriptors
//	agent    Hello    Version         -             -
//	shim     Start    bytes of body   1: in a file  streams, cgroup, tasks, gate, file
//	agent    Ready    -               1: forked     pidfd, terminal
//	agent    Failed   Stage           errno         -
//	agent    Exited   status          KiB           -
//
// The agent says Hello first and once, with id 0. Every other message is about
// one program, whose id the shim chose, above 0 and never again in the life of
// the agent:
//
//	Start ─▶ Ready ─▶ Exited
//	     └▶ Failed
//
// On Start the agent makes the program's process, and Ready has its pidfd, which
// shows the shim which process of the host it is. Failed says that there is none.
// Exited has the status as wait(2) gives it, and the most memory that the program or
// a process that it waited for had resident, as getrusage(2) does. It comes when the
// process has been reaped, whatever became of it.
//
// The rest the shim and the process say to each other, over the program's gate:
// another SOCK_SEQPACKET pair of the shim's, whose one end the process alone has
// once it is made, and which execve closes.
//
//	process  Report   stage u32, errno u32; of the machine's byte order
//	shim     go       one byte
//
// The process does all that may be done beforehand: it enters its cgroups, takes
// its streams, its limits, its user and its filter of system calls. Then it
// reports stage 0, and waits. The shim looks at where the kernel has it and does
// what only the host can (the score for the OOM killer), and says go; where it
// closes the gate instead, the process ends without a trace. The end of the gate
// after go says that the process has become the program, and a second report why
// it could not. A first report of another stage is one of a process that ends.
// Where Start has Soft, there is no second report, and the shim need not wait for
// the end of the gate: a program that cannot be found or executed prints a line
// on its standard error and has the exit code 126 or 127, as in a shell.
//
// A Start with Zygote makes the container's zygote (package agent), of which there
// is one at a time; for the shim it is a program as any other. One with Fork may
// be made by it, and the shim learns that from Ready alone: all else is the same.
// Where the zygote does not answer, Failed has ErrZygoteSilent: the shim closes the gate,
// waits until nothing is in the program's cgroup and asks again without Fork.
//
// Bounds: a packet is at most MaxMessage bytes with MaxFDs descriptors, a body
// MaxStart bytes. A body that does not fit a packet is a sealed file, the last
// descriptor. Each side takes what does not parse, comes out of turn or is
// about an unknown id as the end: the agent ends itself, and with it the
// container; the shim kills the container. The end of the socket is the end of
// the container too, whichever side it comes from.
//
// The agent trusts the socket. The shim trusts nothing that comes back: a
// descriptor is used only after the kernel said that it is a pidfd of a process
// in the container's cgroup, or a terminal's; a status is only reported. The gate
// is the shim's own, and what comes over it, from a process of the session, decides
// nothing but that the shim goes on to ask the kernel.
package wire

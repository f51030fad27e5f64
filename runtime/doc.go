// Package runtime runs sandboxes as containerd containers.
//
// A container here is one sandbox: a containerd container, its task, the
// cgroup of both, and an agent as pid 1. A process is one program started in it
// by a task exec, in a cgroup of its own below the container's. A shim is the
// containerd runtime that does it, which the configuration names. Two serve out
// of the daemon's own binary (package shim): one that has the agent start the
// programs, which is the default, and runc's. What differs between them is in
// the specification (letStart), in who puts a program into its cgroup (Exec) and
// in the daemon's ends of its FIFOs (openFIFOs). With the first, many containers
// share a shim that is started ahead of need (shims), and which starts programs
// at a word of the daemon's own (package shim/direct) rather than of containerd's.
//
// Lifecycle: Create makes and starts a container and returns it when pid 1
// runs and the limits that the kernel holds are those that were asked for. Exec
// starts a process and returns it when it runs in its cgroup; Wait tells its
// end, Kill ends it with all that it started, and Close, which its owner always
// owes, forgets it. Delete ends and removes a container with everything in it,
// whatever state it is in, and may be called again after a failure. Containers
// and shims outlive the daemon; Leftovers finds those of an earlier one.
//
// The rootfs is the caller's: a snapshot that is prepared for the container's
// id range before Create and removed after Delete. The Runtime borrows the
// containerd client and closes nothing.
package runtime

// Package session manages sandboxes that run untrusted programs.
//
// A session is one container with an overlay snapshot of its own on a
// language image, an agent as its pid 1, and limits that the kernel enforces.
// A command is what a client asks of a session: to run a program, or to write,
// read or otherwise handle a file. File commands are carried out by a helper
// inside the session, as the session's user, so that the host never opens a
// path that a session can change.
//
// An execution is what a command to run a program starts: a program, or a few
// steps of which each has to succeed before the next, as compiling before
// running. It has an id of its own, is fed, signalled, resized and cancelled by
// it, and belongs to no client: it ends by itself, at its deadline, by Cancel or
// with its session. What it prints is kept, up to a limit, by byte offset
// (package output), and with its result for a while after its end.
//
// Code of a language that has a zygote (Options.Zygotes) is forked from an
// interpreter that is ready in the session, in place of starting one; the result
// is the same (zygote.go).
//
// Lifecycle: Create answers when the container runs and its limits were read
// back (StateActive); it takes a container that was started before from the warm
// pool (pool.go) or starts one. Execute moves the session to StateActive while a
// program runs and to StateIdle after it. Close moves it to StateClosing at
// once, refuses further commands and ends what still runs; when that has ended
// the session is forgotten and Close answers. Task, container, snapshot, mounts,
// cgroups and FIFOs are removed behind, a bounded number of them at one time, and
// what cannot be removed is tried again, slower, until it can. A session whose task died by itself, whose time is over or that nobody used for
// too long closes in the same way.
//
// The Manager owns every session and every goroutine that works for one. Its
// methods are safe for concurrent use; commands for one session that arrive
// together run together, and whoever needs an order sends the next command
// after the answer to the last.
//
// A session is recorded nowhere but in containerd, as labels of its container:
// there is no second store to disagree with it. What a crashed daemon left
// behind is removed by Manager.Recover before the first Create.
package session

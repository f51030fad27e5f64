// Package sched says how CodeBeaker's own processes share the processors with the
// programs that they start. The server, its shims and the agent, pid 1 of every
// session, are woken again and again for a moment by one another, a dozen times
// for each program. What a client waits for is mostly how soon each of them runs
// after it was woken. So they
//
//   - ask the kernel to run them soon (ShortenSlices),
//   - let the Go runtime look after its own threads less often (SlowMonitor), and
//   - leave half of the processors to the programs (LeaveProcessors).
//
// Programs have none of that: a session gets no more of the processors, and no
// sooner, than the host's other processes.
package sched

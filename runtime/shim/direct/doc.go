// Package direct is how a server has a shared shim start programs, without
// containerd in between. Both are of one build, as a server starts its shims from
// its own binary, and so no version is told.
//
// Through containerd a program takes some ten questions to its shim, one after
// another: Exec, Start, Wait, CloseIO, Delete, and the state of the process
// before most of them. Here it is one message each way until it runs and one more
// when it has ended. It is an exec as any other all the same: containerd's Task
// service, and so ctr, finds it by its id, and its events are published.
//
// The shim listens on a SOCK_SEQPACKET socket beside its other one, where only
// root can reach it. Whoever connects may have programs started in any of the
// shim's containers, and forgets them. Each message is one packet
// with the header of package frame:
//
//	from     kind      argument        detail         body     descriptors
//	server   Start     bytes of body   1: in a file   Request  streams, file
//	shim     Started   pid             1: forked      -        -
//	shim     Failed    gRPC's code     -              text     -
//	shim     Exited    status          KiB            -        -
//	server   Forget    -               -              -        -
//	shim     Event     -               -              Envelope -
//
// The server chooses the id of a program, never the same twice on a connection.
//
//	Start ─▶ Started ─▶ Exited ─▶ Forget
//	     └▶ Failed
//
// Forget may come at any time after Start. It ends what still runs, as the
// deletion of an exec does. A program that failed is forgotten already.
//
// The streams are pipes (Streams): first the ends of the program, its input and
// then its outputs, of which a terminal has one; then the other ends, outputs
// first, which the shim holds as well, so that nothing a program does depends on
// whether the server still lives. Where the other end of the input is missing, the
// program reads the end of it at once. With a terminal, no end blocks, as they are
// those of the shim's copiers.
//
// Event, with id 0, is what the shim would publish through containerd else, as
// containerd's API has it: the server runs containerd, and hands it on in the order
// in which it came.
//
// The end of a connection changes nothing for programs that run. The server is
// trusted, as it is what started the shim; a message that does not parse ends the
// connection.
package direct

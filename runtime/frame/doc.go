// Package frame is what the packets of two protocols have in common: that between the
// shim and the agent (package wire) and that between the server and the shim (package
// direct).
//
// A packet is one message of a SOCK_SEQPACKET socket: a header, a body, and
// descriptors. A protocol says which kinds of messages it has, what the header's
// fields mean, and how large a packet may be. A body that does not fit into a packet
// is in a sealed file, whose descriptor comes with the packet.
//
//	header   kind u8, id u32, argument u32, detail u32; little endian
package frame

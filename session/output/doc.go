// Package output keeps what a program prints, for those who read it while the
// program runs and for those who come later.
//
// A Log is one stream. A byte's offset is how many bytes the program printed
// before it. The window is the part of the stream that is kept, always without
// a gap and always up to the last byte: once there is more than the log may
// keep, its start moves on. What is kept is in memory as long as it is little;
// what is more goes to a file of a Spill, where there is one, that has no name
// and so is gone with the process, however that ends.
//
// A Reader is one who reads a Log from an offset on, at a speed of its own. It
// holds nothing but its offset and one chunk, so that any number of them, and
// of any slowness, cost little; one that is so slow that the window passes it
// is told what it lost. Writing waits for no reader.
//
// A Log may have several writers, such as both streams of a program that go into
// one. Whoever makes a Log ends it with Close when there is no more, and frees
// what it keeps with Discard. All methods of a Log are safe for concurrent use; a
// Reader is for one goroutine.
package output

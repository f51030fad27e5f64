// Package compare measures this product beside what else runs programs in
// containers, on one machine, in one run.
//
// A subject is one of the things that are compared: a server of ours, stock
// containerd, Docker, or a floor that has no container at all. It makes
// sandboxes from one and the same image, with the same limits, and its sandboxes
// run programs and hold files. A measure is what is timed (create, echo, ...), a
// mode how it is asked for: one after another (sequential), a number at one time
// (burst, and burst again, which a pool may be ready for), or a number at an even
// interval (staggered). A cell is a measure in a mode of a subject, and holds a
// sample for each time that it was done.
//
// Run goes through all cells in rounds, the subjects in turns, so that what else
// happens on the machine meets all of them. What it returns, the Report, is
// written as a table or as JSON.
//
// Everything that a run starts is below one directory and one prefix of cgroups;
// Run ends it, also after an interrupt, and looks whether anything is left.
package compare

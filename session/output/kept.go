package output

import "sync/atomic"

// Kept counts what logs keep, for metrics: without their locks, one of which is
// held while a disk is written to. The zero value is ready, and nil counts
// nothing.
type Kept struct{ memory, files atomic.Int64 }

// Bytes returns how many bytes the logs take in memory and in files.
func (k *Kept) Bytes() (memory, files int64) { return k.memory.Load(), k.files.Load() }

// account tells the log's Kept what has changed. The caller holds mu.
func (l *Log) account() {
	if l.kept == nil {
		return
	}
	memory, file := int64(len(l.ring)), int64(0)
	if l.file != nil {
		file = min(l.end, l.size)
	}
	l.kept.memory.Add(memory - l.inMemory)
	l.kept.files.Add(file - l.inFile)
	l.inMemory, l.inFile = memory, file
}

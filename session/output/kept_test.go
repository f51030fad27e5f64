package output

import (
	"testing"
)

func TestKeptCountsWhatLogsTake(t *testing.T) {
	kept := &Kept{}
	is := func(when string, wantMemory, wantFiles int64) {
		t.Helper()
		if memory, files := kept.Bytes(); memory != wantMemory || files != wantFiles {
			t.Errorf("%s: %d bytes in memory and %d in files; want %d and %d", when, memory, files, wantMemory, wantFiles)
		}
	}
	write := func(l *Log, n int) {
		t.Helper()
		if _, err := l.Write(pattern(n)[:n]); err != nil {
			t.Fatal(err)
		}
	}
	spill := spillTo(t, 4000, 4000)
	small, large, denied := NewLog(1000, spill, kept), NewLog(1000, spill, kept), NewLog(1000, spill, kept)
	is("empty", 0, 0)
	write(small, 10)
	is("a ring of the least size", 512, 0)
	write(small, 700)
	is("a ring that grew", 1000, 0)
	write(large, 1500)
	is("a file", 1000, 1500)
	write(large, 9000)
	is("a file that is full", 1000, 4000)
	write(denied, 1500)
	is("a ring for want of another file", 2000, 4000)
	small.Close()
	is("closed", 2000, 4000)
	small.Discard()
	small.Discard()
	is("discarded", 1000, 4000)
	large.Discard()
	denied.Discard()
	write(denied, 10)
	is("nothing left", 0, 0)
}

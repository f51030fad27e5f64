package output

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"unicode/utf8"
)

func spillTo(t *testing.T, file, most int64) *Spill {
	t.Helper()
	s, err := NewSpill(t.TempDir(), file, most, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// logs returns a log of each kind that keeps 1000 bytes.
func logs(t *testing.T) map[string]*Log {
	t.Helper()
	return map[string]*Log{
		"memory": NewLog(1000, nil, nil),
		"file":   NewLog(100, spillTo(t, 1000, 1000), nil),
	}
}

// pattern is text of which every part tells its offset.
func pattern(n int) []byte {
	var b bytes.Buffer
	for b.Len() < n {
		fmt.Fprintf(&b, "%07d\n", b.Len())
	}
	return b.Bytes()[:n]
}

func TestLogKeepsTheEndWithoutAGap(t *testing.T) {
	want := pattern(12345)
	for name, l := range logs(t) {
		t.Run(name, func(t *testing.T) {
			for rest := want; len(rest) > 0; {
				n := min(len(rest), 1+rand.IntN(700))
				if _, err := l.Write(rest[:n]); err != nil {
					t.Fatal(err)
				}
				rest = rest[n:]
				end := int64(len(want) - len(rest))
				start, gotEnd, _ := l.Window()
				small := l.file == nil && start == max(0, end-int64(l.memory))
				if gotEnd != end || start != max(0, end-1000) && !small {
					t.Fatalf("window %d-%d after %d bytes", start, gotEnd, end)
				}
				p := make([]byte, end-start)
				n, from, err := l.readAt(p, 0)
				if err != nil || from != start || !bytes.Equal(p[:n], want[start:end]) {
					t.Fatalf("read %d bytes from %d, %v", n, from, err)
				}
			}
			if tail, offset, err := l.Tail(10); err != nil || offset != 12335 || string(tail) != string(want[12335:]) {
				t.Errorf("Tail: %q at %d, %v", tail, offset, err)
			}
		})
	}
}

func TestLogDropsWhatComesAfterItsEnd(t *testing.T) {
	for _, l := range logs(t) {
		l.Write(pattern(500))
		l.Close()
		l.Write(pattern(500))
		if _, end, ended := l.Window(); end != 500 || !ended {
			t.Errorf("window ends at %d, %v", end, ended)
		}
	}
}

func TestSpillIsBoundedAndGivenBack(t *testing.T) {
	s := spillTo(t, 1000, 2000)
	fill := func() *Log {
		l := NewLog(100, s, nil)
		l.Write(pattern(5000))
		return l
	}
	kept := func(l *Log) int64 {
		start, end, _ := l.Window()
		return end - start
	}
	a, b, c := fill(), fill(), fill()
	if kept(a) != 1000 || kept(b) != 1000 || kept(c) != 100 {
		t.Errorf("kept %d, %d and %d bytes; want 1000, 1000 and 100", kept(a), kept(b), kept(c))
	}
	a.Discard()
	if kept(a) != 0 {
		t.Error("a discarded log keeps something")
	}
	if d := fill(); kept(d) != 1000 {
		t.Errorf("kept %d bytes after another was discarded", kept(d))
	}
	if names, err := os.ReadDir(s.dir); err != nil || len(names) != 0 {
		t.Errorf("files have names: %v, %v", names, err)
	}
}

func TestBrokenFileLosesOutputAndSaysSo(t *testing.T) {
	l := NewLog(100, spillTo(t, 1000, 1000), nil)
	l.Write(pattern(500))
	r := NewReader(l, 0)
	l.file.Close()
	l.Write(pattern(500))
	lost := (*LostError)(nil)
	if _, err := r.Next(t.Context()); !errors.As(err, &lost) || lost.From != 0 || lost.To != 1000 {
		t.Errorf("after a failed write: %v", err)
	}
	l.Close()
	if _, err := r.Next(t.Context()); !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %v", err)
	}
}

func TestReaderGetsWhatIsWrittenWhenItIsWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLog(0, nil, nil)
		r := NewReader(l, 0)
		got := make(chan string)
		go func() {
			defer close(got)
			for {
				c, err := r.Next(t.Context())
				if err != nil {
					return
				}
				got <- string(c.Data)
			}
		}()
		for _, text := range []string{"a", "b\n", "c"} {
			l.Write([]byte(text))
			if s := <-got; s != text {
				t.Errorf("got %q; want %q", s, text)
			}
			synctest.Wait() // it waits for more
		}
		l.Close()
		if s, open := <-got; open {
			t.Errorf("got %q after the end", s)
		}
	})
}

func TestReaderEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := NewReader(NewLog(0, nil, nil), 0).Next(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Next: %v", err)
	}
}

func TestReaderThatIsPassedIsToldWhatItLost(t *testing.T) {
	for name, l := range logs(t) {
		r := NewReader(l, 0)
		l.Write(pattern(3000))
		start, _, _ := l.Window()
		lost := (*LostError)(nil)
		if _, err := r.Next(t.Context()); !errors.As(err, &lost) || lost.From != 0 || lost.To != start {
			t.Fatalf("%s: %v; want bytes 0 to %d lost", name, err, start)
		}
		if c, err := r.Next(t.Context()); err != nil || c.Offset != start || !bytes.Equal(c.Data, pattern(3000)[start:]) {
			t.Errorf("%s: then %d bytes at %d, %v", name, len(c.Data), c.Offset, err)
		}
	}
}

func TestReaderStartsInTheWindow(t *testing.T) {
	l := NewLog(1000, nil, nil)
	l.Write(pattern(3000))
	for asked, want := range map[int64]int64{-1: 2000, 0: 2000, 2500: 2500, 9999: 3000} {
		if r := NewReader(l, asked); r.Offset() != want {
			t.Errorf("asked for %d, starts at %d; want %d", asked, r.Offset(), want)
		}
	}
}

func TestChunksCutNoCharacter(t *testing.T) {
	text := strings.Repeat("aé€🎉", 20000)
	l := NewLog(len(text), nil, nil)
	r := NewReader(l, 0)
	go func() {
		defer l.Close()
		for rest := text; rest != ""; {
			n := min(len(rest), 1+rand.IntN(9))
			l.Write([]byte(rest[:n]))
			rest = rest[n:]
		}
	}()
	var got strings.Builder
	for {
		c, err := r.Next(t.Context())
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if !c.Text || !utf8.Valid(c.Data) || c.Offset != int64(got.Len()) {
			t.Fatalf("chunk at %d (want %d) is text: %v: %q", c.Offset, got.Len(), c.Text, c.Data)
		}
		got.Write(c.Data)
	}
	if got.String() != text {
		t.Error("the chunks are not what was written")
	}
}

func TestCut(t *testing.T) {
	binary := bytes.Repeat([]byte{0xff, 'a', 0xfe, 0x00}, 100)
	for _, test := range []struct {
		name  string
		data  string
		final bool
		n     int
		text  bool
	}{
		{"nothing", "", false, 0, true},
		{"text", "abc", false, 3, true},
		{"a character that is not whole", "\xe2\x82", false, 0, false},
		{"one that never will be", "\xe2\x82", true, 2, false},
		{"text before one", "abc\xe2\x82", false, 3, true},
		{"an offset inside of one", "\x82\xacabc", false, 2, false},
		{"text around a wrong byte", "abcabc\xffabc", false, 6, true},
		{"binary", string(binary), false, len(binary), false},
		{"binary before the start of a character", string(binary) + "\xe2", false, len(binary), false},
	} {
		if n, text := cut([]byte(test.data), test.final); n != test.n || n > 0 && text != test.text {
			t.Errorf("%s: cut to %d, text %v; want %d, %v", test.name, n, text, test.n, test.text)
		}
	}
}

func TestTailDoesNotBeginInsideOfACharacter(t *testing.T) {
	l := NewLog(0, nil, nil)
	l.Write([]byte("a€b"))
	if tail, offset, err := l.Tail(3); err != nil || string(tail) != "b" || offset != 4 {
		t.Errorf("Tail: %q at %d, %v", tail, offset, err)
	}
}

// Readers of all speeds beside a writer: what each gets is what was written at
// its offset, and with what it was told is lost, it is everything.
func TestReadersBesideAWriter(t *testing.T) {
	const size = 1 << 20
	want := make([]byte, size)
	for i := range want {
		want[i] = byte(rand.Uint32())
	}
	l := NewLog(1<<10, spillTo(t, 64<<10, 64<<10), nil)
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			r := NewReader(l, 0)
			at := r.Offset() // not 0 where the writer is ahead
			for {
				c, err := r.Next(t.Context())
				lost := (*LostError)(nil)
				switch {
				case errors.As(err, &lost) && lost.From == at:
					at = lost.To
				case errors.Is(err, io.EOF):
					if at != size {
						t.Errorf("it ends at %d", at)
					}
					return
				case err != nil || c.Offset != at || !bytes.Equal(c.Data, want[at:at+int64(len(c.Data))]):
					t.Errorf("at %d: %d bytes at %d, %v", at, len(c.Data), c.Offset, err)
					return
				default:
					at += int64(len(c.Data))
				}
			}
		})
	}
	for rest := want; len(rest) > 0; {
		n := min(len(rest), 1+rand.IntN(5000))
		l.Write(rest[:n])
		rest = rest[n:]
	}
	l.Close()
	readers.Wait()
}

func FuzzCut(f *testing.F) {
	f.Add([]byte("aé€🎉\xff\xe2\x82"), true)
	f.Add([]byte("\x82\xacabc"), false)
	f.Fuzz(func(t *testing.T, data []byte, final bool) {
		n, text := cut(data, final)
		switch {
		case n < 0 || n > len(data):
			t.Fatalf("cut to %d of %d", n, len(data))
		case n == 0 && len(data) >= utf8.UTFMax, n == 0 && final && len(data) > 0:
			t.Fatalf("no progress with %q", data)
		case n > 0 && text != utf8.Valid(data[:n]) && text:
			t.Fatalf("not text: %q", data[:n])
		}
	})
}

func TestLogTakesSeveralWriters(t *testing.T) {
	const writers, lines = 4, 2000
	whole := writers * lines * len(writerLine(0, 0))
	for name, l := range map[string]*Log{
		"memory": NewLog(whole, nil, nil),
		"file":   NewLog(100, spillTo(t, int64(whole), int64(whole)), nil),
	} {
		t.Run(name, func(t *testing.T) {
			var writing sync.WaitGroup
			for w := range writers {
				writing.Go(func() {
					for n := range lines {
						_, _ = l.Write(writerLine(w, n))
					}
				})
			}
			writing.Wait()
			l.Close()
			text, from, err := l.Tail(whole)
			if err != nil || from != 0 || len(text) != whole {
				t.Fatalf("%d bytes are kept from %d on, %v; want all %d", len(text), from, err, whole)
			}
			var seen [writers]int
			for line := range bytes.Lines(text) {
				var w, n int
				if _, err := fmt.Sscanf(string(line), "writer %d line %d\n", &w, &n); err != nil || !bytes.Equal(line, writerLine(w, n)) {
					t.Fatalf("a line that nobody wrote: %q", line)
				}
				if n != seen[w] {
					t.Fatalf("writer %d's line %d comes where its line %d should", w, n, seen[w])
				}
				seen[w]++
			}
		})
	}
}

func writerLine(writer, n int) []byte { return fmt.Appendf(nil, "writer %d line %05d\n", writer, n) }

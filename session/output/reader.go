package output

import (
	"context"
	"fmt"
	"io"
	"unicode/utf8"
)

// ChunkBytes is the most that a Chunk holds.
const ChunkBytes = 32 << 10

// Chunk is a piece of a stream.
type Chunk struct {
	// Offset is that of the first byte.
	Offset int64
	// Data is valid until the next call of the Reader.
	Data []byte
	// Text says that Data is valid UTF-8, with no character cut at its ends.
	Text bool
}

// LostError is output that is not kept any more.
type LostError struct {
	// From and To are the offsets of the first byte that is lost and of the one
	// after the last.
	From, To int64
}

func (e *LostError) Error() string {
	return fmt.Sprintf("output from byte %d to %d is not kept any more", e.From, e.To)
}

// Reader reads a Log. It is for one goroutine.
type Reader struct {
	log    *Log
	offset int64
	buf    []byte
}

// NewReader returns a Reader that starts at offset, or where that is not in the
// window, at the nearest end of it.
func NewReader(l *Log, offset int64) *Reader {
	start, end, _ := l.Window()
	return &Reader{log: l, offset: min(max(offset, start), end), buf: make([]byte, ChunkBytes)}
}

// Offset returns where the next chunk starts.
func (r *Reader) Offset() int64 { return r.offset }

// Next returns the next piece as soon as there is one. At the end of the stream
// it returns io.EOF. Where the window has passed the reader, it returns a
// *LostError, and goes on behind the gap.
func (r *Reader) Next(ctx context.Context) (Chunk, error) {
	for {
		_, end, ended := r.log.Window()
		n, from, err := r.log.readAt(r.buf, r.offset)
		if err != nil {
			return Chunk{}, err
		}
		if from > r.offset {
			lost := &LostError{From: r.offset, To: from}
			r.offset = from
			return Chunk{}, lost
		}
		// More may have come since the window was asked for, but no less.
		last := ended && r.offset+int64(n) == end
		if n, text := cut(r.buf[:n], last || n == len(r.buf)); n > 0 {
			c := Chunk{Offset: r.offset, Data: r.buf[:n], Text: text}
			r.offset += int64(n)
			return c, nil
		}
		if last {
			return Chunk{}, io.EOF
		}
		changed := r.log.wait(r.offset + int64(n))
		if changed == nil {
			continue
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return Chunk{}, ctx.Err()
		}
	}
}

// cut returns how much of data is the next chunk, and whether that is text. It
// is 0 where data may be the start of a character of which the rest is still to
// come. final says that data will not grow.
func cut(data []byte, final bool) (n int, text bool) {
	valid := validPrefix(data)
	rest := data[valid:]
	partial := len(rest) > 0 && !utf8.FullRune(rest)
	switch {
	case len(rest) == 0:
		return valid, true
	case valid > 0 && (partial || valid >= len(data)/2):
		return valid, true
	case partial && !final:
		return 0, false
	}
	// Not text. Where text follows a few such bytes, as at an offset inside of
	// a character, they go alone.
	skip := valid + 1
	for skip < len(data) && skip <= valid+utf8.UTFMax && !utf8.RuneStart(data[skip]) {
		skip++
	}
	behind := data[skip:]
	if tail := behind[validPrefix(behind):]; len(behind) > 0 && (len(tail) == 0 || !utf8.FullRune(tail)) {
		return skip, false
	}
	return len(data) - trailingPartial(data), false
}

// validPrefix returns how many bytes at the start of data are valid UTF-8.
func validPrefix(data []byte) int {
	if utf8.Valid(data) {
		return len(data)
	}
	n := 0
	for n < len(data) {
		r, size := utf8.DecodeRune(data[n:])
		if r == utf8.RuneError && size == 1 {
			break
		}
		n += size
	}
	return n
}

// trailingPartial returns how many bytes at the end of data may be the start of
// a character, where that is not all of data.
func trailingPartial(data []byte) int {
	for n := 1; n < utf8.UTFMax && n < len(data); n++ {
		if tail := data[len(data)-n:]; utf8.RuneStart(tail[0]) {
			if utf8.FullRune(tail) {
				return 0
			}
			return n
		}
	}
	return 0
}

// leadingContinuation returns how many bytes at the start of data are the rest
// of a character.
func leadingContinuation(data []byte) int {
	n := 0
	for n < len(data) && n < utf8.UTFMax-1 && !utf8.RuneStart(data[n]) {
		n++
	}
	return n
}

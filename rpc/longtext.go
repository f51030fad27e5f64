package rpc

import (
	"encoding/base64"
	"encoding/json"
	"slices"
	"strconv"
)

// longText is a text of a result that may be nearly all of it. encoding/json
// would copy it several times on its way, in buffers that have to grow.
type longText struct {
	content []byte
	// base64 says that it is written as that; otherwise it is UTF-8.
	base64 bool
}

// MarshalJSON is for a result that does not write itself.
func (t longText) MarshalJSON() ([]byte, error) { return t.appendJSON(nil), nil }

// size is how long it will be about.
func (t longText) size() int {
	if t.base64 {
		return base64.StdEncoding.EncodedLen(len(t.content))
	}
	return len(t.content) + len(t.content)/16 // some characters are two
}

func (t longText) appendJSON(b []byte) []byte {
	if t.base64 {
		return append(base64.StdEncoding.AppendEncode(append(b, '"'), t.content), '"')
	}
	return appendQuoted(b, t.content)
}

// appendQuoted appends a string of JSON with a text that is UTF-8.
func appendQuoted[T ~string | ~[]byte](b []byte, text T) []byte {
	const digits = "0123456789abcdef"
	rest := []byte(text)
	b = append(b, '"')
	for i := indexSpecial(rest, 0); i >= 0; i = indexSpecial(rest, 0) {
		b = append(b, rest[:i]...)
		switch c := rest[i]; c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\n':
			b = append(b, `\n`...)
		case '\r':
			b = append(b, `\r`...)
		case '\t':
			b = append(b, `\t`...)
		default:
			b = append(b, '\\', 'u', '0', '0', digits[c>>4], digits[c&15])
		}
		rest = rest[i+1:]
	}
	return append(append(b, rest...), '"')
}

// appender is a result that can write itself. It says false where it had rather
// not.
type appender interface {
	appendJSON(b []byte) ([]byte, bool)
}

// appendJSON writes the content of a file into its place at once.
func (r executeResult) appendJSON(b []byte) ([]byte, bool) {
	file, ok := r.Result.(readFileResult)
	if !ok || r.Error != nil {
		return b, false
	}
	const others = 1 << 10
	b = slices.Grow(b, file.Content.size()+len(r.ID)+len(file.Path)+others)
	b = append(b, '{')
	if r.ID != nil {
		b = append(append(append(b, `"id":`...), r.ID...), ',')
	}
	b = strconv.AppendBool(append(b, `"success":`...), r.Success)
	b = appendQuoted(append(b, `,"result":{"path":`...), file.Path)
	b = file.Content.appendJSON(append(b, `,"content":`...))
	b = strconv.AppendInt(append(b, `,"bytes":`...), int64(file.Bytes), 10)
	b = appendQuoted(append(b, `,"encoding":`...), file.Encoding)
	b = strconv.AppendInt(append(b, `},"error":null,"durationMs":`...), r.DurationMs, 10)
	return append(b, '}'), true
}

var (
	_ json.Marshaler = longText{}
	_ appender       = executeResult{}
)

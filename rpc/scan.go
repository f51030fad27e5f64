package rpc

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"math/bits"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// The functions below take JSON apart without building anything for what is
// not asked for: a message is validated once, as a whole, and after that they
// may rely on it. encoding/json would validate every level again, match names
// without regard to case, and make a map of whatever keys a client invents.

// errStop ends a walk early.
var errStop = errors.New("stop")

// eachField calls f with each name and value of a valid JSON object, in order.
func eachField(object []byte, f func(name, value []byte) error) error {
	i := skipSpace(object, skipSpace(object, 0)+1)
	for object[i] != '}' {
		end := skipString(object, i)
		name := unquote(object[i:end])
		i = skipSpace(object, skipSpace(object, end)+1)
		end = skipValue(object, i)
		if err := f(name, object[i:end]); err != nil {
			return err
		}
		if i = skipSpace(object, end); object[i] == ',' {
			i = skipSpace(object, i+1)
		}
	}
	return nil
}

// eachElement calls f with each value of a valid JSON array, in order.
func eachElement(array []byte, f func(value []byte) error) error {
	i := skipSpace(array, skipSpace(array, 0)+1)
	for array[i] != ']' {
		end := skipValue(array, i)
		if err := f(array[i:end]); err != nil {
			return err
		}
		if i = skipSpace(array, end); array[i] == ',' {
			i = skipSpace(array, i+1)
		}
	}
	return nil
}

func skipSpace(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\t' || b[i] == '\n' || b[i] == '\r') {
		i++
	}
	return i
}

// skipValue returns the index behind the value that starts at i.
func skipValue(b []byte, i int) int {
	depth := 0
	for i < len(b) {
		switch b[i] {
		case '"':
			i = skipString(b, i)
		case '{', '[':
			depth++
			i++
		case '}', ']':
			depth--
			i++
		case ' ', '\t', '\n', '\r', ',', ':':
			i++
			continue
		default:
			for i < len(b) && bytes.IndexByte([]byte(" \t\n\r,:]}"), b[i]) < 0 {
				i++
			}
		}
		if depth == 0 {
			break
		}
	}
	return i
}

// skipString returns the index behind the string that starts at i. It looks
// for quotes only, so that long contents cost little.
func skipString(b []byte, i int) int {
	for i++; ; {
		n := bytes.IndexByte(b[i:], '"')
		if n < 0 {
			return len(b)
		}
		i += n + 1
		escapes := 0
		for b[i-2-escapes] == '\\' {
			escapes++
		}
		if escapes%2 == 0 {
			return i
		}
	}
}

// unquote returns the content of a valid JSON string. It shares the memory of
// the string where that has no escapes.
func unquote(quoted []byte) []byte {
	s := quoted[1 : len(quoted)-1]
	i := bytes.IndexByte(s, '\\')
	if i < 0 {
		return s
	}
	out := make([]byte, 0, len(s))
	for ; i >= 0; i = bytes.IndexByte(s, '\\') {
		out = append(out, s[:i]...)
		escape := s[i+1]
		s = s[i+2:]
		switch escape {
		case 'b':
			out = append(out, '\b')
		case 'f':
			out = append(out, '\f')
		case 'n':
			out = append(out, '\n')
		case 'r':
			out = append(out, '\r')
		case 't':
			out = append(out, '\t')
		case 'u':
			r := hex4(s)
			s = s[4:]
			if utf16.IsSurrogate(r) {
				if pair := lowSurrogate(r, s); pair != utf8.RuneError {
					r, s = pair, s[6:]
				} else {
					r = utf8.RuneError
				}
			}
			out = utf8.AppendRune(out, r)
		default: // a quote, a slash or a backslash
			out = append(out, escape)
		}
	}
	return append(out, s...)
}

// lowSurrogate joins high with an escape at the start of s, where that is its
// other half.
func lowSurrogate(high rune, s []byte) rune {
	if len(s) < 6 || s[0] != '\\' || s[1] != 'u' {
		return utf8.RuneError
	}
	return utf16.DecodeRune(high, hex4(s[2:]))
}

func hex4(s []byte) rune {
	n, _ := strconv.ParseUint(string(s[:4]), 16, 16)
	return rune(n)
}

// kindOf names the kind of a JSON value for a person.
func kindOf(value []byte) string {
	switch value[0] {
	case '"':
		return "a string"
	case '{':
		return "an object"
	case '[':
		return "an array"
	case 't', 'f':
		return "a boolean"
	case 'n':
		return "null"
	default:
		return "a number"
	}
}

func isNull(value []byte) bool { return value[0] == 'n' }

// syntaxError says what is wrong with text that is no JSON, or returns nil.
func syntaxError(text []byte) error {
	const long = 256 // less is as fast either way
	if isJSON(text, long) {
		return nil
	}
	var any json.RawMessage
	return json.Unmarshal(text, &any)
}

// isJSON says whether text is JSON. Of files, nearly all is in one string, which
// json.Valid would go through byte by byte; so strings are looked at here, and
// json.Valid is shown empty ones in the place of those longer than long.
func isJSON(text []byte, long int) bool {
	var rest []byte
	from := 0
	for i := 0; ; {
		n := bytes.IndexByte(text[i:], '"')
		if n < 0 {
			break
		}
		start := i + n
		if i = endOfString(text, start); i < 0 {
			return false
		}
		if i-start > long {
			rest = append(append(rest, text[from:start]...), `""`...)
			from = i
		}
	}
	if from == 0 {
		return json.Valid(text)
	}
	return json.Valid(append(rest, text[from:]...))
}

// endOfString returns the index behind the string that starts at i in what may
// be no JSON, or -1 where it is none.
func endOfString(text []byte, i int) int {
	for i++; ; {
		i = indexSpecial(text, i)
		switch {
		case i < 0 || text[i] < ' ':
			return -1
		case text[i] == '"':
			return i + 1
		}
		escape := text[i+1:]
		switch {
		case len(escape) == 0 || bytes.IndexByte([]byte(`"\/bfnrtu`), escape[0]) < 0:
			return -1
		case escape[0] != 'u':
			i += 2
		case len(escape) < 5 || !isHex(escape[1:5]):
			return -1
		default:
			i += 6
		}
	}
}

// indexSpecial returns the index of the first byte from i on that means
// something in a string: a quote, a backslash or a control character. It is -1
// where there is none.
func indexSpecial(text []byte, i int) int {
	const each, high = 0x0101010101010101, 0x8080808080808080
	for ; i+8 <= len(text); i += 8 {
		// Eight at a time: what is below n in a byte is borrowed from its highest
		// bit, and the first that is set is right, whatever is borrowed behind it.
		x := binary.LittleEndian.Uint64(text[i:])
		quote, backslash := x^each*'"', x^each*'\\'
		if found := ((x-each*' ')&^x | (quote-each)&^quote | (backslash-each)&^backslash) & high; found != 0 {
			return i + bits.TrailingZeros64(found)/8
		}
	}
	for ; i < len(text); i++ {
		if c := text[i]; c < ' ' || c == '"' || c == '\\' {
			return i
		}
	}
	return -1
}

func isHex(digits []byte) bool {
	for _, c := range digits {
		if (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'f') {
			return false
		}
	}
	return true
}

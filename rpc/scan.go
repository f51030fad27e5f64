package rpc

import (
	"bytes"
	"encoding/json"
	"errors"
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
	if json.Valid(text) {
		return nil
	}
	var any json.RawMessage
	return json.Unmarshal(text, &any)
}

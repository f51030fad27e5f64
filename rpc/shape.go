package rpc

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Bounds of lists in params. A program takes less than this from the kernel;
// without a bound, a message of empty strings would grow many times its size.
const (
	maxListEntries = 16384
	maxMapEntries  = 4096
)

// shape is a kind of value in params: how one is read and how it is described.
// Both come from the type and the tags of the Go field that takes the value, so
// that no document says what no decoder does.
type shape struct {
	// takes says what the field takes, for a person: "a string".
	takes string
	// set stores the value, which is valid JSON. The path is for errors, which
	// are *wireErrors.
	set func(dst reflect.Value, path string, raw []byte) error
	// schema describes the same for a program.
	schema *schema
}

// permissions are permission bits.
type permissions uint32

// signalName is the name of a signal, or its number as a text.
type signalName string

// anything takes every value and keeps none. It is for fields that old clients
// send.
type anything struct{}

// shapeOf returns the shape of a field of params. A type that no params have
// yet is a mistake of this package, and a panic.
func shapeOf(t reflect.Type, r rules) shape {
	if t.Kind() == reflect.Pointer {
		return optional(shapeOf(t.Elem(), r))
	}
	switch t {
	case reflect.TypeFor[string]():
		switch {
		case r.oneOf != nil:
			return choice(r.oneOf)
		case r.nonEmpty:
			return nonEmptyText()
		default:
			return text()
		}
	case reflect.TypeFor[[]byte]():
		return content()
	case reflect.TypeFor[bool]():
		return boolean()
	case reflect.TypeFor[int64]():
		if r.limit {
			return limit(r.least, r.most)
		}
		return whole(r.least, r.most)
	case reflect.TypeFor[float64]():
		if r.limit {
			return fractionLimit()
		}
		return positive()
	case reflect.TypeFor[time.Duration]():
		if r.limit {
			return durationLimit(r.unit)
		}
		return duration(r.unit)
	case reflect.TypeFor[[]string]():
		return texts()
	case reflect.TypeFor[map[string]string]():
		return textMap()
	case reflect.TypeFor[signalName]():
		return signal()
	case reflect.TypeFor[permissions]():
		return permissionBits()
	case reflect.TypeFor[json.RawMessage]():
		return anyID()
	case reflect.TypeFor[anything]():
		return shape{
			takes:  "anything",
			set:    func(reflect.Value, string, []byte) error { return nil },
			schema: &schema{Deprecated: true},
		}
	}
	panic(fmt.Sprintf("rpc: params have no shape for %v", t))
}

// mistyped is a field with a value of the wrong kind, which is then named, or
// with one out of range, which is shown.
func mistyped(path, takes string, raw []byte) error {
	got := kindOf(raw)
	right := strings.HasPrefix(takes, got) || raw[0] == takes[0] || got == "a number" && strings.Contains(takes, "number")
	if right {
		got = quoteValue(raw)
	}
	return invalidParams(path, "%s takes %s, got %s", path, takes, got)
}

// scalar is a value that is wrong as a whole or not at all.
func scalar(takes string, s *schema, set func(dst reflect.Value, raw []byte) bool) shape {
	return shape{takes, func(dst reflect.Value, path string, raw []byte) error {
		if !set(dst, raw) {
			return mistyped(path, takes, raw)
		}
		return nil
	}, s}
}

// optional takes what s takes, behind a pointer that tells what is absent.
func optional(s shape) shape {
	return shape{s.takes, func(dst reflect.Value, path string, raw []byte) error {
		dst.Set(reflect.New(dst.Type().Elem()))
		return s.set(dst.Elem(), path, raw)
	}, s.schema}
}

func text() shape {
	return scalar("a string", &schema{Type: "string"}, func(dst reflect.Value, raw []byte) bool {
		if raw[0] != '"' {
			return false
		}
		dst.SetString(string(unquote(raw)))
		return true
	})
}

// nonEmptyText is for names, which are never empty.
func nonEmptyText() shape {
	s := &schema{Type: "string", MinLength: 1}
	return scalar("a string that is not empty", s, func(dst reflect.Value, raw []byte) bool {
		if raw[0] != '"' || len(raw) == 2 {
			return false
		}
		dst.SetString(string(unquote(raw)))
		return true
	})
}

// content takes a string as bytes, which may share memory with the message.
// They are nil only where the field is absent.
func content() shape {
	return scalar("a string", &schema{Type: "string"}, func(dst reflect.Value, raw []byte) bool {
		if raw[0] != '"' {
			return false
		}
		dst.SetBytes(unquote(raw))
		return true
	})
}

// choice takes one of the texts.
func choice(texts []string) shape {
	takes := `"` + strings.Join(texts, `" or "`) + `"`
	if n := len(texts); n > 2 {
		takes = `"` + strings.Join(texts[:n-1], `", "`) + `" or "` + texts[n-1] + `"`
	}
	return scalar(takes, &schema{Type: "string", Enum: texts}, func(dst reflect.Value, raw []byte) bool {
		if raw[0] != '"' || !slices.Contains(texts, string(unquote(raw))) {
			return false
		}
		dst.SetString(string(unquote(raw)))
		return true
	})
}

func boolean() shape {
	return scalar("a boolean", &schema{Type: "boolean"}, func(dst reflect.Value, raw []byte) bool {
		dst.SetBool(raw[0] == 't')
		return raw[0] == 't' || raw[0] == 'f'
	})
}

// whole takes a whole number from least to most; 2.0 is one.
func whole(least, most int64) shape {
	takes := fmt.Sprintf("a whole number from %d to %d", least, most)
	s := &schema{Type: "integer", Minimum: &least, Maximum: &most}
	if most == math.MaxInt64 {
		takes = fmt.Sprintf("a whole number from %d", least)
		s.Maximum = nil
	}
	return scalar(takes, s, func(dst reflect.Value, raw []byte) bool {
		n, err := strconv.ParseInt(string(raw), 10, 64)
		if err != nil {
			f, ok := number(raw)
			if !ok || f != math.Trunc(f) || math.Abs(f) >= 1<<63 {
				return false
			}
			n = int64(f)
		}
		dst.SetInt(n)
		return n >= least && n <= most
	})
}

// positive takes a number above zero.
func positive() shape {
	return scalar("a number above 0", &schema{Type: "number", ExclusiveMinimum: new(int64)}, func(dst reflect.Value, raw []byte) bool {
		f, ok := number(raw)
		dst.SetFloat(f)
		return ok && f > 0
	})
}

// duration takes a number of units above zero, fractions allowed.
func duration(unit time.Duration) shape {
	most := int64(math.MaxInt64 / unit)
	takes := fmt.Sprintf("a number above 0, at most %d", most)
	s := &schema{Type: "number", ExclusiveMinimum: new(int64), Maximum: &most}
	return scalar(takes, s, func(dst reflect.Value, raw []byte) bool {
		f, ok := number(raw)
		if !ok || f <= 0 || f > float64(most) {
			return false
		}
		// The least duration is not zero, which would ask for the default.
		dst.SetInt(max(1, int64(f*float64(unit))))
		return true
	})
}

// tooLittle stands for a number that is below every limit. Zero would ask for the
// default.
const tooLittle = -1

// limit takes a whole number, and keeps one from least to most. Others become
// tooLittle or most: the session refuses both, and says what it takes.
func limit(least, most int64) shape {
	any := whole(math.MinInt64, math.MaxInt64)
	set := func(dst reflect.Value, path string, raw []byte) error {
		f, ok := number(raw)
		if !ok || f != math.Trunc(f) {
			return mistyped(path, "a whole number", raw)
		}
		switch {
		case f < float64(least):
			dst.SetInt(tooLittle)
		case f > float64(most):
			dst.SetInt(most)
		default:
			return any.set(dst, path, raw)
		}
		return nil
	}
	return shape{"a whole number", set, whole(least, most).schema}
}

// fractionLimit is limit for a number above 0 that may have a fraction.
func fractionLimit() shape {
	s := positive().schema
	return scalar("a number", s, func(dst reflect.Value, raw []byte) bool {
		f, ok := number(raw)
		if f <= 0 {
			f = tooLittle
		}
		dst.SetFloat(f)
		return ok
	})
}

// durationLimit is limit for a duration.
func durationLimit(unit time.Duration) shape {
	s := duration(unit).schema
	return scalar("a number", s, func(dst reflect.Value, raw []byte) bool {
		f, ok := number(raw)
		switch {
		case f <= 0:
			dst.SetInt(tooLittle)
		case f > float64(math.MaxInt64/unit):
			dst.SetInt(math.MaxInt64)
		default: // the least duration is not zero
			dst.SetInt(max(1, int64(f*float64(unit))))
		}
		return ok
	})
}

// signal takes a signal's name or its number, which is kept as a text.
func signal() shape {
	const takes = "the name of a signal, such as SIGTERM, or its number"
	s := &schema{Type: []string{"string", "integer"}}
	return scalar(takes, s, func(dst reflect.Value, raw []byte) bool {
		if raw[0] == '"' {
			dst.SetString(string(unquote(raw)))
			return len(raw) > 2
		}
		f, ok := number(raw)
		dst.SetString(strconv.FormatFloat(f, 'f', -1, 64))
		return ok && f == math.Trunc(f)
	})
}

// number reads a JSON number that float64 can hold.
func number(raw []byte) (float64, bool) {
	if kindOf(raw) != "a number" {
		return 0, false
	}
	f, err := strconv.ParseFloat(string(raw), 64)
	return f, err == nil
}

// texts takes an array of strings.
func texts() shape {
	takes := fmt.Sprintf("an array of at most %d strings", maxListEntries)
	s := &schema{Type: "array", Items: &schema{Type: "string"}, MaxItems: maxListEntries}
	return shape{takes, func(dst reflect.Value, path string, raw []byte) error {
		if raw[0] != '[' {
			return mistyped(path, takes, raw)
		}
		list := []string{}
		err := eachElement(raw, func(raw []byte) error {
			switch {
			case len(list) == maxListEntries:
				return invalidParams(path, "%s takes %s, got more", path, takes)
			case raw[0] != '"':
				return mistyped(fmt.Sprintf("%s[%d]", path, len(list)), "a string", raw)
			}
			list = append(list, string(unquote(raw)))
			return nil
		})
		dst.Set(reflect.ValueOf(list))
		return err
	}, s}
}

// textMap takes an object of which every value is a string.
func textMap() shape {
	takes := fmt.Sprintf("an object of at most %d strings", maxMapEntries)
	s := &schema{Type: "object", AdditionalProperties: &schema{Type: "string"}, MaxProperties: maxMapEntries}
	return shape{takes, func(dst reflect.Value, path string, raw []byte) error {
		if raw[0] != '{' {
			return mistyped(path, takes, raw)
		}
		m := map[string]string{}
		err := eachField(raw, func(name, raw []byte) error {
			switch {
			case len(m) == maxMapEntries:
				return invalidParams(path, "%s takes %s, got more", path, takes)
			case raw[0] != '"':
				return mistyped(path+"."+shorten(string(name)), "a string", raw)
			}
			m[string(name)] = string(unquote(raw))
			return nil
		})
		dst.Set(reflect.ValueOf(m))
		return err
	}, s}
}

// permissionBits takes permission bits as the text that chmod takes. A number is
// refused: of 644 nobody can tell whether it was meant as octal digits.
func permissionBits() shape {
	s := &schema{Type: "string", Pattern: "^0*[0-7]{1,3}$"}
	return scalar(`a string of octal digits such as "0644", at most "0777"`, s, func(dst reflect.Value, raw []byte) bool {
		if raw[0] != '"' {
			return false
		}
		n, err := strconv.ParseUint(string(unquote(raw)), 8, 32)
		if err != nil || n > 0o777 {
			return false
		}
		dst.SetUint(n)
		return true
	})
}

// anyID keeps a string or a number as it was sent.
func anyID() shape {
	return scalar("a string or a number", idSchema(), func(dst reflect.Value, raw []byte) bool {
		dst.SetBytes(raw)
		return isID(raw)
	})
}

func idSchema() *schema { return &schema{Type: []string{"string", "number"}} }

// decodeBase64 decodes content that the field at path holds.
func decodeBase64(path string, content []byte) ([]byte, error) {
	out := make([]byte, base64.StdEncoding.DecodedLen(len(content)))
	n, err := base64.StdEncoding.Decode(out, content)
	if err != nil {
		return nil, invalidParams(path, "%s takes standard base64 with padding where its encoding is \"base64\"", path)
	}
	return out[:n], nil
}

// shorten keeps what a client sent from filling an error.
func shorten(s string) string {
	const most = 64
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}

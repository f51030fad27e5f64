package rpc

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
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

// field is one field of an object in params. Names are matched exactly.
type field struct {
	name     string
	required bool
	value
}

// value takes the JSON value of a field.
type value struct {
	// takes says what the field takes, for a person: "a string".
	takes string
	// set stores the value. The path is for errors, which are *wireErrors.
	set func(path string, raw []byte) error
}

// decodeObject reads the fields of a valid JSON object that is at path, the
// empty one being that of the params themselves. Fields that are not listed
// are ignored. Null counts as absent. Of a field that comes twice the last
// counts.
func decodeObject(path string, raw []byte, fields ...field) error {
	if raw[0] != '{' {
		return mistyped(path, "an object", raw)
	}
	seen := make([]bool, len(fields))
	err := eachField(raw, func(name, raw []byte) error {
		i := slices.IndexFunc(fields, func(f field) bool { return f.name == string(name) })
		if i < 0 || isNull(raw) && !fields[i].required {
			return nil
		}
		seen[i] = true
		return fields[i].set(join(path, fields[i].name), raw)
	})
	if err != nil {
		return err
	}
	for i, f := range fields {
		if f.required && !seen[i] {
			at := join(path, f.name)
			return invalidParams(at, "%s is required and takes %s", at, f.takes)
		}
	}
	return nil
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
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
func scalar(takes string, set func(raw []byte) bool) value {
	return value{takes, func(path string, raw []byte) error {
		if !set(raw) {
			return mistyped(path, takes, raw)
		}
		return nil
	}}
}

func stringTo(dst *string) value {
	return scalar("a string", func(raw []byte) bool {
		if raw[0] != '"' {
			return false
		}
		*dst = string(unquote(raw))
		return true
	})
}

// nonEmptyTo is for names, which are never empty.
func nonEmptyTo(dst *string) value {
	return scalar("a string that is not empty", func(raw []byte) bool {
		if raw[0] != '"' || len(raw) == 2 {
			return false
		}
		*dst = string(unquote(raw))
		return true
	})
}

// bytesTo takes a string as bytes, which may share memory with the message.
func bytesTo(dst *[]byte) value {
	return scalar("a string", func(raw []byte) bool {
		if raw[0] != '"' {
			return false
		}
		*dst = unquote(raw)
		return true
	})
}

// choiceTo takes one of the texts.
func choiceTo(dst *string, texts ...string) value {
	takes := `"` + strings.Join(texts, `" or "`) + `"`
	if n := len(texts); n > 2 {
		takes = `"` + strings.Join(texts[:n-1], `", "`) + `" or "` + texts[n-1] + `"`
	}
	return scalar(takes, func(raw []byte) bool {
		if raw[0] != '"' || !slices.Contains(texts, string(unquote(raw))) {
			return false
		}
		*dst = string(unquote(raw))
		return true
	})
}

func boolTo(dst *bool) value {
	return scalar("a boolean", func(raw []byte) bool {
		*dst = raw[0] == 't'
		return raw[0] == 't' || raw[0] == 'f'
	})
}

// wholeTo takes a whole number from least to most; 2.0 is one.
func wholeTo(dst *int64, least, most int64) value {
	takes := fmt.Sprintf("a whole number from %d to %d", least, most)
	if most == math.MaxInt64 {
		takes = fmt.Sprintf("a whole number from %d", least)
	}
	return scalar(takes, func(raw []byte) bool {
		n, err := strconv.ParseInt(string(raw), 10, 64)
		if err != nil {
			f, ok := number(raw)
			if !ok || f != math.Trunc(f) || math.Abs(f) >= 1<<63 {
				return false
			}
			n = int64(f)
		}
		*dst = n
		return n >= least && n <= most
	})
}

// positiveTo takes a number above zero.
func positiveTo(dst *float64) value {
	return scalar("a number above 0", func(raw []byte) bool {
		f, ok := number(raw)
		*dst = f
		return ok && f > 0
	})
}

// durationTo takes a number of units above zero, fractions allowed.
func durationTo(dst *time.Duration, unit time.Duration) value {
	most := int64(math.MaxInt64 / unit)
	takes := fmt.Sprintf("a number above 0, at most %d", most)
	return scalar(takes, func(raw []byte) bool {
		f, ok := number(raw)
		if !ok || f <= 0 || f > float64(most) {
			return false
		}
		// The least duration is not zero, which would ask for the default.
		*dst = max(1, time.Duration(f*float64(unit)))
		return true
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

// stringsTo takes an array of strings.
func stringsTo(dst *[]string) value {
	takes := fmt.Sprintf("an array of at most %d strings", maxListEntries)
	return value{takes, func(path string, raw []byte) error {
		if raw[0] != '[' {
			return mistyped(path, takes, raw)
		}
		list := []string{}
		err := eachElement(raw, func(raw []byte) error {
			if len(list) == maxListEntries {
				return invalidParams(path, "%s takes %s, got more", path, takes)
			}
			var s string
			err := stringTo(&s).set(fmt.Sprintf("%s[%d]", path, len(list)), raw)
			list = append(list, s)
			return err
		})
		*dst = list
		return err
	}}
}

// stringMapTo takes an object of which every value is a string.
func stringMapTo(dst *map[string]string) value {
	takes := fmt.Sprintf("an object of at most %d strings", maxMapEntries)
	return value{takes, func(path string, raw []byte) error {
		if raw[0] != '{' {
			return mistyped(path, takes, raw)
		}
		m := map[string]string{}
		err := eachField(raw, func(name, raw []byte) error {
			if len(m) == maxMapEntries {
				return invalidParams(path, "%s takes %s, got more", path, takes)
			}
			var s string
			err := stringTo(&s).set(path+"."+shorten(string(name)), raw)
			m[string(name)] = s
			return err
		})
		*dst = m
		return err
	}}
}

// permissionsTo takes permission bits as the text that chmod takes. A number is
// refused: of 644 nobody can tell whether it was meant as octal digits.
func permissionsTo(dst **uint32) value {
	return scalar(`a string of octal digits such as "0644", at most "0777"`, func(raw []byte) bool {
		if raw[0] != '"' {
			return false
		}
		n, err := strconv.ParseUint(string(unquote(raw)), 8, 32)
		if err != nil || n > 0o777 {
			return false
		}
		bits := uint32(n)
		*dst = &bits
		return true
	})
}

// objectTo keeps an object as it is, to be decoded later.
func objectTo(dst *[]byte) value {
	return scalar("an object", func(raw []byte) bool {
		*dst = raw
		return raw[0] == '{'
	})
}

// notYet takes false only.
func notYet(what string) value {
	return value{"false", func(path string, raw []byte) error {
		var on bool
		if err := boolTo(&on).set(path, raw); err != nil || !on {
			return err
		}
		return invalidParams(path, "%s: %s is not supported yet by this server; leave it out", path, what)
	}}
}

// decodeBase64 decodes content that the field at path holds.
func decodeBase64(path string, content []byte) ([]byte, error) {
	out := make([]byte, base64.StdEncoding.DecodedLen(len(content)))
	n, err := base64.StdEncoding.Decode(out, content)
	if err != nil {
		return nil, invalidParams(path, "%s takes standard base64 with padding where encoding is \"base64\"", path)
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

// idTo keeps a string or an integer as it was sent.
func idTo(dst *json.RawMessage) value {
	return scalar("a string or an integer", func(raw []byte) bool {
		*dst = raw
		return isID(raw)
	})
}

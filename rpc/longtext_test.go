package rpc

import (
	"encoding/base64"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"codebeaker/session"
)

// A result that writes itself says what encoding/json would say.
func TestResultThatWritesItselfIsThatOfItsType(t *testing.T) {
	for _, content := range []string{"", "text\n", "é\x00\x1f\u2028\"\\", "\xff", strings.Repeat("0123456789abcde\n", 1000)} {
		for _, encoding := range []string{"utf-8", "base64"} {
			read := newReadFileResult(&readFileParams{Encoding: encoding}, &session.ReadFileResult{Path: "a\"b", Content: []byte(content)})
			for _, id := range []string{"", `"x"`, `{"content":""}`} {
				r := executeResult{Success: true, Result: read, DurationMs: 7}
				if id != "" {
					r.ID = json.RawMessage(id)
				}
				text, ok := r.appendJSON([]byte("before"))
				var got, want any
				if err := json.Unmarshal(text[len("before"):], &got); err != nil || !ok {
					t.Fatalf("%s: %v", text, err)
				}
				slow, err := json.Marshal(r)
				if err != nil || json.Unmarshal(slow, &want) != nil || !reflect.DeepEqual(got, want) {
					t.Errorf("it writes %s, encoding/json %s (%v)", text, slow, err)
				}
			}
		}
	}
	said := "an error"
	for _, r := range []executeResult{{Result: deleteFileResult{}}, {Result: readFileResult{}, Error: &said}} {
		if text, ok := r.appendJSON(nil); ok {
			t.Errorf("of %+v it writes %s", r, text)
		}
	}
}

func FuzzLongText(f *testing.F) {
	f.Add([]byte("text\n\"\\\x00\x1fé\u2028\U0001f600"))
	f.Add([]byte("\xff01234567"))
	f.Fuzz(func(t *testing.T, content []byte) {
		var got string
		if err := json.Unmarshal(longText{content, true}.appendJSON(nil), &got); err != nil || got != base64.StdEncoding.EncodeToString(content) {
			t.Fatalf("%q in base64 is %q, %v", content, got, err)
		}
		if !utf8.Valid(content) {
			return // is never sent as text
		}
		if err := json.Unmarshal(longText{content, false}.appendJSON(nil), &got); err != nil || got != string(content) {
			t.Fatalf("%q is %q, %v", content, got, err)
		}
	})
}

package rpc

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"codebeaker/session"
)

// FuzzDecodeMessage compares the decoder with encoding/json and checks what
// every message must give: at least one entry, each with an error that has a
// code or with a request, and every id as it was sent.
func FuzzDecodeMessage(f *testing.F) {
	for _, conversation := range conversations {
		for line := range strings.Lines(conversation.text) {
			if text, ok := strings.CutPrefix(line, "> "); ok {
				f.Add([]byte(text))
			}
		}
	}
	f.Add([]byte(`[{"jsonrpc":"2.0","\u0069d":"\ud83d\ude00\\","method":"m","params":{"a":"\\\""}} , 1 ]` + "\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if !utf8.Valid(text) {
			return // does not get this far
		}
		const maxBatch = 8
		msg := decodeMessage(text, maxBatch)
		if n := len(msg.entries); n == 0 || n > maxBatch {
			t.Fatalf("%d entries", n)
		}
		elements := []json.RawMessage{text}
		switch {
		case !json.Valid(text):
			if e := msg.entries[0].err; msg.batch || e == nil || e.Code != codeParse {
				t.Fatalf("no JSON gives %+v", msg)
			}
		case msg.batch:
			elements = nil // Unmarshal would write to the text
			if err := json.Unmarshal(text, &elements); err != nil || len(elements) != len(msg.entries) {
				t.Fatalf("%d entries for %d elements (%v)", len(msg.entries), len(elements), err)
			}
		}
		for i, e := range msg.entries {
			checkEntry(t, elements[i], e)
		}
	})
}

// FuzzIsJSON compares with encoding/json, whatever counts as long.
func FuzzIsJSON(f *testing.F) {
	for _, text := range []string{
		`{"a":"b\"c\\","d":[1,"\u00e9\ud83d\ude00",null]}`, `"0123456789abcdef\u12g4"`, "\"0123456789abcdef\n\"", `"`, `"\`, `"\"`, `"a" "b"`, `["a"`, "",
		"\"\xff01234567\"", `"01234567\/\b\f\n\r\t\a"`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, long := range []int{0, 2, 8, 256} {
			if got, want := isJSON(text, long), json.Valid(text); got != want {
				t.Fatalf("%q with %d: %v, want %v", text, long, got, want)
			}
		}
	})
}

func checkEntry(t *testing.T, element json.RawMessage, e entry) {
	t.Helper()
	if e.err != nil && (e.id == nil || e.err.Code != codeParse && e.err.Code != codeInvalidRequest) {
		t.Fatalf("refused with %+v and id %s", e.err, e.id)
	}
	if e.id != nil && !json.Valid(encodeError(e.id, shuttingDown())) {
		t.Fatalf("response with id %s is no JSON", e.id)
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(element, &fields); err != nil || fields == nil {
		if e.err == nil {
			t.Fatalf("what is no object gives %+v", e)
		}
		return
	}
	if e.err == nil && !bytes.Equal(e.id, fields["id"]) {
		t.Fatalf("id %s came back as %s", fields["id"], e.id)
	}
	if e.err != nil && !bytes.Equal(e.id, nullID()) && !bytes.Equal(e.id, fields["id"]) {
		t.Fatalf("id %s came back as %s with an error", fields["id"], e.id)
	}
	if e.err == nil {
		var method string
		if err := json.Unmarshal(fields["method"], &method); err != nil || method != e.method {
			t.Fatalf("method %q, encoding/json has %q (%v)", e.method, method, err)
		}
		if want := fields["params"]; string(want) != "null" && !bytes.Equal(e.params, want) {
			t.Fatalf("params %s, encoding/json has %s", e.params, want)
		}
	}
}

// FuzzDecodeCommand checks that a command is decoded to what encoding/json
// reads, or refused with an error that names a field.
func FuzzDecodeCommand(f *testing.F) {
	for _, text := range []string{
		`{"type":"write_file","path":"a","content":"\u00e9\n\ud83d\ude00\ud800x","mode":"Append","permissions":"0755"}`,
		`{"type":"write_file","path":"a","content":"AP8=","encoding":"base64"}`,
		`{"type":"read_file","path":"a","offset":1,"length":2.0}`,
		`{"type":"shell","command":"sh","args":["-c",""],"env":{"A":"1"},"stdin":"in","timeout":0.25,"tty":false}`,
		`{"type":"copy_file","source":"a","destinationPath":"b","overwrite":false}`,
		`{"type":"execute_code","code":"a","packages":["b"],"tty":true,"rows":2}`,
		`{"type":"list_files","path":"a","maxDepth":2}`,
		`{"type":"fly"}`,
	} {
		f.Add([]byte(text))
	}
	types := newCommands()
	f.Fuzz(func(t *testing.T, text []byte) {
		text = bytes.Trim(text, " \t\r\n")
		if !utf8.Valid(text) || !json.Valid(text) {
			return // does not get this far
		}
		c, err := types.decode("command", text)
		if err != nil {
			var wire *wireError
			if !errors.As(err, &wire) || wire.Code != codeInvalidParams || wire.Data["field"] == "" || !utf8.ValidString(wire.Message) {
				t.Fatalf("refused with %v", err)
			}
			return
		}
		if c.result == nil {
			t.Fatal("no result")
		}
		var all map[string]json.RawMessage
		if err := json.Unmarshal(text, &all); err != nil {
			t.Fatal(err)
		}
		same := func(field string, got any) {
			raw, ok := all[field]
			if !ok || string(raw) == "null" {
				return // or an earlier one of the same name
			}
			want := reflect.New(reflect.TypeOf(got))
			if err := json.Unmarshal(raw, want.Interface()); err != nil {
				t.Fatalf("%s: %v", field, err)
			}
			if !reflect.DeepEqual(got, want.Elem().Interface()) {
				t.Fatalf("%s: got %q, encoding/json has %q", field, got, want.Elem().Interface())
			}
		}
		switch c := c.Command.(type) {
		case *session.WriteFile:
			same("path", c.Path)
			if string(all["encoding"]) == "" {
				same("content", string(c.Content))
			}
		case *session.ReadFile:
			same("path", c.Path)
			if c.Offset < 0 || c.Length < -1 {
				t.Fatalf("%+v", c)
			}
		case *session.Shell:
			if c.Name == "" || c.Timeout < -1 {
				t.Fatalf("%+v", c)
			}
			same("commandName", c.Name)
			same("args", c.Args)
			same("workingDirectory", c.Dir)
			same("stdin", string(c.Stdin))
			same("env", c.Env)
		case *session.Code:
			same("code", string(c.Code))
			same("packages", c.Packages)
		case *session.ListDirectory:
			same("path", c.Path)
			same("recursive", c.Recursive)
		case *session.InstallPackages:
			same("packages", c.Packages)
		case *session.CopyFile:
			if c.Source == "" || c.Destination == "" {
				t.Fatalf("%+v", c)
			}
		case *session.MoveFile, *session.DeleteFile, *session.CreateDirectory:
		default:
			t.Fatalf("%T", c)
		}
	})
}

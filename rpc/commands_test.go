package rpc

import (
	"encoding/json"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"codebeaker/session"
)

func TestDecodeCommand(t *testing.T) {
	bits := func(n uint32) *uint32 { return &n }
	for _, test := range []struct {
		text string
		want session.Command
	}{
		{`{"type":"write_file","path":"a","content":""}`, &session.WriteFile{Path: "a", Content: []byte{}}},
		{
			`{"type":"write_file","path":"a","content":"\u00e9\n\ud83d\ude00","mode":"Append","permissions":"0755"}`,
			&session.WriteFile{Path: "a", Content: []byte("é\n😀"), Mode: session.WriteAppend, Permissions: bits(0o755)},
		},
		{
			`{"type":"write_file","path":"a","content":"AP8=","encoding":"base64","mode":"Overwrite","permissions":"7"}`,
			&session.WriteFile{Path: "a", Content: []byte{0, 255}, Permissions: bits(7)},
		},
		{`{"type":"read_file","path":"a"}`, &session.ReadFile{Path: "a", Length: -1}},
		{
			`{"type":"read_file","path":"a","offset":9007199254740993,"length":0,"encoding":"base64"}`,
			&session.ReadFile{Path: "a", Offset: 9007199254740993},
		},
		{`{"type":"shell","command":"ls -l | wc"}`, &session.Shell{Name: "ls -l | wc"}},
		{
			`{"type":"execute_shell","commandName":"sh","args":["-c",""],"workingDirectory":"/tmp","env":{"A":"1","A":"2"},
			  "stdin":"in","timeout":0.25,"background":false,"tty":null,"unknown":[{}]}`,
			&session.Shell{
				Name: "sh", Args: []string{"-c", ""}, Dir: "/tmp", Env: map[string]string{"A": "2"},
				ProgramOptions: session.ProgramOptions{Stdin: []byte("in"), Timeout: 250 * time.Millisecond},
			},
		},
		{`{"type":"execute_shell","command":"a"}`, &session.Shell{Name: "a"}},
		{`{"type":"shell","commandName":"a","timeout":1e-300}`, &session.Shell{Name: "a", ProgramOptions: session.ProgramOptions{Timeout: 1}}},
	} {
		got, err := decodeCommand(commandTypes(), []byte(test.text))
		if err != nil {
			t.Errorf("%s: %v", test.text, err)
		} else if !reflect.DeepEqual(got.Command, test.want) {
			t.Errorf("%s:\ngot  %+v\nwant %+v", test.text, got.Command, test.want)
		}
	}
}

func TestDecodeCommandNamesTheField(t *testing.T) {
	for _, test := range []struct{ text, field, message string }{
		{`{}`, "command.type", "command.type is required and takes a string"},
		{`{"type":null}`, "command.type", "command.type takes a string, got null"},
		{`{"TYPE":"shell"}`, "command.type", "command.type is required and takes a string"},
		{
			`{"type":"copy_file"}`, "command.type",
			`command.type: "copy_file" is not supported by this server, which has write_file, read_file, execute_shell, shell`,
		},
		{`{"type":"write_file","content":"x"}`, "command.path", "command.path is required and takes a string that is not empty"},
		{`{"type":"write_file","path":"a"}`, "command.content", "command.content is required and takes a string"},
		{`{"type":"write_file","path":"a","content":7}`, "command.content", "command.content takes a string, got a number"},
		{
			`{"type":"write_file","path":"a","content":"x","mode":"create"}`, "command.mode",
			`command.mode takes "Create", "Append" or "Overwrite", got "create"`,
		},
		{
			`{"type":"write_file","path":"a","content":"x","permissions":644}`, "command.permissions",
			`command.permissions takes a string of octal digits such as "0644", at most "0777", got a number`,
		},
		{
			`{"type":"write_file","path":"a","content":"x","permissions":"1777"}`, "command.permissions",
			`command.permissions takes a string of octal digits such as "0644", at most "0777", got "1777"`,
		},
		{
			`{"type":"write_file","path":"a","content":"AP8","encoding":"base64"}`, "command.content",
			`command.content takes standard base64 with padding where encoding is "base64"`,
		},
		{
			`{"type":"read_file","path":"a","offset":-1}`, "command.offset",
			"command.offset takes a whole number from 0, got -1",
		},
		{
			`{"type":"read_file","path":"a","length":1e19}`, "command.length",
			"command.length takes a whole number from 0, got 1e19",
		},
		{`{"type":"shell"}`, "command.commandName", "command.commandName is required and takes a string that is not empty"},
		{`{"type":"shell","command":"a","args":"b"}`, "command.args", "command.args takes an array of at most 16384 strings, got a string"},
		{`{"type":"shell","command":"a","args":["b","c",3]}`, "command.args[2]", "command.args[2] takes a string, got a number"},
		{
			`{"type":"shell","command":"a","args":[` + strings.Repeat(`"",`, maxListEntries) + `""]}`, "command.args",
			"command.args takes an array of at most 16384 strings, got more",
		},
		{`{"type":"shell","command":"a","env":{"A":null}}`, "command.env.A", "command.env.A takes a string, got null"},
		{`{"type":"shell","command":"a","timeout":0}`, "command.timeout", "command.timeout takes a number above 0, at most 9223372036, got 0"},
		{
			`{"type":"shell","command":"a","background":true}`, "command.background",
			"command.background: running in the background is not supported yet by this server; leave it out",
		},
		{`{"type":"shell","command":"a","tty":true}`, "command.tty", "command.tty: a terminal is not supported yet by this server; leave it out"},
		{`{"type":"shell","command":"a","tty":1}`, "command.tty", "command.tty takes a boolean, got a number"},
	} {
		_, err := decodeCommand(commandTypes(), []byte(test.text))
		var wire *wireError
		if !errors.As(err, &wire) {
			t.Errorf("%.80s: got %v, want a wireError", test.text, err)
			continue
		}
		if wire.Code != codeInvalidParams || wire.Message != "invalid params: "+test.message || wire.Data["field"] != test.field {
			t.Errorf("%.80s:\ngot  %d %v %s\nwant %v %s", test.text, wire.Code, wire.Data, wire.Message, test.field, test.message)
		}
	}
}

func TestReadFileResultSaysItsEncoding(t *testing.T) {
	for _, test := range []struct {
		content  string
		asBase64 bool
		want     readFileResult
	}{
		{"é", false, readFileResult{"p", "é", 2, "utf-8"}},
		{"é", true, readFileResult{"p", "w6k=", 2, "base64"}},
		{"\xc3", false, readFileResult{"p", "ww==", 1, "base64"}},
		{"", false, readFileResult{"p", "", 0, "utf-8"}},
	} {
		got := newReadFileResult(&session.ReadFileResult{Path: "p", Content: []byte(test.content)}, test.asBase64)
		if got != test.want {
			t.Errorf("%q: got %+v, want %+v", test.content, got, test.want)
		}
	}
}

func TestStreamText(t *testing.T) {
	for _, test := range []struct {
		out            string
		truncated      bool
		text, encoding string
	}{
		{"", false, "", ""},
		{"", true, "", ""},
		{"a€", true, "a€", ""},
		{"a\xe2\x82", true, "a", ""},
		{"\xf0\x9f\x98", true, "", ""},
		{"a\xe2\x82", false, "YeKC", "base64"},
		{"\xffa\xe2\x82", true, "/2Higg==", "base64"},
		{"a\x82", true, "YYI=", "base64"},
	} {
		text, encoding := streamText([]byte(test.out), test.truncated)
		if text != test.text || encoding != test.encoding {
			t.Errorf("%q, truncated %v: got %q %q, want %q %q", test.out, test.truncated, text, encoding, test.text, test.encoding)
		}
	}
}

func TestWireTime(t *testing.T) {
	at := time.Date(2025, 10, 27, 14, 0, 0, 123456789, time.FixedZone("", 7200))
	if text, err := json.Marshal(wireTime(at)); err != nil || string(text) != `"2025-10-27T12:00:00.123Z"` {
		t.Errorf("got %s, %v", text, err)
	}
	if got := minutesSince(at, at.Add(-time.Hour)); got != 0 {
		t.Errorf("a clock that was set back gives %v minutes, want 0", got)
	}
}

func TestEncodeResultRefusesWhatJSONDoesNotHave(t *testing.T) {
	if _, err := encodeResult(nullID(), math.NaN()); err == nil {
		t.Error("NaN was encoded")
	}
}

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
			  "stdin":"in","timeout":0.25,"background":false,"tty":null}`,
			&session.Shell{
				Name: "sh", Args: []string{"-c", ""}, Dir: "/tmp", Env: map[string]string{"A": "2"},
				ProgramOptions: session.ProgramOptions{Stdin: []byte("in"), Timeout: 250 * time.Millisecond},
			},
		},
		{`{"type":"execute_shell","command":"a"}`, &session.Shell{Name: "a"}},
		{`{"type":"shell","command":"b","commandName":"a"}`, &session.Shell{Name: "a"}},
		{`{"type":"shell","commandName":"a","command":"b"}`, &session.Shell{Name: "a"}},
		{`{"type":"shell","commandName":null,"command":"b"}`, &session.Shell{Name: "b"}},
		{
			`{"type":"shell","command":"a","background":true}`,
			&session.Shell{Name: "a", ProgramOptions: session.ProgramOptions{StdinOpen: true, Timeout: -1}},
		},
		{
			`{"type":"shell","command":"a","background":true,"stdin":"","timeout":2}`,
			&session.Shell{Name: "a", ProgramOptions: session.ProgramOptions{Stdin: []byte{}, Timeout: 2 * time.Second}},
		},
		{
			`{"type":"shell","command":"a","tty":true,"rows":50,"cols":132}`,
			&session.Shell{Name: "a", ProgramOptions: session.ProgramOptions{StdinOpen: true, TTY: true, Rows: 50, Columns: 132}},
		},
		{`{"type":"execute_code","code":"print()"}`, &session.Code{Code: []byte("print()")}},
		{
			`{"type":"execute","code":"a","language":"js","args":["x"],"stdin":"in","timeout":1,"packages":["p"],"env":{"A":"1"}}`,
			&session.Code{
				Code: []byte("a"), Language: "js", Args: []string{"x"}, Packages: []string{"p"}, Env: map[string]string{"A": "1"},
				ProgramOptions: session.ProgramOptions{Stdin: []byte("in"), Timeout: time.Second},
			},
		},
		{`{"type":"create_directory","path":"a"}`, &session.CreateDirectory{Path: "a", Recursive: true}},
		{`{"type":"create_dir","path":"a","recursive":false}`, &session.CreateDirectory{Path: "a"}},
		{
			`{"type":"copy_file","sourcePath":"a","destinationPath":"b"}`,
			&session.CopyFile{Source: "a", Destination: "b", Overwrite: true},
		},
		{
			`{"type":"copy_file","source":"a","destination":"b","overwrite":false}`,
			&session.CopyFile{Source: "a", Destination: "b"},
		},
		{
			`{"type":"move_file","source":"a","destinationPath":"b"}`,
			&session.MoveFile{Source: "a", Destination: "b", Overwrite: true},
		},
		{`{"type":"delete_file","path":"a"}`, &session.DeleteFile{Path: "a"}},
		{`{"type":"delete_file","path":"a","recursive":true}`, &session.DeleteFile{Path: "a", Recursive: true}},
		{`{"type":"list_directory","path":"a"}`, &session.ListDirectory{Path: "a"}},
		{
			`{"type":"list_files","path":"a","recursive":true,"pattern":"*.go","includeHidden":true,"maxDepth":3}`,
			&session.ListDirectory{Path: "a", Recursive: true, Pattern: "*.go", IncludeHidden: true, MaxDepth: 3},
		},
		{
			`{"type":"list_directory","pathEncoding":"base64","path":"/w==","limit":5,"cursor":"Yf8"}`,
			&session.ListDirectory{Path: "\xff", Limit: 5, After: "a\xff"},
		},
		{`{"type":"list_directory","pathEncoding":"base64"}`, &session.ListDirectory{}},
		{
			`{"type":"move_file","pathEncoding":"base64","source":"/w==","destination":"Yg=="}`,
			&session.MoveFile{Source: "\xff", Destination: "b", Overwrite: true},
		},
		{
			`{"type":"write_file","pathEncoding":"base64","path":"/w==","content":"text"}`,
			&session.WriteFile{Path: "\xff", Content: []byte("text")},
		},
		{`{"type":"read_file","pathEncoding":"base64","path":"/w=="}`, &session.ReadFile{Path: "\xff", Length: -1}},
		{`{"type":"delete_file","pathEncoding":"base64","path":"/w=="}`, &session.DeleteFile{Path: "\xff"}},
		{`{"type":"install_packages","packages":["a","b"]}`, &session.InstallPackages{Packages: []string{"a", "b"}}},
		{
			`{"type":"install_packages","requirementsFile":"r.txt","timeout":9}`,
			&session.InstallPackages{RequirementsFile: "r.txt", ProgramOptions: session.ProgramOptions{Timeout: 9 * time.Second}},
		},
		{`{"type":"shell","commandName":"a","timeout":1e-300}`, &session.Shell{Name: "a", ProgramOptions: session.ProgramOptions{Timeout: 1}}},
	} {
		got, err := newCommands().decode("command", []byte(test.text))
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
			`{"type":"fly"}`, "command.type",
			`command.type: "fly" is not supported by this server, which has write_file, read_file, execute_shell, shell, ` +
				`execute_code, execute, create_directory, create_dir, copy_file, delete_file, move_file, list_directory, list_files, install_packages`,
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
			`{"type":"copy_file","pathEncoding":"base64","source":"Yg==","destination":"b"}`, "command.destinationPath",
			`command.destinationPath takes standard base64 with padding where its encoding is "base64"`,
		},
		{`{"type":"list_directory","cursor":"?"}`, "command.cursor", `command.cursor takes the nextCursor of an answer`},
		{
			`{"type":"write_file","path":"a","content":"AP8","encoding":"base64"}`, "command.content",
			`command.content takes standard base64 with padding where its encoding is "base64"`,
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
		{`{"type":"shell","commandName":"a","command":7}`, "command.command", "command.command takes a string that is not empty, got a number"},
		{`{"type":"shell","command":7}`, "command.command", "command.command takes a string that is not empty, got a number"},
		{
			`{"type":"shell","command":"a","rows":1001}`, "command.rows",
			"command.rows takes a whole number from 1 to 1000, got 1001",
		},
		{
			`{"type":"copy_file","source":"a"}`, "command.destinationPath",
			"command.destinationPath is required and takes a string that is not empty",
		},
		{`{"type":"shell","command":"a","id":[1]}`, "command.id", "command.id takes a string or a number, got an array"},
		{`{"type":"shell","command":"a","tty":1}`, "command.tty", "command.tty takes a boolean, got a number"},
	} {
		_, err := newCommands().decode("command", []byte(test.text))
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
		encoding string
		want     readFileResult
	}{
		{"é", "", readFileResult{"p", longText{[]byte("é"), false}, 2, "utf-8"}},
		{"é", "base64", readFileResult{"p", longText{[]byte("é"), true}, 2, "base64"}},
		{"\xc3", "utf-8", readFileResult{"p", longText{[]byte("\xc3"), true}, 1, "base64"}},
		{"", "", readFileResult{"p", longText{[]byte{}, false}, 0, "utf-8"}},
	} {
		got := newReadFileResult(&readFileParams{Encoding: test.encoding}, &session.ReadFileResult{Path: "p", Content: []byte(test.content)})
		if !reflect.DeepEqual(got, test.want) {
			t.Errorf("%q: got %+v, want %+v", test.content, got, test.want)
		}
	}
}

func TestStreamText(t *testing.T) {
	for _, test := range []struct{ out, text, encoding string }{
		{"", "", ""},
		{"a€", "a€", ""},
		{"a\xe2\x82", "YeKC", "base64"},
		{"\xffa", "/2E=", "base64"},
	} {
		if text, encoding := streamText([]byte(test.out)); text != test.text || encoding != test.encoding {
			t.Errorf("%q: got %q %q, want %q %q", test.out, text, encoding, test.text, test.encoding)
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

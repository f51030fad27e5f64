package test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// line is a message of an example, sent or expected.
type line struct {
	number int
	sent   bool
	text   string
}

// examples returns the messages of the blocks of a document that are marked
// jsonrpc. A message begins with "> " or "< ", and goes on over the lines that
// begin with a space.
func examples(t *testing.T, file string) []line {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var lines []line
	inside := false
	number := 0
	for l := range strings.Lines(string(text)) {
		number++
		l = strings.TrimSuffix(l, "\n")
		switch {
		case l == "```jsonrpc":
			inside = true
		case strings.HasPrefix(l, "```"):
			inside = false
		case !inside:
		case strings.HasPrefix(l, "> "), strings.HasPrefix(l, "< "):
			lines = append(lines, line{number, l[0] == '>', l[2:]})
		case strings.HasPrefix(l, " "):
			lines[len(lines)-1].text += "\n" + l
		default:
			t.Fatalf("%s:%d: a line of an example begins with >, < or a space", file, number)
		}
	}
	return lines
}

// anyValue stands for the sign of what varies where JSON has no place for it: a whole
// value, and the rest of an object or a list.
const anyValue = "\x00any"

// pattern reads an expected message: JSON in which … stands for a value that is
// no string, for any part of a string, and for more fields or elements.
func pattern(text string) (any, error) {
	const quoted = `"\u0000any"`
	text = regexp.MustCompile(`([,{]\s*)…(\s*})`).ReplaceAllString(text, `${1}`+quoted+`:`+quoted+`${2}`)
	text = regexp.MustCompile(`([:,\[]\s*)…(\s*[,}\]])`).ReplaceAllString(text, `${1}`+quoted+`${2}`)
	var v any
	err := json.Unmarshal([]byte(text), &v)
	return v, err
}

// matcher compares messages with patterns. It knows what the names stand for.
type matcher map[string]string

// match says where a value differs from a pattern, "" where it does not. Names
// that stand for nothing yet get the value's text in found.
func (m matcher) match(at string, want, got any, found map[string]string) string {
	differs := func() string { return fmt.Sprintf("%s is %s, want %s", at, show(got), show(want)) }
	if want == any(anyValue) {
		if _, ok := got.(string); ok {
			return differs()
		}
		return ""
	}
	switch want := want.(type) {
	case string:
		text, ok := got.(string)
		if !ok || !m.matchText(want, text, found) {
			return differs()
		}
	case map[string]any:
		fields, ok := got.(map[string]any)
		if !ok {
			return differs()
		}
		for name, w := range want {
			if g, ok := fields[name]; name != anyValue && !ok {
				return at + "." + name + " is missing"
			} else if name != anyValue {
				if d := m.match(at+"."+name, w, g, found); d != "" {
					return d
				}
			}
		}
		if _, more := want[anyValue]; !more {
			for name := range fields {
				if _, ok := want[name]; !ok {
					return at + "." + name + " is not in the document"
				}
			}
		}
	case []any:
		list, ok := got.([]any)
		if !ok {
			return differs()
		}
		return m.matchList(at, want, list, found)
	default:
		if !reflect.DeepEqual(want, got) {
			return differs()
		}
	}
	return ""
}

// matchList matches lists, in which the sign stands for any number of elements
// at the start or at the end.
func (m matcher) matchList(at string, want, got []any, found map[string]string) string {
	if len(want) > 0 && want[0] == any(anyValue) {
		want = want[1:]
		got = got[max(0, len(got)-len(want)):]
		if len(want) == 0 {
			return ""
		}
	}
	if n := len(want); n > 0 && want[n-1] == any(anyValue) {
		want = want[:n-1]
		got = got[:min(len(got), n-1)]
	}
	if len(want) != len(got) {
		return fmt.Sprintf("%s has %d elements, want %d", at, len(got), len(want))
	}
	for i := range want {
		if d := m.match(fmt.Sprintf("%s[%d]", at, i), want[i], got[i], found); d != "" {
			return d
		}
	}
	return ""
}

func (m matcher) matchText(want, got string, found map[string]string) bool {
	if strings.HasPrefix(want, "$") {
		if known, ok := m[want]; ok {
			return got == known
		}
		if known, ok := found[want]; ok {
			return got == known
		}
		found[want] = got
		return got != ""
	}
	parts := strings.Split(want, "…")
	for i := range parts {
		parts[i] = regexp.QuoteMeta(parts[i])
	}
	return regexp.MustCompile(`^` + strings.Join(parts, `(?s:.*)`) + `$`).MatchString(got)
}

func show(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return strings.ReplaceAll(string(text), `"\u0000any"`, "…")
}

// spoken is what was said with an example, for comparison with the OpenRPC
// document.
type spoken struct {
	Method string          `json:"method"`
	Value  json.RawMessage `json:"value"`
}

// The document's examples, with a real server. Messages that are expected one
// after another may come in any order, where nothing orders them.
func TestExamplesOfTheAPIDocument(t *testing.T) {
	s := python(t)
	ws, _, err := websocket.DefaultDialer.DialContext(t.Context(), s.url, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer ws.Close()
	m := matcher{}
	var (
		params, results, notifications []spoken
		commands                       []string
		expected                       []line
		document                       json.RawMessage
	)
	methods := map[string]string{} // by id
	receive := func() {
		t.Helper()
		for len(expected) > 0 {
			_ = ws.SetReadDeadline(time.Now().Add(patience))
			_, text, err := ws.ReadMessage()
			if err != nil {
				t.Fatalf("docs/api.md:%d: %v; expected %s", expected[0].number, err, expected[0].text)
			}
			var got any
			var parts struct {
				ID             json.RawMessage
				Method         string
				Params, Result json.RawMessage
			}
			if err := errors.Join(json.Unmarshal(text, &got), json.Unmarshal(text, &parts)); err != nil {
				t.Fatalf("%v: %s", err, text)
			}
			if parts.Method != "" {
				notifications = append(notifications, spoken{parts.Method, parts.Params})
			} else if parts.Result != nil {
				method := methods[string(parts.ID)]
				results = append(results, spoken{method, parts.Result})
				if method == "rpc.discover" {
					document = parts.Result
				}
			}
			var differences []string
			i := slices.IndexFunc(expected, func(e line) bool {
				want, err := pattern(e.text)
				if err != nil {
					t.Fatalf("docs/api.md:%d: %v", e.number, err)
				}
				found := map[string]string{}
				if d := m.match("message", want, got, found); d != "" {
					differences = append(differences, fmt.Sprintf("docs/api.md:%d: %s", e.number, d))
					return false
				}
				maps.Copy(m, found)
				return true
			})
			if i < 0 {
				t.Fatalf("received %s\n%s", text, strings.Join(differences, "\n"))
			}
			expected = slices.Delete(expected, i, i+1)
		}
	}
	for _, l := range examples(t, "../docs/api.md") {
		if !l.sent {
			expected = append(expected, l)
			continue
		}
		receive()
		text := regexp.MustCompile(`\$[A-Z]+`).ReplaceAllStringFunc(l.text, func(name string) string { return m[name] })
		var request struct {
			ID     json.RawMessage
			Method string
			Params json.RawMessage
		}
		var execute struct{ Command struct{ Type string } }
		if err := json.Unmarshal([]byte(text), &request); err != nil {
			t.Fatalf("docs/api.md:%d: %v", l.number, err)
		}
		if request.Params != nil {
			if err := json.Unmarshal(request.Params, &execute); err != nil {
				t.Fatalf("docs/api.md:%d: %v", l.number, err)
			}
			if !strings.Contains(text, `"path":7`) { // which is the example of a mistake
				params = append(params, spoken{request.Method, request.Params})
			}
		}
		methods[string(request.ID)] = request.Method
		commands = append(commands, execute.Command.Type)
		if err := ws.WriteMessage(websocket.TextMessage, []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	receive()

	var openrpc struct {
		Methods []struct{ Name string }
		Notes   []struct{ Name string } `json:"x-notifications"`
	}
	if err := json.Unmarshal(document, &openrpc); err != nil {
		t.Fatal(err)
	}
	shown := func(list []spoken, name string) bool {
		return slices.ContainsFunc(list, func(s spoken) bool { return s.Method == name })
	}
	for _, method := range openrpc.Methods {
		if !shown(results, method.Name) {
			t.Errorf("docs/api.md has no example of %s", method.Name)
		}
	}
	for _, n := range openrpc.Notes {
		if n.Name != "execution.error" && !shown(notifications, n.Name) { // which nobody wants to happen
			t.Errorf("docs/api.md has no example of %s", n.Name)
		}
	}
	for _, command := range []string{
		"write_file", "read_file", "execute_shell", "execute_code", "create_directory", "copy_file", "delete_file",
		"move_file", "list_directory", "install_packages",
	} {
		if !slices.Contains(commands, command) {
			t.Errorf("docs/api.md has no example of the command %s", command)
		}
	}
	checkWithOpenRPC(t, document, params, results, notifications)
}

// checkWithOpenRPC has npm's validators say whether a document is one of
// OpenRPC, and whether what was spoken is as it says.
func checkWithOpenRPC(t *testing.T, document json.RawMessage, params, results, notifications []spoken) {
	t.Helper()
	if shipped, err := os.ReadFile("../docs/openrpc.json"); err != nil {
		t.Error(err)
	} else if !sameJSON(t, shipped, document) {
		t.Error("docs/openrpc.json is not what the server sends")
	}
	input, err := json.Marshal(map[string]any{
		"document": document, "params": params, "results": results, "notifications": notifications,
	})
	if err != nil {
		t.Fatal(err)
	}
	dir := npmInstall(t, "clients")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", "openrpc.mjs")
	cmd.Dir = dir
	cmd.Stdin = bytes.NewReader(input)
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("%v\n%s", err, out)
	}
}

func sameJSON(t *testing.T, a, b []byte) bool {
	t.Helper()
	var x, y any
	if err := errors.Join(json.Unmarshal(a, &x), json.Unmarshal(b, &y)); err != nil {
		t.Fatal(err)
	}
	return reflect.DeepEqual(x, y)
}

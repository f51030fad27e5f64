package rpc

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"codebeaker/session"
)

var update = flag.Bool("update", false, "write docs/openrpc.json anew")

// documentPath is where the document is for those who have no server.
const documentPath = "../docs/openrpc.json"

// TestDocumentIsThatOfTheCode compares the document with the code. With -update
// it writes it.
func TestDocumentIsThatOfTheCode(t *testing.T) {
	c := startServer(t, Options{}).dial(t)
	discovered := c.call("rpc.discover", nil)
	if discovered.Error != nil {
		t.Fatal(discovered.Error)
	}
	var want bytes.Buffer
	if err := json.Indent(&want, discovered.Result, "", "  "); err != nil {
		t.Fatal(err)
	}
	want.WriteByte('\n')
	if *update {
		if err := os.WriteFile(documentPath, want.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(documentPath); err != nil || !bytes.Equal(got, want.Bytes()) {
		t.Errorf("%s is not that of the code (%v); make docs writes it", documentPath, err)
	}
}

// TestEveryFieldIsDescribed walks all types that a client sees.
func TestEveryFieldIsDescribed(t *testing.T) {
	s := startServer(t, Options{})
	d := s.newDocument()
	described := func(where, text string) {
		t.Helper()
		if !strings.HasSuffix(text, ".") {
			t.Errorf("%s is described by %q, want a sentence", where, text)
		}
	}
	for _, m := range d.Methods {
		described(m.Name, m.Summary)
		for _, p := range m.Params {
			described(m.Name+"."+p.Name, p.Description)
		}
	}
	for _, n := range d.Notifications {
		described(n.Name, n.Summary)
		for _, p := range n.Params {
			described(n.Name+"."+p.Name, p.Description)
		}
	}
	for name, component := range d.Components.Schemas {
		for field, property := range component.Properties {
			described(name+"."+field, property.Description)
		}
	}
	for _, t := range s.commands.types {
		described(t.names[0], t.doc)
	}
}

// TestReferencesLeadSomewhere finds every $ref among the components.
func TestReferencesLeadSomewhere(t *testing.T) {
	s := startServer(t, Options{})
	d := s.newDocument()
	text := string(s.document)
	seen := 0
	for rest := text; ; seen++ {
		_, after, ok := strings.Cut(rest, `"$ref":"#/components/`)
		if !ok {
			break
		}
		path, tail, _ := strings.Cut(after, `"`)
		kind, name, _ := strings.Cut(path, "/")
		switch _, isError := d.Components.Errors[name]; {
		case kind == "schemas" && d.Components.Schemas[name] != nil:
		case kind == "errors" && isError:
		default:
			t.Errorf("there is no %s", path)
		}
		rest = tail
	}
	if seen < 50 {
		t.Errorf("found %d references", seen)
	}
}

// TestDecoderTakesWhatTheDocumentSays reads the least that the document asks for
// with the decoder, and sees it refuse what misses a field of that.
func TestDecoderTakesWhatTheDocumentSays(t *testing.T) {
	s := startServer(t, Options{})
	example := func(sc *schema) any {
		switch {
		case sc.Enum != nil:
			return sc.Enum[0]
		case sc.Type == "string":
			return "x"
		case sc.Type == "integer", reflect.DeepEqual(sc, idSchema()):
			return 1
		case reflect.DeepEqual(sc.Type, signal().schema.Type):
			return "TERM"
		case sc.OneOf != nil:
			return map[string]any{"type": "read_file", "path": "x"}
		default:
			t.Fatalf("no example of %+v", sc)
			return nil
		}
	}
	check := func(name string, o *object, required map[string]*schema) {
		t.Helper()
		all := map[string]any{}
		for field, sc := range required {
			all[field] = example(sc)
		}
		decode := func() error {
			text, err := json.Marshal(all)
			if err != nil {
				t.Fatal(err)
			}
			return o.decode("", text, reflect.New(o.t).Elem())
		}
		if err := decode(); err != nil {
			t.Errorf("%s refuses what the document asks for: %v", name, err)
		}
		for field := range required {
			value := all[field]
			delete(all, field)
			if err := decode(); err == nil {
				t.Errorf("%s takes params without %s, which the document says is required", name, field)
			}
			all[field] = value
		}
	}
	for _, m := range s.newDocument().Methods {
		required := map[string]*schema{}
		for _, p := range m.Params {
			if p.Required {
				required[p.Name] = p.Schema
			}
		}
		check(m.Name, s.methods[m.Name].params, required)
	}
	for _, c := range s.commands.types {
		d := c.params.describe()
		required := map[string]*schema{}
		for _, name := range d.Required {
			required[name] = d.Properties[name]
		}
		for _, either := range d.AllOf { // two spellings
			name := either.AnyOf[0].Required[0]
			required[name] = d.Properties[name]
		}
		check(c.names[0], c.params, required)
	}
}

func TestDocumentNamesEveryTextOfItsTypes(t *testing.T) {
	if got := textsOf(reflect.TypeFor[session.EndReason]()); !slices.Contains(got, string(session.EndOutputLimit)) || len(got) != 8 {
		t.Errorf("end reasons are %q", got)
	}
	s := &schemas{components: map[string]*schema{}}
	for _, bad := range []reflect.Type{reflect.TypeFor[any](), reflect.TypeFor[map[string]int]()} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%v got a schema", bad)
				}
			}()
			s.of(bad)
		}()
	}
}

package rpc

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"reflect"
	"slices"
)

// document is an OpenRPC document, as far as this package needs it. It is made
// from the types that decode requests and encode results, so that it cannot say
// anything else than they do.
type document struct {
	OpenRPC    string           `json:"openrpc"`
	Info       documentInfo     `json:"info"`
	Servers    []documentServer `json:"servers"`
	Methods    []methodDoc      `json:"methods"`
	Components components       `json:"components"`
	// Notifications are what the server sends unasked, for which OpenRPC has no
	// word: each has a name and params as a method has.
	Notifications []notificationDoc `json:"x-notifications"`
}

type documentInfo struct {
	Title       string `json:"title"`
	Description string `json:"description"`
	Version     string `json:"version"`
	License     struct {
		Name string `json:"name"`
	} `json:"license"`
}

type documentServer struct {
	Name string `json:"name"`
	URL  string `json:"url"`
}

type methodDoc struct {
	Name           string              `json:"name"`
	Summary        string              `json:"summary"`
	ParamStructure string              `json:"paramStructure"`
	Params         []contentDescriptor `json:"params"`
	Result         contentDescriptor   `json:"result"`
	Errors         []*schema           `json:"errors,omitempty"`
}

type notificationDoc struct {
	Name    string              `json:"name"`
	Summary string              `json:"summary"`
	Params  []contentDescriptor `json:"params"`
}

// contentDescriptor is a value with a name.
type contentDescriptor struct {
	Name        string  `json:"name"`
	Description string  `json:"description,omitempty"`
	Required    bool    `json:"required,omitempty"`
	Schema      *schema `json:"schema"`
}

type components struct {
	Schemas map[string]*schema  `json:"schemas"`
	Errors  map[string]errorDoc `json:"errors"`
}

// errorDoc is a code of the wire and what it means.
type errorDoc struct {
	name    string
	Code    int    `json:"code"`
	Message string `json:"message"`
}

func errorDocs() []errorDoc {
	return []errorDoc{
		{"ParseError", codeParse, "The message is not JSON."},
		{"InvalidRequest", codeInvalidRequest, "The message is no request of JSON-RPC 2.0."},
		{"MethodNotFound", codeNoMethod, "There is no such method."},
		{"InvalidParams", codeInvalidParams, "A field has a value that is not taken; data.field names it."},
		{"InternalError", codeInternal, "Something went wrong that is none of the client's business; data.id finds it in the server's log."},
		{"SessionNotFound", codeNoSession, "There is no such session."},
		{"SessionClosed", codeSessionClosed, "The session is closing or closed."},
		{"LanguageNotReady", codeLanguage, "The language is unknown, or has no image."},
		{"LimitReached", codeLimit, "A limit of the server is reached; data.retryAfterMs is there where waiting helps."},
		{"ExecutionNotFound", codeNoExecution, "There is no such execution, or not any more."},
		{"PathRefused", codePath, "The file system of the session refuses; data.path and data.reason say why."},
		{"Cancelled", codeCancelled, "The request was cancelled, or the server is shutting down."},
		{"WrongState", codeState, "The execution is not in a state for this; data.status is the one it is in."},
	}
}

// discover answers rpc.discover.
func (s *Server) discover(context.Context, *caller, *noParams) (documentText, error) {
	return s.document, nil
}

// documentText is an encoded document.
type documentText []byte

// MarshalJSON returns the document.
func (t documentText) MarshalJSON() ([]byte, error) { return t, nil }

// newDocument makes the document of all methods.
func (s *Server) newDocument() document {
	d := document{
		OpenRPC: "1.3.2",
		Info: documentInfo{
			Title: "CodeBeaker",
			Description: "Runs untrusted code in containers: sessions, files, programs and what they print. " +
				"JSON-RPC 2.0 over WebSocket, one message or one batch for each text frame.",
			Version: protocolVersion,
		},
		Servers: []documentServer{{"local", "ws://127.0.0.1:5000" + Path}},
	}
	d.Info.License.Name = "Apache-2.0"
	all := s.newSchemas()
	d.Components.Errors = map[string]errorDoc{}
	errorRefs := map[int]*schema{}
	for _, e := range errorDocs() {
		d.Components.Errors[e.name] = e
		errorRefs[e.Code] = &schema{Ref: "#/components/errors/" + e.name}
	}
	for _, name := range slices.Sorted(maps.Keys(s.methods)) {
		m := s.methods[name]
		doc := methodDoc{
			Name: name, Summary: m.doc, ParamStructure: "by-name", Params: m.params.descriptors(),
			Result: contentDescriptor{Name: name + ".result", Schema: all.of(m.result)},
		}
		for _, code := range m.errors {
			doc.Errors = append(doc.Errors, errorRefs[code])
		}
		d.Methods = append(d.Methods, doc)
	}
	for _, n := range notifications() {
		d.Notifications = append(d.Notifications, notificationDoc{n.method(), n.doc(), all.descriptors(reflect.TypeOf(n).Elem())})
	}
	for _, t := range s.commands.types {
		all.components[t.component()] = s.commands.describe(t)
	}
	d.Components.Schemas = all.components
	return d
}

// newSchemas knows the schemas of the types that stand for several.
func (s *Server) newSchemas() *schemas {
	all := &schemas{components: map[string]*schema{}}
	union := &schema{}
	for _, t := range s.commands.types {
		if ref := all.reference(t.result); !slices.ContainsFunc(union.AnyOf, func(o *schema) bool { return o.Ref == ref.Ref }) {
			union.AnyOf = append(union.AnyOf, ref)
		}
	}
	union.AnyOf = append(union.AnyOf, all.reference(reflect.TypeFor[backgroundResult]()))
	all.special = map[reflect.Type]*schema{
		reflect.TypeFor[commandResult](): union,
		reflect.TypeFor[documentText]():  {Type: "object", Description: "An OpenRPC document."},
	}
	return all
}

// descriptors describes the fields of params, those that have to be there first.
func (o *object) descriptors() []contentDescriptor {
	list := []contentDescriptor{}
	for _, f := range o.fields {
		sc := f.describe()
		sc.Description = "" // said beside it
		list = append(list, contentDescriptor{Name: f.name, Description: f.doc, Required: f.required, Schema: sc})
	}
	slices.SortStableFunc(list, func(a, b contentDescriptor) int { return rank(a.Required) - rank(b.Required) })
	return list
}

func rank(required bool) int {
	if required {
		return 0
	}
	return 1
}

// encode returns the document as text.
func (d document) encode() documentText {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(d); err != nil { // it holds strings and numbers
		panic(err)
	}
	return b.Bytes()
}

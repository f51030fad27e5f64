package rpc

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	"codebeaker/session"
)

// schema is a JSON Schema of draft 7, as far as this package needs it.
type schema struct {
	Ref                  string             `json:"$ref,omitempty"`
	Description          string             `json:"description,omitempty"`
	Type                 any                `json:"type,omitempty"` // a string or a []string
	Format               string             `json:"format,omitempty"`
	Enum                 []string           `json:"enum,omitempty"`
	Default              json.RawMessage    `json:"default,omitempty"`
	Minimum              *int64             `json:"minimum,omitempty"`
	Maximum              *int64             `json:"maximum,omitempty"`
	ExclusiveMinimum     *int64             `json:"exclusiveMinimum,omitempty"`
	MinLength            int                `json:"minLength,omitempty"`
	Pattern              string             `json:"pattern,omitempty"`
	Items                *schema            `json:"items,omitempty"`
	MaxItems             int                `json:"maxItems,omitempty"`
	Properties           map[string]*schema `json:"properties,omitempty"`
	Required             []string           `json:"required,omitempty"`
	AdditionalProperties *schema            `json:"additionalProperties,omitempty"`
	MaxProperties        int                `json:"maxProperties,omitempty"`
	AllOf                []*schema          `json:"allOf,omitempty"`
	AnyOf                []*schema          `json:"anyOf,omitempty"`
	OneOf                []*schema          `json:"oneOf,omitempty"`
	Deprecated           bool               `json:"x-deprecated,omitempty"`
}

// schemas collects the schemas of structs under their names.
type schemas struct {
	components map[string]*schema
	// special has the schemas of types that only the caller knows.
	special map[reflect.Type]*schema
}

// of returns the schema of a type of results or notifications: a reference
// where the type is a struct. A type that it does not know is a mistake of this
// package, and a panic.
func (s *schemas) of(t reflect.Type) *schema {
	if known, ok := s.special[t]; ok {
		return known
	}
	if texts := textsOf(t); texts != nil {
		return &schema{Type: "string", Enum: texts}
	}
	switch t {
	case reflect.TypeFor[longText]():
		return &schema{Type: "string"}
	case reflect.TypeFor[wireTime]():
		return &schema{Type: "string", Format: "date-time"}
	case reflect.TypeFor[json.RawMessage]():
		return idSchema()
	}
	switch t.Kind() {
	case reflect.String:
		return &schema{Type: "string"}
	case reflect.Bool:
		return &schema{Type: "boolean"}
	case reflect.Int, reflect.Int64, reflect.Uint64:
		return &schema{Type: "integer"}
	case reflect.Float64:
		return &schema{Type: "number"}
	case reflect.Slice:
		return &schema{Type: "array", Items: s.of(t.Elem())}
	case reflect.Pointer:
		return nullable(s.of(t.Elem()))
	case reflect.Struct:
		return s.reference(t)
	default:
		panic(fmt.Sprintf("rpc: results have no schema for %v", t))
	}
}

// nullable lets a value be null.
func nullable(s *schema) *schema {
	if name, ok := s.Type.(string); ok && s.Enum == nil {
		own := *s
		own.Type = []string{name, "null"}
		return &own
	}
	return &schema{AnyOf: []*schema{s, {Type: "null"}}}
}

// reference sees that a struct has its schema among the components.
func (s *schemas) reference(t reflect.Type) *schema {
	name := componentName(t)
	if s.components[name] == nil {
		o := &schema{Type: "object", Properties: map[string]*schema{}}
		s.components[name] = o
		for _, d := range s.descriptors(t) {
			field := *d.Schema
			if field.Ref != "" { // beside which draft 7 ignores all else
				field = schema{AllOf: []*schema{{Ref: field.Ref}}}
			}
			field.Description = d.Description
			o.Properties[d.Name] = &field
			if d.Required {
				o.Required = append(o.Required, d.Name)
			}
		}
	}
	return &schema{Ref: "#/components/schemas/" + name}
}

// descriptors describes the fields of a struct of results or notifications.
func (s *schemas) descriptors(t reflect.Type) []contentDescriptor {
	list := []contentDescriptor{}
	for _, f := range reflect.VisibleFields(t) {
		if f.Anonymous {
			continue
		}
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		list = append(list, contentDescriptor{
			Name: name, Description: f.Tag.Get("doc"), Required: options != "omitempty", Schema: s.of(f.Type),
		})
	}
	return list
}

// componentName is the name of a type with a capital letter.
func componentName(t reflect.Type) string {
	return strings.ToUpper(t.Name()[:1]) + t.Name()[1:]
}

// textsOf returns the only texts that a type has, or nil.
func textsOf(t reflect.Type) []string {
	switch t {
	case reflect.TypeFor[session.State]():
		return textsFrom(session.StateCreating, session.StateActive, session.StateIdle, session.StateClosing, session.StateClosed)
	case reflect.TypeFor[session.FileType]():
		return textsFrom(session.FileRegular, session.FileDirectory, session.FileSymlink, session.FileOther)
	case reflect.TypeFor[session.EndReason]():
		return textsFrom(session.EndExited, session.EndSignaled, session.EndTimeout, session.EndOOM,
			session.EndCancelled, session.EndOutputLimit, session.EndSessionClosed, session.EndLost)
	case reflect.TypeFor[session.Reason]():
		return textsFrom(session.ReasonClosed, session.ReasonIdle, session.ReasonLifetime, session.ReasonLost, session.ReasonShutdown)
	case reflect.TypeFor[session.ExecutionStatus]():
		return textsFrom(session.StatusQueued, session.StatusRunning, session.StatusCompleted, session.StatusFailed)
	case reflect.TypeFor[statusText]():
		return append(textsOf(reflect.TypeFor[session.ExecutionStatus]()), string(statusNotFound))
	}
	return nil
}

func textsFrom[T ~string](values ...T) []string {
	texts := make([]string, 0, len(values))
	for _, v := range values {
		texts = append(texts, string(v))
	}
	return texts
}

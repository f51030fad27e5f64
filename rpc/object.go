package rpc

import (
	"cmp"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/agnivade/levenshtein"
)

// object is the plan by which a JSON object becomes a Go struct. It is made once
// for a type, from the tags of its fields:
//
//   - json is the name, which is matched exactly.
//   - takes are the rules, see rules.
//   - doc says to a person what the field is for.
//
// Fields of an embedded struct count as the struct's own.
type object struct {
	t      reflect.Type
	fields []objectField
	// beside has the fields of the same JSON object that another plan decodes;
	// nil for none. anyBeside says that they are not known here.
	beside    *object
	anyBeside bool
}

type objectField struct {
	name  string
	doc   string
	index []int
	rules
	shape
}

// rules are what a field takes beyond its type. They are written with commas
// between them: "required,min=1,max=9".
type rules struct {
	required bool
	nonEmpty bool
	// least and most bound a whole number: min, max.
	least, most int64
	// unit is that of a duration: s or min.
	unit time.Duration
	// limit says that the session bounds the number, and names the bounds: a value
	// out of range is passed on as one that the session refuses.
	limit bool
	// oneOf are the only texts that are taken: oneof=a|b.
	oneOf []string
	// also is another spelling of the name, that of old clients. Where both are
	// there, the name counts.
	also string
	// byDefault is the value of an absent field: default=true. The decoder sets
	// those of booleans; others are known to whoever carries out the request.
	byDefault string
}

// newObject makes the plan for a struct. Special has the shapes of types that
// only the caller knows. A mistake in a tag is a panic.
func newObject(t reflect.Type, special map[reflect.Type]shape) *object {
	o := &object{t: t}
	for _, f := range reflect.VisibleFields(t) {
		if f.Anonymous {
			continue
		}
		r := parseRules(f.Tag.Get("takes"))
		sh, ok := special[f.Type]
		if !ok {
			sh = shapeOf(f.Type, r)
		}
		o.fields = append(o.fields, objectField{f.Tag.Get("json"), f.Tag.Get("doc"), f.Index, r, sh})
	}
	return o
}

func parseRules(tag string) rules {
	r := rules{most: math.MaxInt64}
	if tag == "" {
		return r
	}
	for rule := range strings.SplitSeq(tag, ",") {
		name, value, _ := strings.Cut(rule, "=")
		var err error
		switch name {
		case "required":
			r.required = true
		case "nonempty":
			r.nonEmpty = true
		case "min":
			r.least, err = strconv.ParseInt(value, 10, 64)
		case "max":
			r.most, err = strconv.ParseInt(value, 10, 64)
		case "limit":
			r.limit = true
		case "unit":
			r.unit, err = time.ParseDuration("1" + strings.TrimSuffix(value, "in"))
		case "oneof":
			r.oneOf = strings.Split(value, "|")
		case "also":
			r.also = value
		case "default":
			r.byDefault = value
		default:
			err = fmt.Errorf("no such rule")
		}
		if err != nil {
			panic(fmt.Sprintf("rpc: rule %q: %v", rule, err))
		}
	}
	return r
}

// decode reads the fields of a valid JSON object that is at path, the empty one
// being that of the params themselves, into dst, which is of the plan's type.
// An unknown field is an error, because a client that misspells one would not
// learn it otherwise. Null counts as absent. Of a field that comes twice the last
// counts.
func (o *object) decode(path string, raw []byte, dst reflect.Value) error {
	if raw[0] != '{' {
		return mistyped(path, "an object", raw)
	}
	const byOther, byName = 1, 2 // spellings
	for i := range o.fields {
		if f := &o.fields[i]; f.byDefault == "true" {
			dst.FieldByIndex(f.index).SetBool(true)
		}
	}
	seen := make([]byte, len(o.fields))
	err := eachField(raw, func(name, raw []byte) error {
		i, spelling := o.find(name)
		if i < 0 {
			return o.refuse(path, string(name))
		}
		f := &o.fields[i]
		if isNull(raw) && (!f.required || f.also != "") {
			return nil
		}
		to, rank := dst.FieldByIndex(f.index), byte(byName)
		if spelling == f.also {
			rank = byOther
		}
		if rank < seen[i] {
			to = reflect.New(to.Type()).Elem() // checked, and not kept
		}
		seen[i] = max(seen[i], rank)
		return f.set(to, join(path, spelling), raw)
	})
	if err != nil {
		return err
	}
	for i, f := range o.fields {
		if f.required && seen[i] == 0 {
			at := join(path, f.name)
			return invalidParams(at, "%s is required and takes %s", at, f.takes)
		}
	}
	return nil
}

// find returns the field of a name, and which of its spellings that is, or -1.
func (o *object) find(name []byte) (int, string) {
	for i := range o.fields {
		switch f := &o.fields[i]; string(name) {
		case f.name:
			return i, f.name
		case f.also:
			return i, f.also
		}
	}
	return -1, ""
}

// refuse returns the error for a field that the plan does not have, which names the
// field that was probably meant; nil if another plan decodes it.
func (o *object) refuse(path, name string) error {
	if o.anyBeside {
		return nil
	}
	known := o.names()
	if o.beside != nil {
		if i, _ := o.beside.find([]byte(name)); i >= 0 {
			return nil
		}
		known = append(known, o.beside.names()...)
	}
	at := join(path, shorten(name))
	if len(known) == 0 {
		return invalidParams(at, "%s is unknown: the method takes no fields", at)
	}
	nearest := slices.MinFunc(known, func(a, b string) int { return cmp.Compare(distance(a, name), distance(b, name)) })
	if distance(nearest, name) > max(1, len(name)/2) {
		slices.Sort(known)
		return invalidParams(at, "%s is unknown: the fields are %s", at, strings.Join(known, ", "))
	}
	return invalidParams(at, "%s is unknown: did you mean %s?", at, join(path, nearest))
}

// distance is how many characters differ, whatever their case. Only the beginning
// of what a client sent counts.
func distance(known, sent string) int {
	return levenshtein.ComputeDistance(strings.ToLower(known), strings.ToLower(shorten(sent)))
}

// names returns every spelling of the fields.
func (o *object) names() []string {
	var names []string
	for _, f := range o.fields {
		if names = append(names, f.name); f.also != "" {
			names = append(names, f.also)
		}
	}
	return names
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// describe returns the schema of the object.
func (o *object) describe() *schema {
	s := &schema{Type: "object", Properties: map[string]*schema{}}
	for _, f := range o.fields {
		s.Properties[f.name] = f.describe()
		switch {
		case f.also != "":
			s.Properties[f.also] = f.describe()
			s.Properties[f.also].Description = "Another spelling of " + f.name + "."
			if f.required {
				s.AllOf = append(s.AllOf, &schema{AnyOf: []*schema{{Required: []string{f.name}}, {Required: []string{f.also}}}})
			}
		case f.required:
			s.Required = append(s.Required, f.name)
		}
	}
	return s
}

// describe returns the schema of the field's value.
func (f *objectField) describe() *schema {
	s := *f.schema
	s.Description = f.doc
	if f.byDefault != "" {
		s.Default = []byte(f.byDefault)
		if s.Type == "string" {
			s.Default = []byte(strconv.Quote(f.byDefault))
		}
	}
	return &s
}

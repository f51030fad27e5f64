package images

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
)

// ruby is a language as a user may add it.
func ruby() Language {
	return Language{
		Name: "ruby", Aliases: []string{"rb"}, Image: "docker.io/library/ruby:3.4",
		Program: Program{Run: []string{"ruby", "{file}"}},
	}
}

func TestWithAddsLanguages(t *testing.T) {
	base := NewCatalogue()
	before := base.Names()
	c, err := base.With(ruby(), Language{Name: "c-11", Program: Program{
		File: "*.c", Compile: []string{"cc", "-o", "{base}", "{file}"}, Run: []string{"{base}"},
	}}, Language{Name: "awk", Program: Program{Run: []string{"awk", "{ print }", "{file}"}}})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := c.Names(), append(before, "ruby", "c-11", "awk"); !slices.Equal(got, want) {
		t.Errorf("languages are %q; want %q", got, want)
	}
	if l, ok := c.Lookup("RB"); !ok || l.Name != "ruby" || l.Program.File != ".main-*.src" || l.Buildable() {
		t.Errorf("ruby is %+v, %t", l, ok)
	}
	if got := base.Names(); !slices.Equal(got, before) {
		t.Errorf("the catalogue that it was made from has %q", got)
	}
}

func TestWithFindsMistakes(t *testing.T) {
	for name, tc := range map[string]struct {
		change  func(*Language)
		field   string
		element int
		text    string
	}{
		"bad name":            {func(l *Language) { l.Name = "Ruby" }, "name", -1, "lower-case"},
		"no name":             {func(l *Language) { l.Name = "" }, "name", -1, "lower-case"},
		"long name":           {func(l *Language) { l.Name = strings.Repeat("r", 64) }, "name", -1, "at most 63"},
		"built-in":            {func(l *Language) { l.Name = "python" }, "name", -1, "taken by python"},
		"alias of a built-in": {func(l *Language) { l.Name = "js" }, "name", -1, "taken by javascript"},
		"taken alias":         {func(l *Language) { l.Aliases = []string{"rb", "py"} }, "aliases", 1, "taken by python"},
		"bad alias":           {func(l *Language) { l.Aliases = []string{"a b"} }, "aliases", 0, "takes"},
		"alias twice":         {func(l *Language) { l.Aliases = []string{"rb", "rb"} }, "aliases", 1, "twice"},
		"alias as the name":   {func(l *Language) { l.Aliases = []string{"ruby"} }, "aliases", 0, "twice"},
		"bad image":           {func(l *Language) { l.Image = "Not An Image" }, "image", -1, "no image reference"},
		"path as file":        {func(l *Language) { l.Program.File = "../x" }, "file", -1, "without '/'"},
		"two stars":           {func(l *Language) { l.Program.File = "*.*" }, "file", -1, "one '*'"},
		"no run":              {func(l *Language) { l.Program.Run = nil }, "run", -1, "missing"},
		"run without program": {func(l *Language) { l.Program.Run = []string{"ruby"} }, "run", -1, "{file}"},
		"empty program":       {func(l *Language) { l.Program.Run = []string{"", "{file}"} }, "run", 0, "name of a program"},
		"NUL":                 {func(l *Language) { l.Program.Run = []string{"ruby", "{file}", "a\x00"} }, "run", 2, "NUL"},
		"bad placeholder":     {func(l *Language) { l.Program.Run = []string{"ruby", "{file}", "{fil}"} }, "run", 2, "{fil}"},
		"empty compile":       {func(l *Language) { l.Program.Compile = []string{} }, "compile", -1, "empty"},
		"compile placeholder": {func(l *Language) { l.Program.Compile = []string{"cc", "-o{out}"} }, "compile", 1, "{file} and {base}"},
		"install placeholder": {func(l *Language) { l.Program.Install = []string{"gem", "{file}"} }, "install", 1, "none here"},
		"install without it":  {func(l *Language) { l.Program.InstallFile = []string{"bundle"} }, "install_file", -1, "{file}"},
		"bad made":            {func(l *Language) { l.Program.Made = []string{"{base}.o", "a.out"} }, "made", 1, "{base} or {file}"},
		"no extension":        {func(l *Language) { l.Program.File, l.Program.Run = ".p*", []string{"{base}"} }, "file", -1, "extension"},
		"bad variable":        {func(l *Language) { l.Program.Offline = []string{"A=b", "C"} }, "offline", 1, "NAME=value"},
	} {
		t.Run(name, func(t *testing.T) {
			l := ruby()
			tc.change(&l)
			_, err := NewCatalogue().With(l)
			wrong, ok := errors.AsType[*LanguageError](err)
			if !ok || wrong.Language != l.Name || wrong.Field != tc.field || wrong.Element != tc.element || !strings.Contains(wrong.Problem, tc.text) {
				t.Errorf("error is %+v; want one of %s, element %d, with %q", err, tc.field, tc.element, tc.text)
			}
			if !errdefs.IsInvalidArgument(err) {
				t.Errorf("error is %v; want %v", err, errdefs.ErrInvalidArgument)
			}
		})
	}
}

func TestWithReportsAllMistakes(t *testing.T) {
	a, b := ruby(), ruby()
	a.Program.Run = nil
	_, err := NewCatalogue().With(a, b)
	for _, want := range []string{`"ruby": run: is missing`, `"ruby": name: "ruby" is taken`, `aliases: "rb" is taken`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error is %v; want %q in it", err, want)
		}
	}
}

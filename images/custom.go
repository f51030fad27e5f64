package images

import (
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/distribution/reference"
)

// defaultFile names the file of a program whose language does not say.
const defaultFile = ".main-*.src"

var (
	// languageName is what may be a part of an image's name.
	languageName  = regexp.MustCompile(`^[a-z0-9]+([._-][a-z0-9]+)*$`)
	languageAlias = regexp.MustCompile(`^[a-z0-9][a-z0-9._+#-]*$`)
	// placeholder is what looks like one; not { print }, as in awk.
	placeholder = regexp.MustCompile(`\{[A-Za-z_]+\}`)
)

const (
	maxLanguageName = 63
	maxFileName     = 100
)

// LanguageError says what is wrong with a language that Catalogue.With was
// given. It wraps ErrInvalidArgument.
type LanguageError struct {
	// Language is the name of the language.
	Language string
	// Field is what is wrong with it: "name", "aliases", "image", "file",
	// "compile", "made", "run", "install", "install_file" or "offline".
	Field string
	// Element is the number of the wrong element where the field is a list and
	// one element is wrong; else -1.
	Element int
	// Problem says what is wrong.
	Problem string
}

func (e *LanguageError) Error() string {
	return fmt.Sprintf("language %q: %s: %s", e.Language, e.Field, e.Problem)
}

// Unwrap implements errors.Is.
func (e *LanguageError) Unwrap() error { return errdefs.ErrInvalidArgument }

// With returns a catalogue that has languages of a user's own after those of c.
// Their images are pulled or imported. Where a language is wrong, the error
// joins a LanguageError for each mistake.
//
// Nothing of c can be replaced, so that a name means the same on all hosts.
func (c *Catalogue) With(languages ...Language) (*Catalogue, error) {
	all := &Catalogue{languages: slices.Clone(c.languages)}
	var errs []error
	for _, l := range languages {
		l.Aliases = slices.Clone(l.Aliases)
		if l.Program.File == "" {
			l.Program.File = defaultFile
		}
		v := validator{language: l.Name}
		v.names(all, l)
		v.image(l.Image)
		v.program(l.Program)
		errs = append(errs, v.errs...)
		all.languages = append(all.languages, l)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return all, nil
}

// validator collects the mistakes in a language.
type validator struct {
	language string
	errs     []error
}

func (v *validator) wrong(field string, element int, format string, args ...any) {
	v.errs = append(v.errs, &LanguageError{Language: v.language, Field: field, Element: element, Problem: fmt.Sprintf(format, args...)})
}

// names looks at a language's names; others has the languages before it.
func (v *validator) names(others *Catalogue, l Language) {
	if !languageName.MatchString(l.Name) || len(l.Name) > maxLanguageName {
		v.wrong("name", -1, "takes lower-case letters and digits, with '.', '_' or '-' between them, at most %d", maxLanguageName)
	}
	if other, ok := others.Lookup(l.Name); ok {
		v.wrong("name", -1, "%q is taken by %s; choose another name", l.Name, other.Name)
	}
	for i, alias := range l.Aliases {
		switch other, taken := others.Lookup(alias); {
		case !languageAlias.MatchString(alias), len(alias) > maxLanguageName:
			v.wrong("aliases", i, "%q: takes lower-case letters, digits and any of . _ + # - after the first, at most %d", alias, maxLanguageName)
		case taken:
			v.wrong("aliases", i, "%q is taken by %s; choose another alias", alias, other.Name)
		case alias == l.Name, slices.Contains(l.Aliases[:i], alias):
			v.wrong("aliases", i, "%q is there twice", alias)
		}
	}
}

func (v *validator) image(ref string) {
	if ref == "" {
		return
	}
	if _, err := reference.ParseDockerRef(ref); err != nil {
		v.wrong("image", -1, "%q is no image reference: %v", ref, err)
	}
}

func (v *validator) program(p Program) {
	switch f := p.File; {
	case path.Ext(f) == f && (mentions(p.Run, "base") || mentions(p.Compile, "base")):
		v.wrong("file", -1, "takes a name with an extension, which {base} is without")
	case strings.ContainsAny(f, "/\x00"), f == ".", f == "..", len(f) > maxFileName, strings.Count(f, "*") > 1:
		v.wrong("file", -1, "takes a file name of at most %d bytes without '/', in which one '*' may stand for a text of its own", maxFileName)
	}
	if len(p.Run) == 0 {
		v.wrong("run", -1, "is missing; it is the command that runs a program, such as [\"ruby\", \"{file}\"]")
	}
	if p.Compile != nil && len(p.Compile) == 0 {
		v.wrong("compile", -1, "is empty; leave it out, or give a command")
	}
	v.command("compile", p.Compile, "file", "base")
	for i, made := range p.Made {
		if !mentions([]string{made}, "base", "file") {
			v.wrong("made", i, "%q: takes a path with {base} or {file} in it", made)
		}
	}
	v.command("made", p.Made, "file", "base")
	v.command("run", p.Run, "file", "base")
	v.command("install", p.Install)
	v.command("install_file", p.InstallFile, "file")
	if len(p.Run) > 0 && !mentions(p.Run, "file", "base") && !mentions(p.Compile, "file", "base") {
		v.wrong("run", -1, "names the program nowhere; {file} stands for its path")
	}
	if len(p.InstallFile) > 0 && !mentions(p.InstallFile, "file") {
		v.wrong("install_file", -1, "names the file nowhere; {file} stands for its path")
	}
	for i, kv := range p.Offline {
		if name, _, ok := strings.Cut(kv, "="); !ok || name == "" || strings.Contains(kv, "\x00") {
			v.wrong("offline", i, "%q: takes NAME=value", kv)
		}
	}
}

// command looks at a command in which placeholders with these names may be.
func (v *validator) command(field string, command []string, names ...string) {
	for i, arg := range command {
		if i == 0 && arg == "" {
			v.wrong(field, i, "takes the name of a program first")
		}
		if strings.Contains(arg, "\x00") {
			v.wrong(field, i, "takes texts without NUL")
		}
		for _, p := range placeholder.FindAllString(arg, -1) {
			if slices.Contains(names, strings.Trim(p, "{}")) {
				continue
			}
			known := "there are none here"
			if len(names) > 0 {
				known = "there are {" + strings.Join(names, "} and {") + "}"
			}
			v.wrong(field, i, "there is no placeholder %s; %s (with a space after the brace it is plain text)", p, known)
		}
	}
}

// mentions says whether a command has one of the placeholders.
func mentions(command []string, names ...string) bool {
	return slices.ContainsFunc(command, func(arg string) bool {
		return slices.ContainsFunc(names, func(name string) bool { return strings.Contains(arg, "{"+name+"}") })
	})
}

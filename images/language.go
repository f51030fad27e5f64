package images

import (
	"slices"
	"strings"

	digest "github.com/opencontainers/go-digest"
)

// registry is the host part of every image name. Nothing is ever looked up
// there: ".local" belongs to no registry.
const registry = "codebeaker.local"

// Language is an entry of the catalogue.
type Language struct {
	// Name is the name on the wire, in lower case.
	Name string
	// Aliases are other names for it, in lower case.
	Aliases []string
	// Program says how a program of one file is run.
	Program Program
	// Image is the reference of the image that Pull pulls where it is told
	// none; empty where there is no such image.
	Image string

	recipe *recipe // nil where Build cannot make the image
	// versionEnv is the variable by which the language's official image tells
	// the version of its toolchain.
	versionEnv string
}

// Program is how a language runs a program that is one file, and how it
// installs packages. In commands "{file}" stands for the path of the file and
// "{base}" for that path without its extension; both are absolute. Commands
// run in the directory of the file, which is the program's working directory.
type Program struct {
	// File is the name of the file. A "*" in it stands for a text that makes
	// the name one of its own.
	File string
	// Compile is the command that has to succeed before Run; nil where the
	// language has none.
	Compile []string
	// Made are the files and directories that Compile makes, such as
	// "{base}.exe". They are removed with the file after the program's end.
	Made []string
	// Run is the command that runs the program; a program's arguments follow.
	Run []string
	// Install is the command that installs packages, whose names follow; nil
	// where the language has none.
	Install []string
	// InstallFile is the command that installs what a file lists, whose path
	// is "{file}"; nil where the language has no such files.
	InstallFile []string
	// Offline are variables, "NAME=value", that tell its package manager that
	// there is no network, beside those of Catalogue.Offline.
	Offline []string
}

// Buildable says that Build can make the language's image. Any language's
// image can be pulled or imported.
func (l Language) Buildable() bool { return l.recipe != nil }

// RecipeDigest returns the digest of the language's recipe, or an empty text
// where it has none. An Image that was built from another recipe is out of
// date.
func (l Language) RecipeDigest() digest.Digest {
	if l.recipe == nil {
		return ""
	}
	return l.recipe.digest()
}

// Catalogue is the languages that there are. It does not change, and is safe
// for concurrent use. The zero value is empty; NewCatalogue makes the usual one.
type Catalogue struct{ languages []Language }

// NewCatalogue returns the catalogue of the built-in languages.
func NewCatalogue() *Catalogue {
	return &Catalogue{languages: []Language{python(), javascript(), golang(), csharp()}}
}

// Languages returns the languages in their order. The caller owns the list and
// must not change what it refers to.
func (c *Catalogue) Languages() []Language { return slices.Clone(c.languages) }

// Names returns the languages' names in their order.
func (c *Catalogue) Names() []string {
	names := make([]string, 0, len(c.languages))
	for _, l := range c.languages {
		names = append(names, l.Name)
	}
	return names
}

// Lookup finds a language by its name or an alias, in upper or lower case.
func (c *Catalogue) Lookup(name string) (Language, bool) {
	name = strings.ToLower(name)
	for _, l := range c.languages {
		if l.Name == name || slices.Contains(l.Aliases, name) {
			return l, true
		}
	}
	return Language{}, false
}

// ImageName returns the name in containerd of a language's image. The language
// is named as in the catalogue, not by an alias.
func ImageName(language string) string {
	return registry + "/" + language + ":latest"
}

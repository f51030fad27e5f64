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

	recipe *recipe // nil where Build cannot make the image
	// versionEnv is the variable by which the language's official image tells
	// the version of its toolchain.
	versionEnv string
}

// Program is how a language runs a program that is one file.
type Program struct {
	// File is the name of the file.
	File string
	// Run is the command, in the file's directory; a program's arguments
	// follow it.
	Run []string
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

// Languages returns the catalogue. The caller owns what is returned.
func Languages() []Language {
	return []Language{
		{
			Name: "python", Aliases: []string{"py"}, versionEnv: "PYTHON_VERSION", recipe: pythonRecipe(),
			Program: Program{"main.py", []string{"python3", "main.py"}},
		},
		{
			Name: "javascript", Aliases: []string{"js", "node", "nodejs"}, versionEnv: "NODE_VERSION",
			Program: Program{"main.js", []string{"node", "main.js"}},
		},
		{
			Name: "go", Aliases: []string{"golang"}, versionEnv: "GOLANG_VERSION",
			Program: Program{"main.go", []string{"go", "run", "main.go"}},
		},
		{
			Name: "csharp", Aliases: []string{"cs", "c#", "dotnet"}, versionEnv: "DOTNET_SDK_VERSION",
			Program: Program{"main.cs", []string{"/bin/sh", "-c", `mcs -out:main.exe main.cs && exec mono main.exe "$@"`, "sh"}},
		},
	}
}

// Lookup finds a language by its name or an alias, in upper or lower case.
func Lookup(name string) (Language, bool) {
	name = strings.ToLower(name)
	for _, l := range Languages() {
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

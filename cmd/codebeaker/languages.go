package main

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/distribution/reference"

	"codebeaker/images"
)

// languageConfig is a table [languages.NAME] of the configuration file.
type languageConfig struct {
	Aliases     []string `toml:"aliases"`
	Image       string   `toml:"image"`
	File        string   `toml:"file"`
	Compile     []string `toml:"compile"`
	Made        []string `toml:"made"`
	Run         []string `toml:"run"`
	Install     []string `toml:"install"`
	InstallFile []string `toml:"install_file"`
	Offline     []string `toml:"offline"`
}

// registryConfig is a table [registries."HOST:PORT"] of the configuration file.
type registryConfig struct {
	CA        string `toml:"ca"`
	PlainHTTP bool   `toml:"plain_http"`
}

// newCatalogue returns the built-in languages and those of the configuration.
func (c *config) newCatalogue() (*images.Catalogue, error) {
	var own []images.Language
	for _, name := range slices.Sorted(maps.Keys(c.Languages)) {
		l := c.Languages[name]
		own = append(own, images.Language{
			Name: name, Aliases: l.Aliases, Image: l.Image,
			Program: images.Program{
				File: l.File, Compile: l.Compile, Made: l.Made, Run: l.Run,
				Install: l.Install, InstallFile: l.InstallFile, Offline: l.Offline,
			},
		})
	}
	return images.NewCatalogue().With(own...)
}

// registries returns the registries of the configuration.
func (c *config) registries() map[string]images.Registry {
	all := make(map[string]images.Registry, len(c.Registries))
	for host, r := range c.Registries {
		all[host] = images.Registry{CA: r.CA, PlainHTTP: r.PlainHTTP}
	}
	return all
}

// mistake is a mistake in the configuration file and the key that it is at: an
// element of it where that is not negative.
type mistake struct {
	key     []string
	element int
	text    string
}

// checkTables returns the mistakes in the tables of languages and registries
// that go-toml cannot know of.
func (c *config) checkTables() []mistake {
	var found []mistake
	_, err := c.newCatalogue()
	for _, err := range unjoin(err) {
		wrong, ok := errors.AsType[*images.LanguageError](err)
		if !ok {
			found = append(found, mistake{key: []string{"languages"}, element: -1, text: err.Error()})
			continue
		}
		key := []string{"languages", wrong.Language}
		if wrong.Field != "name" { // which is the key itself
			key = append(key, wrong.Field)
		}
		found = append(found, mistake{key: key, element: wrong.Element, text: err.Error()})
	}
	for _, host := range slices.Sorted(maps.Keys(c.Registries)) {
		r := c.Registries[host]
		wrong := func(key, text string) {
			path := []string{"registries", host}
			if key != "" {
				path = append(path, key)
			}
			found = append(found, mistake{key: path, element: -1, text: fmt.Sprintf("registry %q: %s", host, text)})
		}
		if named, err := reference.ParseNamed(host + "/image"); err != nil || reference.Domain(named) != host {
			wrong("", "takes a host, and its port where it has one, as in references: registry.example.org:5000")
		}
		if r.CA != "" && !filepath.IsAbs(r.CA) {
			wrong("ca", "takes the absolute path of a file")
		}
		if r.CA != "" && r.PlainHTTP {
			wrong("ca", "has no use with plain_http, which is without certificates")
		}
	}
	return found
}

// unjoin returns the errors that errors.Join joined.
func unjoin(err error) []error {
	if err == nil {
		return nil
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	return []error{err}
}

// reportMistakes makes one error of mistakes in a file: each with its place.
func reportMistakes(path string, text []byte, found []mistake) error {
	var errs []error
	for _, m := range found {
		row, column := locate(text, m.key, m.element)
		errs = append(errs, fmt.Errorf("%s:%d:%d: %s", path, row, column, strings.TrimSpace(m.text)))
	}
	return errors.Join(errs...)
}

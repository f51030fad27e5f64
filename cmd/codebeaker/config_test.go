package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// decodeFile decodes a configuration file with this text and returns its path.
func decodeFile(t *testing.T, text string) (*config, string, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "codebeaker.toml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c := &config{}
	return c, path, c.decode(path)
}

func TestConfigurationAddsLanguages(t *testing.T) {
	c, _, err := decodeFile(t, `
max_sessions = 3

[languages.ruby]
aliases = ["rb"]
image = "docker.io/library/ruby:3.4"
file = "main-*.rb"
run = ["ruby", "{file}"]

[languages]
lua = { run = ["lua", "{file}"] }

[registries."registry.example.org:5000"]
ca = "/etc/ca.pem"
[registries."127.0.0.1:5001"]
plain_http = true
`)
	if err != nil {
		t.Fatal(err)
	}
	catalogue, err := c.newCatalogue()
	if err != nil {
		t.Fatal(err)
	}
	if got, want := catalogue.Names()[4:], []string{"lua", "ruby"}; !slices.Equal(got, want) {
		t.Errorf("languages are %q; want %q", got, want)
	}
	l, ok := catalogue.Lookup("rb")
	if !ok || l.Image != "docker.io/library/ruby:3.4" || l.Program.File != "main-*.rb" || !slices.Equal(l.Program.Run, []string{"ruby", "{file}"}) {
		t.Errorf("ruby is %+v, %t", l, ok)
	}
	if r := c.registries(); r["registry.example.org:5000"].CA != "/etc/ca.pem" || !r["127.0.0.1:5001"].PlainHTTP {
		t.Errorf("registries are %+v", r)
	}
}

func TestMistakesInTheConfigurationHaveAPlace(t *testing.T) {
	for name, tc := range map[string]struct{ text, want string }{
		"unknown option":      {"listen = ''\nlisen = ''", `:2:1: no option "lisen"`},
		"unknown key":         {"[languages.ruby]\nrun = ['ruby', '{file}']\n  imagee = 'x'", `:3:3: no option "languages.ruby.imagee"`},
		"wrong type":          {"[languages.ruby]\nrun = 'ruby {file}'", ":2:7: "},
		"wrong type in array": {"[languages.ruby]\nrun = ['ruby', 5]", ":2:16: "},
		"twice":               {"[languages.ruby]\nrun = ['a', '{file}']\n[languages.ruby]", ":3:"},
		"missing run":         {"\n[languages.ruby]\nimage = 'ruby'", `:2:12: language "ruby": run: is missing`},
		"missing run inline":  {"[languages]\nruby = {image = 'ruby'}", `:2:1: language "ruby": run: is missing`},
		"bad name":            {"[languages.Ruby]\nrun = ['ruby', '{file}']", `:1:12: language "Ruby": name: takes`},
		"taken name":          {"[languages.node]\nrun = ['node', '{file}']", `:1:12: language "node": name: "node" is taken by javascript`},
		"taken alias":         {"[languages.ruby]\nrun = ['ruby', '{file}']\naliases = [\n  'rb', # good\n  'py',\n]", `:5:3: language "ruby": aliases: "py" is taken by python`},
		"alias of another":    {"[languages.a]\nrun = ['a', '{file}']\naliases = ['x']\n[languages.b]\nrun = ['b', '{file}']\naliases = ['x']", `:6:12: language "b": aliases: "x" is taken by a`},
		"bad image":           {"[languages.ruby]\nrun = ['ruby', '{file}']\nimage = 'A B'", `:3:9: language "ruby": image: "A B" is no image reference`},
		"bad placeholder":     {"[languages.ruby]\nrun = ['ruby', '{file}', '{args}']", `:2:26: language "ruby": run: there is no placeholder {args}`},
		"dotted keys":         {"languages.ruby.run = ['ruby']", `:1:16: language "ruby": run: names the program nowhere`},
		"inline table":        {"languages = {ruby = {run = ['ruby']}}", `:1:22: language "ruby": run: names the program nowhere`},
		"quoted name":         {"[languages.'ruby x']\nrun = ['ruby', '{file}']", `:1:12: language "ruby x": name: takes`},
		"bad registry":        {"[registries.'https://r.example.org']\nplain_http = true", `:1:13: registry "https://r.example.org": takes a host`},
		"relative CA":         {"[registries.'r.example.org:5000']\nca = 'ca.pem'", `:2:6: registry "r.example.org:5000": takes the absolute path`},
		"CA without TLS":      {"[registries.'r.example.org:5000']\nplain_http = true\nca = '/ca.pem'", ":3:6: registry"},
		"wrong CA":            {"[registries.'r.example.org:5000']\nca = true", ":2:6: "},
	} {
		t.Run(name, func(t *testing.T) {
			_, path, err := decodeFile(t, tc.text)
			if err == nil || !strings.Contains(err.Error(), path+tc.want) {
				t.Errorf("error is:\n%v\nwant one with:\n%s", err, path+tc.want)
			}
		})
	}
}

// TestPackagedConfiguration reads the file that installations get, as it is and
// with its examples in force.
func TestPackagedConfiguration(t *testing.T) {
	text, err := os.ReadFile("../../packaging/codebeaker.toml")
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := decodeFile(t, string(text)); err != nil {
		t.Error(err)
	}
	examples := regexp.MustCompile(`(?m)^#([a-z_]+ =|\[)`).ReplaceAllString(string(text), "$1")
	c, _, err := decodeFile(t, examples)
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Languages) != 2 || len(c.Registries) != 2 {
		t.Errorf("its examples make %d languages and %d registries; want 2 of each", len(c.Languages), len(c.Registries))
	}
}

func TestAllMistakesAreReported(t *testing.T) {
	_, path, err := decodeFile(t, "[languages.ruby]\naliases = ['go']\n[registries.'a b']\nca = 'x'")
	for _, want := range []string{":1:12: ", ":2:12: ", ":3:13: ", ":4:6: "} {
		if err == nil || !strings.Contains(err.Error(), path+want) {
			t.Errorf("error is:\n%v\nwant one with %q", err, want)
		}
	}
}

func TestZygotesAreWhatTheConfigurationSays(t *testing.T) {
	c, _, err := decodeFile(t, "zygote = true\nzygote_preload = ['json', 'xml.etree']\n")
	if err != nil {
		t.Fatal(err)
	}
	if got := c.zygotes(true)["python"]; !slices.Equal(got, []string{"json", "xml.etree"}) {
		t.Errorf("modules are %q", got)
	}
	if got := c.zygotes(false); got != nil {
		t.Errorf("on a runtime that has none there are %v", got)
	}
	c.Zygote = false
	if got := c.zygotes(true); got != nil {
		t.Errorf("turned off there are %v", got)
	}
	for name, ok := range map[string]bool{"json": true, "xml.etree.ElementTree": true, "_x1": true, "": false, "a b": false, "a..b": false, ".a": false, "1a": false, "a\x00b": false} {
		if got := moduleName.MatchString(name); got != ok {
			t.Errorf("module %q: %v", name, got)
		}
	}
}

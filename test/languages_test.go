package test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// listed is an entry of language.list.
type listed struct {
	Name           string
	Aliases        []string
	Version, Image string
	Ready          bool
}

func (s *server) languageList(t *testing.T) map[string]listed {
	t.Helper()
	var answer struct{ Languages []listed }
	if err := s.dial(t).Call(t.Context(), "language.list", object{}, &answer); err != nil {
		t.Fatal(err)
	}
	all := make(map[string]listed, len(answer.Languages))
	for _, l := range answer.Languages {
		all[l.Name] = l
	}
	return all
}

// TestConfiguredLanguage goes the way of an operator who adds a language: the
// configuration file, its registry, codebeaker images pull, serve.
func TestConfiguredLanguage(t *testing.T) {
	registry := newDockerRegistry(t, true)
	registry.push(t, "1", hostPlatform(), busyboxLayer(t, nil))
	config := filepath.Join(t.TempDir(), "codebeaker.toml")
	text := `
[registries."` + registry.host + `"]
ca = "` + registry.ca + `"

[languages.busysh]
aliases = ["bsh"]
image = "` + registry.host + `/lib/image:1"
compile = ["sh", "-c", "echo compiled >&2; cp $0 $1.out", "{file}", "{base}"]
made = ["{base}.out"]
run = ["sh", "{base}.out"]
`
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s := unstarted(t)
	if err := s.images(t.Context(), "--config", config, "pull", "bsh"); err != nil {
		t.Fatal(err)
	}
	if err := s.start("--config", config); err != nil {
		t.Fatal(err)
	}
	if l := s.languageList(t)["busysh"]; !l.Ready || !slices.Equal(l.Aliases, []string{"bsh"}) {
		t.Errorf("language.list has %+v", l)
	}
	b := s.session(t, object{"language": "BSH"})
	o := b.do(object{"type": "execute_code", "code": "read a; echo $a $1; exit 3\n", "args": []string{"x y"}, "stdin": "in\n"})
	if r := o.Result; r.Stdout != "in x y\n" || r.Stderr != "compiled\n" || r.ExitCode != 3 || b.info.Language != "busysh" {
		t.Errorf("answer is %+v in a session of %s", o, b.info.Language)
	}
	if left := b.sh("ls -A").Stdout; left != "" {
		t.Errorf("the workspace has %q after the program", left)
	}

	// Without the file nobody knows the language, and its image does no harm.
	_, stderr, code, err := command(t.Context(), "", append(append([]string{"images"}, s.hostArgs()...), "pull", "busysh")...)
	if err != nil || code != 1 || !strings.Contains(stderr, `no language is called "busysh"`) {
		t.Errorf("without the configuration: %d, %q, %v", code, stderr, err)
	}
}

func TestMistakenConfigurationStopsEveryCommand(t *testing.T) {
	s := unstarted(t)
	config := filepath.Join(t.TempDir(), "codebeaker.toml")
	if err := os.WriteFile(config, []byte("[languages.js]\nrun = ['node', '{file}']\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"serve"}, {"images", "list"}, {"images", "build", "python"}} {
		args = append(append(args, s.hostArgs()...), "--config", config)
		_, stderr, code, err := command(t.Context(), "", args...)
		if err != nil || code != 1 || !strings.Contains(stderr, config+`:1:12: language "js": name: "js" is taken by javascript`) {
			t.Errorf("%q: %d, %q, %v", args, code, stderr, err)
		}
	}
}

// hello is a program in each language that greets standard input's line and its
// first argument, and a package of the session's own with a program that uses
// it.
var hello = map[string]struct {
	version, code string
	// files are the package, local its path for install_packages, uses a program
	// that prints 42 with it.
	files       map[string]string
	local, uses string
	// remote is a package that a registry would have.
	remote string
}{
	"python": {
		version: "3.13.", code: "import sys\nprint('héllo', input(), sys.argv[1])\nsys.exit(3)\n",
		files: map[string]string{
			"p/mylib.py":       "answer = 42\n",
			"p/pyproject.toml": "[build-system]\nrequires = ['setuptools']\nbuild-backend = 'setuptools.build_meta'\n[project]\nname = 'mylib'\nversion = '1'\n",
		},
		local: "./p", uses: "import mylib; print(mylib.answer)", remote: "requests",
	},
	"javascript": {
		version: "20.", code: "console.log('héllo', require('fs').readFileSync(0, 'utf8').trim(), process.argv[2]);\nprocess.exit(3);\n",
		files: map[string]string{"p/package.json": `{"name": "mylib", "version": "1.0.0"}`, "p/index.js": "exports.answer = 42;"},
		local: "./p", uses: "console.log(require('mylib').answer)", remote: "left-pad",
	},
	"go": {
		version: "1.24.",
		code: `package main

import (
	"bufio"
	"fmt"
	"os"
)

func main() {
	in := bufio.NewScanner(os.Stdin)
	in.Scan()
	fmt.Println("héllo", in.Text(), os.Args[1])
	os.Exit(3)
}
`,
		files: map[string]string{"p/go.mod": "module example.org/mylib\n", "p/lib.go": "package mylib\n\nconst Answer = 42\n"},
		local: "./p", uses: "package main\n\nimport \"example.org/mylib\"\n\nfunc main() { print(mylib.Answer) }\n", remote: "golang.org/x/text",
	},
	"csharp": {
		version: "6.12.",
		code: `using System;
using System.Linq;
using System.Net.Http;
using System.Numerics;

class Program {
	static int Main(string[] args) {
		dynamic one = BigInteger.One;
		Console.WriteLine("héllo " + Console.ReadLine() + " " + args[0]);
		return Enumerable.Range(1, 2).Sum() * (int)one + (typeof(HttpClient) == null ? 1 : 0);
	}
}
`,
		remote: "Newtonsoft.Json",
	},
}

func TestLanguagesRunPrograms(t *testing.T) {
	s := languages(t)
	list := s.languageList(t)
	for name, tc := range hello {
		t.Run(name, func(t *testing.T) {
			if l := list[name]; !l.Ready || !strings.HasPrefix(l.Version, tc.version) {
				t.Errorf("language.list has %+v; want version %s", l, tc.version)
			}
			b := s.session(t, object{"language": name})
			o := b.do(object{"type": "execute_code", "code": tc.code, "stdin": "in\n", "args": []string{"arg"}})
			if r := o.Result; r.Stdout != "héllo in arg\n" || r.ExitCode != 3 || r.Stderr != "" {
				t.Errorf("answer is %+v", o)
			}
			if name == "python" && s.forks() {
				b.awaitZygote(s)
				both(s, b, object{"code": tc.code, "stdin": "in\n", "args": []string{"arg"}})
			}
			if left := b.sh("ls -A").Stdout; left != "" {
				t.Errorf("the workspace has %q after the program", left)
			}
		})
	}
}

// TestPackagesWithoutNetwork installs a package that is in the session, and has
// one that is not fail before a package manager waits for a network.
func TestPackagesWithoutNetwork(t *testing.T) {
	s := languages(t)
	for name, tc := range hello {
		t.Run(name, func(t *testing.T) {
			b := s.session(t, object{"language": name})
			o := b.do(object{"type": "install_packages", "packages": []string{tc.remote}})
			if o.Success || o.Result.ExitCode == 0 || o.Result.EndReason != "exited" || o.DurationMs == nil || float64(*o.DurationMs) > 1000*scaled(15*time.Second) {
				t.Errorf("installing %s: answer is %+v", tc.remote, o)
			}
			if tc.local == "" {
				return
			}
			for path, content := range tc.files {
				b.do(object{"type": "write_file", "path": path, "content": content})
			}
			if o := b.do(object{"type": "install_packages", "packages": []string{tc.local}}); !o.Success {
				t.Fatalf("installing %s: answer is %+v", tc.local, o)
			}
			o = b.do(object{"type": "execute_code", "code": tc.uses})
			if got := strings.TrimSpace(o.Result.Stdout + o.Result.Stderr); got != "42" {
				t.Errorf("the program printed %q; answer is %+v", got, o)
			}
			if name == "python" && s.forks() {
				b.awaitZygote(s)
				both(s, b, object{"code": tc.uses})
			}
		})
	}
}

package test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
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

// standInDotnet has the commands of dotnet that the catalogue uses. What it
// compiles is shell.
const standInDotnet = `#!/bin/sh
case $1 in
build)
	project=$2
	shift 2
	while [ $# -gt 0 ]; do
		case $1 in
		--output) out=$2; shift ;;
		-p:ProgramFile=*) file=${1#-p:ProgramFile=} ;;
		esac
		shift
	done
	grep -q '<Project Sdk="Microsoft.NET.Sdk">' "$project" || exit 9
	if grep -q wrong "$file"; then
		echo "$file(1,1): error CS0103: wrong"
		exit 1
	fi
	mkdir -p "$out"
	cp "$file" "$out/program.dll"
	;;
add)
	[ -f "$2" ] || exit 9
	shift 2
	echo "$@" >>/workspace/added
	[ "$2" != missing ] || { echo "error: there is no package missing"; exit 1; }
	;;
*.dll)
	exec sh "$@"
	;;
*)
	exit 9
	;;
esac
`

// TestCSharpThroughDotnet runs C# where an image has dotnet. No SDK can be had
// for this test, so a stand-in shows which of its commands are used how.
func TestCSharpThroughDotnet(t *testing.T) {
	s := unstarted(t)
	archive := writeArchive(t, busyboxLayer(t, map[string]string{"dotnet": standInDotnet}))
	if err := s.images(t.Context(), "import", "csharp", archive); err != nil {
		t.Fatal(err)
	}
	if err := s.start(); err != nil {
		t.Fatal(err)
	}
	b := s.session(t, object{"language": "dotnet"})
	o := b.do(object{"type": "execute_code", "code": "read a; echo hello $a $1; exit 3\n", "args": []string{"x y"}, "stdin": "in\n"})
	if r := o.Result; r.Stdout != "hello in x y\n" || r.Stderr != "" || r.ExitCode != 3 {
		t.Errorf("answer is %+v", o)
	}
	o = b.do(object{"type": "execute_code", "code": "wrong\n"})
	if r := o.Result; r.ExitCode != 1 || r.Stdout != "" || !strings.Contains(r.Stderr, "error CS0103") || o.Success {
		t.Errorf("answer is %+v; want a compiler's error", o)
	}
	if o = b.do(object{"type": "install_packages", "packages": []string{"One", "Two@2.0.1"}}); !o.Success {
		t.Errorf("answer is %+v", o)
	}
	if got, want := b.sh("cat added").Stdout, "package One --source /workspace\npackage Two --version 2.0.1 --source /workspace\n"; got != want {
		t.Errorf("dotnet was told to add:\n%swant:\n%s", got, want)
	}
	o = b.do(object{"type": "install_packages", "packages": []string{"missing"}})
	if r := o.Result; o.Success || r.ExitCode != 1 || !strings.Contains(r.Stderr, "no package missing") {
		t.Errorf("answer is %+v; want dotnet's error", o)
	}
	if o = b.do(object{"type": "execute_code", "code": "echo again\n"}); o.Result.Stdout != "again\n" {
		t.Errorf("answer is %+v", o)
	}
}

package test

import (
	"regexp"
	"strings"
	"testing"
)

// besideIt is a program of each language in a directory that is not the
// workspace, which uses a module beside it and prints "module says hi" and the
// directory.
var besideIt = []struct {
	language, code string
	files          map[string]string
}{
	{"python", "import os, helper\nprint(helper.hi(), os.getcwd())", map[string]string{"project/helper.py": "def hi(): return 'module says hi'\n"}},
	{"javascript", "console.log(require('./helper').hi(), process.cwd())", map[string]string{"project/helper.js": "exports.hi = () => 'module says hi'\n"}},
	{
		"javascript", "import { hi } from './helper.mjs'\nconsole.log(hi(), process.cwd())",
		map[string]string{"project/helper.mjs": "export const hi = () => 'module says hi'\n"},
	},
	{
		"go", `package main

import (
	_ "embed"
	"fmt"
	"os"

	"example/internal/helper"
)

//go:embed text
var text string

func main() {
	wd, _ := os.Getwd()
	fmt.Println(text+helper.Hi(), wd)
}
`, map[string]string{
			"project/go.mod": "module example\n\ngo 1.24\n", "project/text": "module ",
			"project/internal/helper/helper.go": "package helper\n\nfunc Hi() string { return \"says hi\" }\n",
		},
	},
	{"csharp", "class P { static void Main() { System.Console.WriteLine(System.IO.File.ReadAllText(\"text\") + \" \" + System.IO.Directory.GetCurrentDirectory()); } }", map[string]string{"project/text": "module says hi"}},
}

func TestCodeRunsInItsWorkingDirectory(t *testing.T) {
	s := languages(t)
	for _, tc := range besideIt {
		t.Run(tc.language, func(t *testing.T) {
			b := s.session(t, object{"language": tc.language})
			b.write(tc.files)
			for _, dir := range []string{"project", "/workspace/project"} {
				b.prints(b.code(tc.code, object{"workingDirectory": dir}), "module says hi /workspace/project\n")
			}
			if tc.language == "python" && s.forks() {
				b.awaitZygote(s)
				both(s, b, object{"code": tc.code, "workingDirectory": "project"})
			}
			_, err := b.try(object{"type": "execute_code", "code": tc.code, "workingDirectory": "no/such"})
			refused(t, err, -32007, "no/such")
			if left := b.sh("ls -A /workspace /workspace/project | grep -e main -e no").Stdout; left != "" {
				t.Errorf("left are %s", left)
			}
		})
	}
}

// TestSourceIsOfNoPackage has a program of Go look at the packages of the
// directory that it runs in.
func TestSourceIsOfNoPackage(t *testing.T) {
	b := languages(t).session(t, object{"language": "go"})
	b.write(map[string]string{
		"go.mod": "module example\n\ngo 1.24\n", "main.go": "package main\n\nimport \"fmt\"\n\nfunc main() { fmt.Println(\"the workspace's own\") }\n",
	})
	b.prints(b.code(`package main

import (
	"fmt"
	"os"
	"os/exec"
)

func main() {
	for _, args := range [][]string{{"run", "."}, {"vet", "./..."}, {"list", "-f", "{{.GoFiles}}", "./..."}} {
		out, err := exec.Command("go", args...).CombinedOutput()
		os.Stdout.Write(out)
		if err != nil {
			fmt.Println(err)
		}
	}
}
`, nil), "the workspace's own\n[main.go]\n")
}

// TestTracesNameTheSourceAndTheLine has a program of each language fail in its
// third line.
func TestTracesNameTheSourceAndTheLine(t *testing.T) {
	s := languages(t)
	for _, tc := range []struct{ language, code, trace string }{
		{"python", "def f():\n  pass\nraise ValueError('x')\n", `File "/workspace/\.main-\d+\.py", line 3, in <module>`},
		{"javascript", "function f() {\n}\nthrow new Error('x')\n", `at Object\.<anonymous> \(/workspace/\.main-\d+\.js:3:7\)`},
		{"go", "package main\nfunc main() {\n\tpanic(1)\n}\n", `/workspace/main-\d+_nacl\.go:3 `},
		{"csharp", "class P {\n static void Main() {\n  throw new System.Exception(\"x\");\n }\n}\n", `at P\.Main \(\) \[\w+\] in /workspace/\.main-\d+\.cs:3`},
	} {
		t.Run(tc.language, func(t *testing.T) {
			b := s.session(t, object{"language": tc.language})
			if r := b.code(tc.code, nil).Result; r.ExitCode == 0 || !regexp.MustCompile(tc.trace).MatchString(r.Stderr) {
				t.Errorf("answer is %+v; want %s", r, tc.trace)
			}
		})
	}
}

func TestMonoSaysWhatCSharpItKnows(t *testing.T) {
	b := languages(t).session(t, object{"language": "csharp"})
	const hint = "Mono, which knows C# 7.3"
	for name, code := range map[string]string{
		"record": "record P(int X);", "top-level statements": `System.Console.WriteLine("hi");`,
		"switch expression": `class P { static void Main() { int x = 1; var s = x switch { 1 => "a", _ => "b" }; } }`,
		"nullable text":     "class P { static void Main() { string? x = null; } }",
		"init":              "class P { public int X { get; init; } static void Main() { } }",
		"constructor":       "class P(int x) { static void Main() { } }",
		"file's namespace":  "namespace A; class P { static void Main() { } }",
	} {
		if o := b.code(code, nil); o.Success || strings.Count(o.Result.Stderr, hint) != 1 || !strings.Contains(o.Result.Stderr, "error CS") {
			t.Errorf("%s: answer is %+v", name, o)
		}
	}
	if o := b.code("class P { static void Main() { wrong(); } }", nil); o.Success || strings.Contains(o.Result.Stderr, hint) {
		t.Errorf("what is wrong in any C#: answer is %+v", o)
	}
	b.prints(b.code("class P { static void Main() { var (a, b) = (40, 2); System.Console.WriteLine(a + b); } }", nil), "42\n")
}

func TestTerminalHasAKind(t *testing.T) {
	b := busybox(t).session(t, nil)
	show := object{"type": "execute_shell", "commandName": "echo \"<$TERM>\"", "stdin": "", "tty": true}
	if r := b.do(show).Result; r.Stdout != "<xterm-256color>\r\n" {
		t.Errorf("on a terminal: answer is %+v", r)
	}
	show["env"] = object{"TERM": "dumb"}
	if r := b.do(show).Result; r.Stdout != "<dumb>\r\n" {
		t.Errorf("on a terminal of its own kind: answer is %+v", r)
	}
	if r := b.line(`echo "<$TERM>"`, nil); r.Stdout != "<>\n" {
		t.Errorf("without a terminal: answer is %+v", r)
	}
}

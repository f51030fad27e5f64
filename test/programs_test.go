package test

import (
	"crypto/sha256"
	"fmt"
	"io"
	"maps"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// languagePrograms are the same programs in one language.
type languagePrograms struct {
	language, alias string

	hello, upperStdin, exit3, showArgs string
	// tenMiB prints the numbers from 0 in lines of 16 bytes; wide prints what
	// wideText is.
	tenMiB, wide string
	// signal is what killed sends to its own process.
	killed, signal string
	// endless never ends; program is how its process is called.
	endless, process string
	// broken is not in the language in its third line, which its compiler or
	// interpreter says with wrong.
	broken, wrong string
	compiled      bool
	// relative prints the working directory and the content of data.txt.
	relative string
	// imports prints what a module of the workspace says, which is "module says
	// hi"; module are its files. Empty where programs are one file.
	imports string
	module  map[string]string
	// local is a package in a directory or archive of the workspace, of the files
	// locals, and useLocal prints what it says, which is "package says hi". Empty
	// where there are no packages.
	local, useLocal string
	locals          map[string]string
	remote          string // a package that is not there
}

// wideText has characters of two, three and four bytes, more than a result shows.
var wideText = "é€😀 здравствуй 世界\n" + strings.Repeat("€é😀", 150_000) + "\n"

func allLanguages() []languagePrograms {
	return []languagePrograms{
		{
			language: "python", alias: "py",
			hello:      `print("hello")`,
			upperStdin: `import sys; print(sys.stdin.read().upper())`,
			exit3:      `import sys; print("before", file=sys.stderr); sys.exit(3)`,
			showArgs:   `import sys; print(sys.argv[1:] == ["a b", "$HOME", "é"])`,
			tenMiB:     "import sys\nsys.stdout.write(''.join('%015d\\n' % i for i in range(655360)))",
			wide:       `print("é€😀 здравствуй 世界"); print("€é😀" * 150000)`,
			killed:     "import os\nprint('before', flush=True)\nos.kill(os.getpid(), 15)", signal: "SIGTERM",
			endless: "print('on')\nwhile True: pass", process: "main-",
			broken: "x = 1\ny = 2\nprint(x +)\n", wrong: "SyntaxError",
			relative: `import os; print(os.getcwd(), open("data.txt").read())`,
			imports:  "import helper\nprint(helper.hi())",
			module:   map[string]string{"helper.py": "def hi(): return 'module says hi'\n"},
			local:    "./parcel", useLocal: "import parcel\nprint(parcel.hi())",
			locals: map[string]string{
				"parcel/pyproject.toml":     "[build-system]\nrequires = [\"setuptools\"]\nbuild-backend = \"setuptools.build_meta\"\n[project]\nname = \"parcel\"\nversion = \"1\"\n",
				"parcel/parcel/__init__.py": "def hi(): return 'package says hi'\n",
			},
			remote: "requests",
		},
		{
			language: "javascript", alias: "node",
			hello:      `console.log("hello")`,
			upperStdin: `console.log(require("fs").readFileSync(0, "utf8").toUpperCase())`,
			exit3:      `console.error("before"); process.exit(3)`,
			showArgs:   `console.log(JSON.stringify(process.argv.slice(2)) === '["a b","$HOME","é"]')`,
			tenMiB:     "let s = ''\nfor (let i = 0; i < 655360; i++) s += String(i).padStart(15, '0') + '\\n'\nprocess.stdout.write(s)",
			wide:       `console.log("é€😀 здравствуй 世界"); console.log("€é😀".repeat(150000))`,
			killed:     "require('fs').writeSync(1, 'before\\n')\nprocess.kill(process.pid, 'SIGTERM')\nsetInterval(() => {}, 1000)", signal: "SIGTERM",
			endless: "console.log('on')\nfor (;;) {}", process: "node",
			broken: "let x = 1\nlet y = 2\nconsole.log(x +)\n", wrong: "SyntaxError",
			relative: `console.log(process.cwd(), require("fs").readFileSync("data.txt", "utf8"))`,
			imports:  `console.log(require("./helper").hi())`,
			module:   map[string]string{"helper.js": "exports.hi = () => 'module says hi'\n"},
			local:    "./parcel", useLocal: `console.log(require("parcel").hi())`,
			locals: map[string]string{
				"parcel/package.json": `{"name": "parcel", "version": "1.0.0", "main": "index.js"}`,
				"parcel/index.js":     "exports.hi = () => 'package says hi'\n",
			},
			remote: "left-pad",
		},
		{
			language: "go", alias: "golang",
			hello:      "package main\nimport \"fmt\"\nfunc main() { fmt.Println(\"hello\") }",
			upperStdin: "package main\nimport (\"bytes\"; \"io\"; \"fmt\"; \"os\")\nfunc main() { b, _ := io.ReadAll(os.Stdin); fmt.Println(string(bytes.ToUpper(b))) }",
			exit3:      "package main\nimport \"os\"\nfunc main() { println(\"before\"); os.Exit(3) }",
			showArgs:   "package main\nimport (\"fmt\"; \"os\"; \"slices\")\nfunc main() { if slices.Equal(os.Args[1:], []string{\"a b\", \"$HOME\", \"é\"}) { fmt.Println(\"True\") } }",
			tenMiB:     "package main\nimport (\"bufio\"; \"fmt\"; \"os\")\nfunc main() { w := bufio.NewWriter(os.Stdout); defer w.Flush(); for i := range 655360 { fmt.Fprintf(w, \"%015d\\n\", i) } }",
			wide:       "package main\nimport (\"fmt\"; \"strings\")\nfunc main() { fmt.Println(\"é€😀 здравствуй 世界\"); fmt.Println(strings.Repeat(\"€é😀\", 150000)) }",
			killed:     "package main\nimport (\"fmt\"; \"syscall\")\nfunc main() { fmt.Println(\"before\"); syscall.Kill(syscall.Getpid(), syscall.SIGTERM); select {} }", signal: "SIGTERM",
			endless: "package main\nimport \"fmt\"\nfunc main() { fmt.Println(\"on\"); for {} }", process: "main-",
			broken: "package main\nfunc main() {\n\tvar unused = 1\n}\n", wrong: ":3:6: declared and not used", compiled: true,
			relative: "package main\nimport (\"fmt\"; \"os\")\nfunc main() { wd, _ := os.Getwd(); b, _ := os.ReadFile(\"data.txt\"); fmt.Println(wd, string(b)) }",
			imports:  "package main\nimport (\"fmt\"; \"example/helper\")\nfunc main() { fmt.Println(helper.Hi()) }",
			module: map[string]string{
				"go.mod":           "module example\n\ngo 1.24\n",
				"helper/helper.go": "package helper\n\nfunc Hi() string { return \"module says hi\" }\n",
			},
			local: "./parcel", useLocal: "package main\nimport (\"fmt\"; \"parcel.example/parcel\")\nfunc main() { fmt.Println(parcel.Hi()) }",
			locals: map[string]string{
				"parcel/go.mod":    "module parcel.example/parcel\n\ngo 1.24\n",
				"parcel/parcel.go": "package parcel\n\nfunc Hi() string { return \"package says hi\" }\n",
			},
			remote: "rsc.io/quote",
		},
		{
			language: "csharp", alias: "c#",
			hello:      `class P { static void Main() { System.Console.WriteLine("hello"); } }`,
			upperStdin: `class P { static void Main() { System.Console.WriteLine(System.Console.In.ReadToEnd().ToUpper()); } }`,
			exit3:      `class P { static int Main() { System.Console.Error.WriteLine("before"); return 3; } }`,
			showArgs:   `class P { static void Main(string[] a) { System.Console.WriteLine(string.Join("|", a) == "a b|$HOME|é"); } }`,
			tenMiB:     "class P { static void Main() { var b = new System.Text.StringBuilder(); for (int i = 0; i < 655360; i++) b.Append(i.ToString(\"D15\")).Append('\\n'); System.Console.Out.Write(b); System.Console.Out.Flush(); } }",
			wide:       "class P { static void Main() { System.Console.WriteLine(\"é€😀 здравствуй 世界\"); var b = new System.Text.StringBuilder(); for (int i = 0; i < 150000; i++) b.Append(\"€é😀\"); System.Console.WriteLine(b); } }",
			killed:     `class P { static void Main() { System.Console.WriteLine("before"); System.Diagnostics.Process.GetCurrentProcess().Kill(); System.Threading.Thread.Sleep(-1); } }`, signal: "SIGKILL",
			endless: `class P { static void Main() { System.Console.WriteLine("on"); for (;;); } }`, process: "mono",
			broken: "class P {\n  static void Main() {\n    int x = \"text\";\n  }\n}\n", wrong: "(3,", compiled: true,
			relative: `class P { static void Main() { System.Console.WriteLine(System.IO.Directory.GetCurrentDirectory() + " " + System.IO.File.ReadAllText("data.txt")); } }`,
			remote:   "Newtonsoft.Json",
		},
	}
}

// code runs a program of the session's language.
func (b *sandbox) code(code string, more object) outcome {
	b.t.Helper()
	command := object{"type": "execute_code", "code": code}
	maps.Copy(command, more)
	return b.do(command)
}

// prints asserts that a program printed a text and succeeded.
func (b *sandbox) prints(o outcome, stdout string) {
	b.t.Helper()
	if r := o.Result; !o.Success || o.Error != nil || r.Stdout != stdout || r.ExitCode != 0 || r.EndReason != "exited" || r.Signal != nil {
		b.t.Errorf("it answered %+v; want stdout %q", o, stdout)
	}
}

func (b *sandbox) write(files map[string]string) {
	b.t.Helper()
	for path, content := range files {
		b.do(object{"type": "write_file", "path": path, "content": content})
	}
}

func TestLanguages(t *testing.T) {
	s := languages(t)
	for _, l := range allLanguages() {
		t.Run(l.language, func(t *testing.T) {
			b := s.session(t, object{"language": l.alias})
			if b.info.Language != l.language {
				t.Errorf("the alias %q is %q", l.alias, b.info.Language)
			}
			run := func(name string, f func(*sandbox)) {
				t.Run(name, func(t *testing.T) { f(&sandbox{t: t, c: b.c, id: b.id, info: b.info}) })
			}
			run("hello", func(b *sandbox) { b.prints(b.code(l.hello, nil), "hello\n") })
			run("by an alias", func(b *sandbox) { b.prints(b.code(l.hello, object{"language": l.alias}), "hello\n") })
			run("standard input", func(b *sandbox) { b.prints(b.code(l.upperStdin, object{"stdin": "red\nblüe"}), "RED\nBLÜE\n") })
			run("no standard input", func(b *sandbox) { b.prints(b.code(l.upperStdin, nil), "\n") })
			run("arguments", func(b *sandbox) {
				o := b.code(l.showArgs, object{"args": []string{"a b", "$HOME", "é"}})
				o.Result.Stdout = strings.ToLower(o.Result.Stdout)
				b.prints(o, "true\n")
			})
			run("line of shell", func(b *sandbox) {
				b.prints(b.do(object{"type": "execute_shell", "commandName": `[[ $BASH_VERSION ]] && cat <(echo {a,b}) <<< c`}), "a b\n")
			})
			run("exit code", func(b *sandbox) {
				o := b.code(l.exit3, nil)
				if r := o.Result; o.Success || o.Error == nil || r.ExitCode != 3 || r.EndReason != "exited" || r.Signal != nil || r.Stderr != "before\n" {
					b.t.Errorf("it answered %+v", o)
				}
			})
			run("signal", func(b *sandbox) {
				o := b.code(l.killed, nil)
				if r := o.Result; o.Success || o.Error == nil || r.EndReason != "signaled" || r.Signal == nil || *r.Signal != l.signal || r.Stdout != "before\n" {
					b.t.Errorf("it answered %+v; want %s", o, l.signal)
				}
			})
			run("time limit", func(b *sandbox) { endless(b, l) })
			run("broken", func(b *sandbox) {
				o := b.code(l.broken, nil)
				if r := o.Result; o.Success || o.Error == nil || r.ExitCode == 0 || r.EndReason != "exited" || r.Stdout != "" || !strings.Contains(r.Stderr, l.wrong) {
					b.t.Errorf("it answered %+v", o)
				} else if l.compiled != strings.HasPrefix(*o.Error, "The program could not be compiled") {
					b.t.Errorf("it says %q", *o.Error)
				}
			})
			run("ten MiB", func(b *sandbox) { tenMiB(s, b, l) })
			run("wide characters", func(b *sandbox) { wide(s, b, l) })
			run("files", func(b *sandbox) {
				b.write(map[string]string{"data.txt": "of the workspace"})
				b.prints(b.code(l.relative, nil), "/workspace of the workspace\n")
			})
			run("nothing of programs stays", func(b *sandbox) {
				eventually(b.t, func() error {
					if left := b.sh("ls -A | grep main").Stdout; left != "" {
						return fmt.Errorf("in the workspace are %s", left)
					}
					return nil
				})
			})
			if l.imports != "" {
				run("module of the workspace", func(b *sandbox) {
					b.write(l.module)
					b.prints(b.code(l.imports, nil), "module says hi\n")
				})
			}
		})
	}
}

// endless proves that a program that never ends is ended at its time limit, with
// nothing left of it.
func endless(b *sandbox, l languagePrograms) {
	limit := scaled(3 * time.Second)
	if l.compiled {
		limit *= 2 // with its compilation
	}
	o := b.code(l.endless, object{"timeout": limit})
	if r := o.Result; o.Success || o.Error == nil || r.EndReason != "timeout" || r.ExitCode != 137 || r.Stdout != "on\n" {
		b.t.Errorf("it answered %+v", o)
	}
	took := time.Duration(*o.DurationMs) * time.Millisecond
	b.t.Logf("its limit is %.0f s, and it took %s", limit, took)
	if least := time.Duration(limit * float64(time.Second)); took < least || took > least+patience {
		b.t.Errorf("its limit is %.0f s, and it took %s", limit, took)
	}
	if left := b.sh(`for p in /proc/[0-9]*; do tr '\0' ' ' <$p/cmdline; echo; done | grep -v grep | grep -- ` + l.process).Stdout; left != "" {
		b.t.Errorf("still there:\n%s", left)
	}
}

// tenMiB proves that a result has the end of a long output, and that all of it
// can be read.
func tenMiB(s *server, b *sandbox, l languagePrograms) {
	const size = 10 << 20
	o := b.code(l.tenMiB, nil)
	r := o.Result
	if !o.Success || len(r.Stdout) != 1<<20 || !r.Truncated.Stdout || r.Truncated.Stderr || r.StdoutOffset != size-1<<20 {
		b.t.Fatalf("success %v, %d bytes of stdout from %d, truncated %+v, stderr %q", o.Success, len(r.Stdout), r.StdoutOffset, r.Truncated, r.Stderr)
	}
	want := sha256.New()
	for i := range size / 16 {
		fmt.Fprintf(want, "%015d\n", i)
	}
	whole, got := s.replay(b.t, r.ExecutionID), sha256.New()
	io.WriteString(got, whole)
	if len(whole) != size || string(got.Sum(nil)) != string(want.Sum(nil)) {
		b.t.Errorf("read again it is %d bytes with the hash %x; want %d, %x", len(whole), got.Sum(nil), size, want.Sum(nil))
	}
	if !strings.HasSuffix(whole, r.Stdout) {
		b.t.Error("the result is not the end of it")
	}
}

// replay reads all of the stdout of an execution that has ended.
func (s *server) replay(t *testing.T, executionID string) string {
	t.Helper()
	w := s.wire(t)
	w.call("execution.attach", object{"executionId": executionID, "stdoutOffset": 0}, nil)
	w.finished(executionID)
	return string(w.output(executionID, "stdout", 0))
}

// wide proves that no character is cut in two.
func wide(s *server, b *sandbox, l languagePrograms) {
	w := s.wire(b.t)
	var o outcome
	w.call("session.execute", object{"sessionId": b.id, "stream": true, "command": object{"type": "execute_code", "code": l.wide}}, &o)
	r := o.Result
	if !o.Success || r.StdoutEncoding != "" || !utf8.ValidString(r.Stdout) || strings.ContainsRune(r.Stdout, utf8.RuneError) || r.StdoutOffset == 0 {
		b.t.Fatalf("success %v, %d bytes of %s from %d: %.100q, stderr %q", o.Success, len(r.Stdout), r.StdoutEncoding, r.StdoutOffset, r.Stdout, r.Stderr)
	}
	if wideText[r.StdoutOffset:] != r.Stdout || len(r.Stdout) < 1<<20-3 {
		b.t.Errorf("the result's %d bytes from %d are not the end of the output", len(r.Stdout), r.StdoutOffset)
	}
	// output sees that each notification has whole characters.
	if got := string(w.output(r.ExecutionID, "stdout", 0)); got != wideText {
		b.t.Errorf("notifications brought %d bytes; want %d", len(got), len(wideText))
	}
	for _, m := range w.seen() {
		if m.Method == "execution.output" && m.Params.Encoding != "utf-8" {
			b.t.Errorf("%d bytes at %d are %s", len(m.Params.Text), m.Params.Offset, m.Params.Encoding)
		}
	}
}

func TestPackagesComeFromTheSessionsOwnFiles(t *testing.T) {
	s := languages(t)
	for _, l := range allLanguages() {
		t.Run(l.language, func(t *testing.T) {
			b := s.session(t, object{"language": l.language})
			if l.local != "" {
				b.write(l.locals)
				if o := b.do(object{"type": "install_packages", "packages": []string{l.local}}); !o.Success || o.Result.ExitCode != 0 || o.Error != nil {
					t.Fatalf("install_packages answered %+v", o)
				}
				b.prints(b.code(l.useLocal, nil), "package says hi\n")
				fresh := s.session(t, object{"language": l.language})
				fresh.write(l.locals)
				fresh.prints(fresh.code(l.useLocal, object{"packages": []string{l.local}}), "package says hi\n")
			}
			began := time.Now()
			o := b.do(object{"type": "install_packages", "packages": []string{l.remote}})
			took := time.Since(began)
			t.Logf("without a network it failed after %s: %s", took.Round(time.Millisecond), strings.ReplaceAll(o.Result.Stderr, "\n", " "))
			if o.Success || o.Result.ExitCode == 0 || o.Result.EndReason != "exited" || o.Error == nil || !strings.Contains(*o.Error, "no network") || o.Result.Stderr == "" {
				t.Errorf("install_packages answered %+v", o)
			}
			// Far below what a package manager waits for a network.
			if most := time.Duration(scaled(10*time.Second) * float64(time.Second)); took > most {
				t.Errorf("it took %s to fail", took)
			}
			// The program does not run without its packages.
			if o := b.code(l.hello, object{"packages": []string{l.remote}}); o.Success || o.Result.Stdout != "" || o.Error == nil || !strings.Contains(*o.Error, "no network") {
				t.Errorf("execute_code answered %+v", o)
			}
		})
	}
}

func TestLanguagesAreListedWithTheirVersions(t *testing.T) {
	list := languages(t).languageList(t)
	for _, name := range []string{"python", "javascript", "go", "csharp"} {
		if l := list[name]; !l.Ready || l.Version == "" || l.Image == "" || len(l.Aliases) == 0 {
			t.Errorf("%s is listed as %+v", name, l)
		}
	}
	if len(list) != 4 {
		t.Errorf("languages %+v", list)
	}
}

package test

import (
	"fmt"
	"maps"
	"strings"
	"testing"
)

// line runs a line of shell.
func (b *sandbox) line(line string, more object) shellResult {
	b.t.Helper()
	command := object{"type": "execute_shell", "commandName": line}
	maps.Copy(command, more)
	return b.do(command).Result
}

// TestLinesOfShellRunInBash has lines as people write them, most of which another
// shell refuses or takes for something else.
func TestLinesOfShellRunInBash(t *testing.T) {
	b := busybox(t).session(t, object{"language": "javascript"})
	b.write(map[string]string{
		"venv/bin/activate": "VIRTUAL_ENV=active\n",
		".bashrc":           "echo read .bashrc\n", ".profile": "echo read .profile\n", ".bash_profile": "echo read .bash_profile\n",
	})
	for _, tc := range []struct {
		name, line, stdout string
	}{
		{"echo keeps backslashes", `echo 'print("a\nb")' > a.py; cat a.py`, `print("a\nb")` + "\n"},
		{"echo -e", `echo -e 'a\tb'`, "a\tb\n"},
		{"both streams to a file", `{ echo out; echo err >&2; } &> log; cat log`, "out\nerr\n"},
		{"both streams to the end of a file", `echo 1 &>> both; echo 2 &>> both; cat both`, "1\n2\n"},
		{"both streams to a pipe", `{ echo out; echo err >&2; } |& cat`, "out\nerr\n"},
		{"braces", `echo {a,b}{1,2}`, "a1 a2 b1 b2\n"},
		{"ranges", `echo {1..5} {c..a} {01..03}`, "1 2 3 4 5 c b a 01 02 03\n"},
		{"quotes with escapes", `printf %s $'x\ty\u00e9'`, "x\tyé"},
		{"conditions", `[[ abc == a* && abc =~ ^(a)b ]] && echo "${BASH_REMATCH[1]}"`, "a\n"},
		{"the other equality", `[ a == a ] && echo same`, "same\n"},
		{"source", `source venv/bin/activate; echo $VIRTUAL_ENV`, "active\n"},
		{"source alone", `source venv/bin/activate`, ""},
		{"output as a file", `cat <(echo one) <(echo two)`, "one\ntwo\n"},
		{"a file as input", `echo text > >(cat > copy); wait $!; cat copy`, "text\n"},
		{"a text as input", `cat <<< "sum $((1+1))"`, "sum 2\n"},
		{"a document as input", "cat <<EOF\nsum $((6*7))\nEOF", "sum 42\n"},
		{"a document with tabs", "cat <<-'EOF'\n\tas $it is\n\tEOF", "as $it is\n"},
		{"arrays", `a=(x "y z"); a+=(w); echo ${#a[@]} "${a[1]}" ${a[-1]}`, "3 y z w\n"},
		{"maps", `declare -A m=([k]=v); echo ${m[k]}`, "v\n"},
		{"pipefail", `set -o pipefail; false | true; echo $?`, "1\n"},
		{"the parts of a pipe", `false | true; echo ${PIPESTATUS[@]}`, "1 0\n"},
		{"functions", `function f { local x=$1; echo "f $x"; }; f 1`, "f 1\n"},
		{"upper case", `x=abc; echo ${x^^} ${x^} ${x:1:1} ${x/b/B}`, "ABC Abc b aBc\n"},
		{"arithmetic", `((x = 3 ** 2)); ((x > 8)) && let x++ && echo $x`, "10\n"},
		{"counting loops", `for ((i = 0; i < 3; i++)); do echo -n $i; done`, "012"},
		{"printf -v", `printf -v v '%03d' 7; echo $v`, "007\n"},
		{"read -a", `read -r -a w <<< "p q r"; echo ${w[2]}`, "r\n"},
		{"mapfile", `mapfile -t l < <(printf '1\n2\n'); echo ${#l[@]}`, "2\n"},
		{"shopt", `shopt -s nullglob; echo no*.x end`, "end\n"},
		{"pushd", `pushd /tmp > log; pwd; popd > log; pwd`, "/tmp\n/workspace\n"},
		{"fall-through", `case x in x) echo 1;;& *) echo 2;; esac`, "1\n2\n"},
		{"indirection", `a=b b=c; echo ${!a}`, "c\n"},
		{"several lines", "if true\nthen\n  echo yes # a comment\nfi", "yes\n"},
		{"its name", `echo "$0 $# $BASH_SOURCE"`, "bash 0 \n"},
		{"no login and no terminal", `shopt -q login_shell || [[ $- == *i* ]] || echo neither`, "neither\n"},
		{"the image's PATH", `echo "$PATH"`, "/bin\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			// Bash takes itself for one that sshd started, which reads .bashrc.
			r := b.line(tc.line, object{"env": object{"SSH_CLIENT": "10.0.0.1 1 22"}})
			if r.Stdout != tc.stdout || r.Stderr != "" || r.ExitCode != 0 {
				t.Errorf("%s\nanswered %+v; want %q", tc.line, r, tc.stdout)
			}
		})
	}
	for _, tc := range []struct {
		name, line, stdout, stderr string
		code                       int
	}{
		{"an exit", `trap 'echo bye' EXIT; exit 3`, "bye\n", "", 3},
		{"a program that is missing", `no-such-program x`, "", "bash: line 1: no-such-program: command not found\n", 127},
		{"a quote without end", `echo "x`, "", "bash: -c: line 1: unexpected EOF while looking for matching `\"'\n", 2},
		{"its input", `read a; echo "got $a"; cat`, "got 1\n2\n", "", 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if r := b.line(tc.line, object{"stdin": "1\n2\n"}); r.Stdout != tc.stdout || r.Stderr != tc.stderr || r.ExitCode != tc.code || r.EndReason != "exited" {
				t.Errorf("%s\nanswered %+v", tc.line, r)
			}
		})
	}
}

func TestLinesOfShellRunInShWithoutBash(t *testing.T) {
	b := busybox(t).session(t, nil)
	if r := b.line(`echo "$0 ${BASH_VERSION:-no bash}" | cat; exit 4`, nil); r.Stdout != "sh no bash\n" || r.Stderr != "" || r.ExitCode != 4 {
		t.Errorf("answer is %+v", r)
	}
}

func TestLinesOfAnyLengthRun(t *testing.T) {
	for language, name := range map[string]string{"javascript": "bash", "python": "sh"} {
		t.Run(name, func(t *testing.T) {
			b := busybox(t).session(t, object{"language": language})
			for _, size := range []int{32 << 10, 128 << 10, 5 << 20} {
				long := ": '" + strings.Repeat("ü\n", size/3) + "'\n"
				at := 1 + strings.Count(long, "\n")
				r := b.line(long+`read a; echo "$0 $# $LINENO $a"; cat; no-such-program; exit 5`, object{"stdin": "1\n2\n"})
				if want := fmt.Sprintf("%s 0 %d 1\n2\n", name, at); r.Stdout != want || r.ExitCode != 5 || r.EndReason != "exited" {
					t.Errorf("%d bytes: answer is %+v; want %q", len(long), r, want)
				}
				if !strings.Contains(r.Stderr, fmt.Sprintf("line %d: no-such-program: ", at)) || len(r.Stderr) > 1000 {
					t.Errorf("%d bytes: it says %.2000q", len(long), r.Stderr)
				}
				if r := b.line(long+`echo "x`, nil); r.ExitCode != 2 || !strings.Contains(strings.ToLower(r.Stderr), "unterminated") && !strings.Contains(r.Stderr, "unexpected EOF") || len(r.Stderr) > 1000 {
					t.Errorf("%d bytes with a quote without end: answer is %+v", len(long), r)
				}
			}
			var list struct{ Executions []struct{ Command string } }
			if err := b.c.Call(t.Context(), "execution.list", object{"sessionId": b.id}, &list); err != nil {
				t.Fatal(err)
			}
			for _, e := range list.Executions {
				if len(e.Command) > 2000 {
					t.Errorf("an execution is called %d bytes", len(e.Command))
				}
			}
			eventually(t, func() error {
				if left := b.sh("ls -A /tmp /workspace").Stdout; strings.Contains(left, "codebeaker") {
					return fmt.Errorf("left are %s", left)
				}
				return nil
			})
			// What is no line is a name, of which an error does not repeat all.
			if r := b.line(strings.Repeat("x", 20<<10), nil); r.ExitCode == 0 || len(r.Stderr) > 1000 {
				t.Errorf("a long name: exit code %d, %d bytes of stderr", r.ExitCode, len(r.Stderr))
			}
		})
	}
}

package test

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"codebeaker/runtime/shim"
)

// plainly asks for a program whose interpreter is started: it says what is so
// anyhow, but the zygote has not read it.
var plainly = object{"PYTHONHASHSEED": "random"}

// forkedPrograms returns how many programs the zygotes of a server have forked.
func (s *server) forkedPrograms(tb testing.TB) string {
	tb.Helper()
	req, err := http.NewRequestWithContext(tb.Context(), http.MethodGet, s.base+"/metrics", nil)
	if err != nil {
		tb.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		tb.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		tb.Fatal(err)
	}
	return regexp.MustCompile(`codebeaker_programs_total\{language="python",start="forked"\} (\d+)`).FindStringSubmatch(string(text))[1]
}

// forks says whether the server's sessions can have a zygote.
func (s *server) forks() bool { return os.Getenv("CODEBEAKER_RUNTIME") != shim.StockName }

// withZygote returns a session whose zygote runs.
func withZygote(t *testing.T, params object) (*server, *sandbox) {
	t.Helper()
	s := python(t)
	if !s.forks() {
		t.Skip("the runtime is containerd's own")
	}
	b := s.session(t, params)
	b.awaitZygote(s)
	return s, b
}

// awaitZygote runs programs until one is forked.
func (b *sandbox) awaitZygote(s *server) {
	b.t.Helper()
	eventually(b.t, func() error {
		before := s.forkedPrograms(b.t)
		if o := b.do(object{"type": "execute_code", "code": ""}); !o.Success {
			return fmt.Errorf("answer is %+v", o)
		}
		if s.forkedPrograms(b.t) == before {
			return fmt.Errorf("no program was forked")
		}
		return nil
	})
}

// both runs a program forked and started, and has what came of it be the same
// but for what no two runs have in common.
func both(s *server, b *sandbox, command object) outcome {
	b.t.Helper()
	var text [2]string
	var first outcome
	for i := range text {
		c := object{"type": "execute_code"}
		maps.Copy(c, command)
		if i == 1 {
			env := maps.Clone(plainly)
			if own, ok := command["env"].(object); ok {
				maps.Copy(env, own)
			}
			c["env"] = env
		}
		before := s.forkedPrograms(b.t)
		o := b.do(c)
		if forked := s.forkedPrograms(b.t) != before; forked != (i == 0) {
			b.t.Errorf("the program was forked: %v", forked)
		}
		if i == 0 {
			first = o
		}
		signal := ""
		if o.Result.Signal != nil {
			signal = *o.Result.Signal
		}
		text[i] = fmt.Sprintf("code %d %s %s\nstdout:\n%s\nstderr:\n%s", o.Result.ExitCode, o.Result.EndReason, signal, o.Result.Stdout, o.Result.Stderr)
		for _, same := range []struct{ pattern, as string }{
			{`\.main-\d+\.py`, "FILE"}, {`0x[0-9a-f]{6,}|started \d+`, "ADDRESS"}, {`(?m)^.*PYTHONHASHSEED.*\n`, ""},
		} {
			text[i] = regexp.MustCompile(same.pattern).ReplaceAllString(text[i], same.as)
		}
	}
	if text[0] != text[1] {
		b.t.Errorf("forked it ends with\n%s\n\nand started with\n%s", text[0], text[1])
	}
	return first
}

// TestForkedProgramsAreAsStartedOnes runs programs both ways.
func TestForkedProgramsAreAsStartedOnes(t *testing.T) {
	s, b := withZygote(t, nil)
	for name, text := range pythonPrograms {
		t.Run(name, func(t *testing.T) {
			b := &sandbox{t: t, c: b.c, id: b.id, info: b.info}
			both(s, b, object{"code": text, "args": []string{"one", "-two", "dr éi"}, "stdin": "a\nzwö\n\xff", "env": object{"OWN": "värde", "EMPTY": ""}})
		})
	}
}

// python runs code and has it end well. forked says how it has to have begun.
func (b *sandbox) python(s *server, forked bool, command object) shellResult {
	b.t.Helper()
	c := object{"type": "execute_code"}
	maps.Copy(c, command)
	before := s.forkedPrograms(b.t)
	o := b.do(c)
	if !o.Success {
		b.t.Errorf("answer is %+v", o)
	}
	if got := s.forkedPrograms(b.t) != before; got != forked {
		b.t.Errorf("the program was forked: %v; it printed %q", got, o.Result.Stdout)
	}
	return o.Result
}

func TestForkedProgramsShareNothing(t *testing.T) {
	s, b := withZygote(t, nil)
	look := `
import sys, os, json, builtins, random, uuid, tempfile, collections
print(hasattr(json, "own"), hasattr(builtins, "own"), "OWN" in os.environ, os.getcwd(), sys.argv[1:], "/tmp" in sys.path, len(os.listdir("/proc/self/fd")),
    sys.getrecursionlimit(), oct(os.umask(0o22)), os.nice(0), hasattr(sys.modules["__main__"], "own"), json.dumps({}))
`
	clean := b.python(s, true, object{"code": look}).Stdout
	b.python(s, true, object{"env": object{"OWN": "1"}, "args": []string{"x"}, "code": look + `
own = json.own = builtins.own = 1
os.chdir("/tmp"); sys.path.append("/tmp"); sys.setrecursionlimit(99); os.umask(0); os.nice(3)
json.dumps = lambda x: "mine"
held = open("/etc/passwd")
sys.stdout.flush()
os._exit(0)
`})
	if got := b.python(s, true, object{"code": look}).Stdout; got != clean {
		t.Errorf("after another program one sees %q; before it %q", got, clean)
	}
	draw := object{"code": "import random, uuid, tempfile, os\nprint(random.random(), uuid.uuid4(), tempfile.mktemp(), os.urandom(4))\n"}
	if one, other := b.python(s, true, draw).Stdout, b.python(s, true, draw).Stdout; one == other {
		t.Errorf("two programs drew %q", one)
	}
	where := object{"code": "print(open('/proc/self/cgroup').read())"}
	if one, other := b.python(s, true, where).Stdout, b.python(s, true, where).Stdout; one == other {
		t.Errorf("two programs were in one cgroup:\n%s", one)
	}
	large := b.python(s, true, object{"code": "x = bytearray(64 << 20)\nwhile __import__('time').process_time() < 0.2: pass\n"}).Usage
	small := b.python(s, true, object{"code": "pass"}).Usage
	if large.PeakMemoryBytes < 64<<20 || small.PeakMemoryBytes > 32<<20 || large.CPUMs < 150 || small.CPUMs > 100 {
		t.Errorf("a large program used %+v, a small one %+v", large, small)
	}
}

// TestForkedProgramsEndAsOthers has limits meet the program and not the zygote.
func TestForkedProgramsEndAsOthers(t *testing.T) {
	s, b := withZygote(t, object{"memoryLimitMB": 128})
	o := both(s, b, object{"code": "x = []\nwhile True: x.append(bytearray(1 << 20))\n"})
	if o.Result.EndReason != "oom" {
		t.Errorf("a program without bounds: %+v", o)
	}
	o = both(s, b, object{"timeout": scaled(time.Second), "code": "import subprocess\nsubprocess.run(['sh', '-c', 'sleep 600; true'])\n"})
	if o.Result.EndReason != "timeout" {
		t.Errorf("a program without end: %+v", o)
	}
	if left := b.sh("cat /proc/[0-9]*/comm").Stdout; strings.Contains(left, "sleep") {
		t.Errorf("it left\n%s", left)
	}
	b.python(s, true, object{"code": "pass"})
}

// TestForkedOnlyWhereItComesToTheSame has what decides how an interpreter starts
// start one.
func TestForkedOnlyWhereItComesToTheSame(t *testing.T) {
	s, b := withZygote(t, nil)
	for name, command := range map[string]object{
		"a variable of the interpreter": {"env": object{"PYTHONOPTIMIZE": "1"}, "code": "assert False"},
		"a variable of the linker":      {"env": object{"LD_BIND_NOW": "1"}, "code": "pass"},
		"another locale":                {"env": object{"LC_ALL": "C"}, "code": "pass"},
		"a terminal":                    {"tty": true, "code": "import sys; sys.exit(not sys.stdout.isatty())"},
		"other threads":                 {"env": object{"OMP_NUM_THREADS": "7"}, "code": "pass"},
		"other processors":              {"env": object{"PYTHON_CPU_COUNT": "7"}, "code": "import os; assert os.cpu_count() == 7"},
		"no processors":                 {"env": object{"PYTHON_CPU_COUNT": ""}, "code": "pass"},
		"another PATH":                  {"env": object{"PATH": "/bin:/usr/bin"}, "code": "pass"},
	} {
		t.Run(name, func(t *testing.T) {
			(&sandbox{t: t, c: b.c, id: b.id}).python(s, false, command)
		})
	}
	// A module of the program's own, of a name that the zygote has loaded.
	b.do(object{"type": "write_file", "path": "random.py", "content": "value = 'own'\n"})
	if got := both(s, b, object{"code": "import random; print(random.value)"}).Result.Stdout; got != "own\n" {
		t.Errorf("the program's own module is %q", got)
	}
	b.do(object{"type": "delete_file", "path": "random.py"})
	// What is installed for the user.
	packages := ".local/lib/python3.13/site-packages"
	for path, content := range map[string]string{
		"own.py": "value = 'installed'\n", "own.pth": "import sys; sys.own = 1\n", "usercustomize.py": "import builtins; builtins.custom = 1\n",
	} {
		b.do(object{"type": "write_file", "path": "/home/sandbox/" + packages + "/" + path, "content": content})
	}
	both(s, b, object{"code": "import own, sys, site; print(own.value, sys.own, custom, sys.path, site.USER_SITE, sys.meta_path)"})
	// Another interpreter.
	b.do(object{"type": "write_file", "path": "/home/sandbox/.local/bin/python3", "content": "#!/bin/sh\necho mine\n", "permissions": "0755"})
	if got := b.python(s, false, object{"code": "pass"}).Stdout; got != "mine\n" {
		t.Errorf("the interpreter of the user's own printed %q", got)
	}
}

// hostileToZygote tries what a program can do to another process.
const hostileToZygote = `
import ctypes, os, signal
libc = ctypes.CDLL(None, use_errno=True)
def of(pid):
    try:
        return os.stat("/proc/%d" % pid).st_uid, open("/proc/%d/comm" % pid).read().strip()
    except OSError:
        return None
zygotes = [p for p in map(int, filter(str.isdigit, os.listdir("/proc"))) if of(p) == (0, "python3")]
assert len(zygotes) == 1, [of(int(p)) for p in os.listdir("/proc") if p.isdigit()]
z = zygotes[0]
def attempt(name, f):
    try:
        r = f()
    except OSError:
        return
    print(name, "came to", r)
def call(number, *args):
    r = libc.syscall(number, *args)
    if r == -1:
        raise OSError(ctypes.get_errno(), "")
    return r
for s in 0, signal.SIGKILL, signal.SIGSTOP, signal.SIGINT:
    attempt("kill", lambda: os.kill(z, s))
for f in "mem", "maps", "environ", "auxv", "syscall", "stack", "io", "pagemap", "smaps":
    attempt(f, lambda: open("/proc/%d/%s" % (z, f), "rb").read(64))
for f in "fd", "map_files", "fdinfo":
    attempt(f, lambda: os.listdir("/proc/%d/%s" % (z, f)))
for f in "exe", "cwd", "root", "ns/user":
    attempt(f, lambda: os.readlink("/proc/%d/%s" % (z, f)))
attempt("oom_score_adj", lambda: open("/proc/%d/oom_score_adj" % z, "w").write("1000"))
attempt("ptrace", lambda: call(101, 16, z, 0, 0))
attempt("seize", lambda: call(101, 0x4206, z, 0, 0))
buffer = ctypes.create_string_buffer(64)
vector = (ctypes.c_uint64 * 2)(ctypes.addressof(buffer), 8)
for n in 310, 311:  # process_vm_readv, process_vm_writev
    attempt(n, lambda: call(n, z, vector, 1, vector, 1, 0))
pidfd = os.pidfd_open(z)
for fd in range(8):
    attempt("pidfd_getfd", lambda: call(438, pidfd, fd, 0))
attempt("pidfd_send_signal", lambda: signal.pidfd_send_signal(pidfd, signal.SIGKILL))
attempt("nice", lambda: os.setpriority(os.PRIO_PROCESS, z, 19))
attempt("affinity", lambda: os.sched_setaffinity(z, {0}))
attempt("prlimit", lambda: call(302, z, 7, buffer, 0))
attempt("setpgid", lambda: os.setpgid(z, 0))
os.kill(-1, signal.SIGCONT)
print("done")
`

func TestZygoteIsOutOfReach(t *testing.T) {
	s, b := withZygote(t, nil)
	for _, forked := range []bool{true, false} {
		command := object{"code": hostileToZygote}
		if !forked {
			command["env"] = plainly
		}
		if r := b.python(s, forked, command); r.Stdout != "done\n" {
			t.Errorf("forked %v, a program got\n%s%s", forked, r.Stdout, r.Stderr)
		}
	}
	b.python(s, true, object{"code": "pass"})
}

// zygotes returns the processes of the host that are a session's zygote.
func (s *server) zygotes(t *testing.T, container string) []int {
	t.Helper()
	files, err := filepath.Glob("/sys/fs/cgroup/memory" + s.parent + "/" + container + "/z*/cgroup.procs")
	if len(files) == 0 && err == nil {
		files, err = filepath.Glob("/sys/fs/cgroup" + s.parent + "/" + container + "/z*/cgroup.procs")
	}
	if err != nil {
		t.Fatal(err)
	}
	var pids []int
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // it has just ended
		}
		for field := range strings.FieldsSeq(string(text)) {
			pid, err := strconv.Atoi(field)
			if err != nil {
				t.Fatal(err)
			}
			pids = append(pids, pid)
		}
	}
	return pids
}

// TestZygoteThatFailsIsReplaced has one die and one hang. Programs run all the
// same.
func TestZygoteThatFailsIsReplaced(t *testing.T) {
	s, b := withZygote(t, nil)
	for _, sig := range []syscall.Signal{syscall.SIGKILL, syscall.SIGSTOP} {
		old := s.zygotes(t, b.info.ContainerID)
		if len(old) != 1 {
			t.Fatalf("there are zygotes %v; want one", old)
		}
		if score, err := os.ReadFile("/proc/" + strconv.Itoa(old[0]) + "/oom_score_adj"); err != nil || string(score) != "100\n" {
			t.Errorf("the zygote's score is %q, %v", score, err)
		}
		if err := syscall.Kill(old[0], sig); err != nil {
			t.Fatal(err)
		}
		if got := b.python(s, false, object{"code": "print(1)"}).Stdout; got != "1\n" {
			t.Errorf("after %v a program printed %q", sig, got)
		}
		b.awaitZygote(s)
		if now := s.zygotes(t, b.info.ContainerID); len(now) != 1 || now[0] == old[0] {
			t.Errorf("after %v there are zygotes %v; before it %v", sig, now, old)
		}
	}
}

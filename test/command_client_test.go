package test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"codebeaker/rpc/client/clienttest"
)

// client runs a client command on the server and wants its exit code.
func (s *server) client(t *testing.T, stdin string, code int, args ...string) (stdout, stderr string) {
	t.Helper()
	stdout, stderr, got, err := command(t.Context(), stdin, append([]string{args[0], "--server", s.url}, args[1:]...)...)
	if err != nil || got != code {
		t.Errorf("codebeaker %q printed %q, %q and ended with %d, %v; want %d", args, shorter(stdout), shorter(stderr), got, err, code)
	}
	return stdout, stderr
}

func shorter(s string) string { return s[:min(len(s), 500)] }

func sumOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// numbers is what seq prints.
func numbers(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintln(&b, i+1)
	}
	return b.String()
}

func TestExecCommandIsTheProgram(t *testing.T) {
	s := busybox(t)
	b := s.session(t, object{})
	stdout, stderr := s.client(t, "", 4, "exec", "-w", "/tmp", "-e", "A=x y", b.id, "--", "sh", "-c", `pwd; echo "$A"; cat; echo err >&2; exit 4`)
	if stdout != "/tmp\nx y\n" || stderr != "err\n" {
		t.Errorf("it printed %q, %q", stdout, stderr)
	}
	if stdout, _ := s.client(t, "in\xff\x00", 0, "exec", "-i", b.id, "cat"); stdout != "in\xff\x00" {
		t.Errorf("cat printed %q", stdout)
	}
	if _, stderr := s.client(t, "", 137, "exec", "--timeout", "1s", b.id, "sleep", "60"); !strings.Contains(stderr, "time limit") {
		t.Errorf("after its time limit it said %q", stderr)
	}
	text := numbers(200_000)
	if stdout, _ := s.client(t, text, 0, "exec", "-i", b.id, "--", "sha256sum"); !strings.HasPrefix(stdout, sumOf(text)) {
		t.Errorf("of its input the program had the sum %s, not %s", stdout, sumOf(text))
	}
}

func TestExecCommandShowsAllThoughConnectionsBreak(t *testing.T) {
	s := busybox(t)
	b := s.session(t, object{})
	proxy := clienttest.NewProxy(t, s.url, func() int64 { return 200_000 })
	const count = 500_000
	stdout, stderr, code, err := command(t.Context(), "", "exec", "--server", proxy.URL, b.id, "--", "sh", "-c", fmt.Sprintf("seq 1 %d; exit 7", count))
	if err != nil || code != 7 || stderr != "" {
		t.Errorf("it printed %q and ended with %d, %v", stderr, code, err)
	}
	if want := numbers(count); stdout != want {
		t.Errorf("it printed %d bytes, other than the %d of the program", len(stdout), len(want))
	}
	if cuts := proxy.Cuts(); cuts < 10 {
		t.Errorf("the connection was cut %d times only", cuts)
	}
}

// started is a client command that runs.
type started struct {
	cmd *exec.Cmd

	mu      sync.Mutex
	printed bytes.Buffer
}

func (p *started) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.printed.Write(b)
}

// wantPrinted waits until the command has printed a text.
func (p *started) wantPrinted(t *testing.T, text string) {
	t.Helper()
	eventually(t, func() error {
		p.mu.Lock()
		defer p.mu.Unlock()
		if got := p.printed.String(); !strings.Contains(got, text) {
			return fmt.Errorf("it printed %q, and not %q", got, text)
		}
		return nil
	})
}

// wantExit waits for the end of the command.
func (p *started) wantExit(t *testing.T, code int) {
	t.Helper()
	err := p.cmd.Wait()
	if got := p.cmd.ProcessState.ExitCode(); got != code {
		t.Errorf("it ended with %d, %v; want %d; it printed %q", got, err, code, p.printed.String())
	}
}

// beginClient starts a client command on the server, whose output is collected.
func (s *server) beginClient(t *testing.T, change func(*exec.Cmd), args ...string) *started {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	p := &started{cmd: exec.CommandContext(ctx, binary("codebeaker"), append([]string{args[0], "--server", s.url}, args[1:]...)...)}
	p.cmd.Stdout, p.cmd.Stderr = p, p
	if change != nil {
		change(p.cmd)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *started) signal(t *testing.T, sig os.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
}

func TestExecCommandPassesSignalsOn(t *testing.T) {
	s := busybox(t)
	b := s.session(t, object{})
	p := s.beginClient(t, nil, "exec", b.id, "--", "sh", "-c", "trap 'echo caught; exit 5' INT; echo ready; while :; do sleep 0.05; done")
	p.wantPrinted(t, "ready")
	p.signal(t, os.Interrupt)
	p.wantExit(t, 5)
	p.wantPrinted(t, "caught")

	stubborn := s.beginClient(t, nil, "exec", b.id, "--", "sh", "-c", "trap 'echo no' INT; echo ready; while :; do sleep 0.05; done")
	stubborn.wantPrinted(t, "ready")
	stubborn.signal(t, os.Interrupt)
	stubborn.wantPrinted(t, "no\n")
	stubborn.signal(t, os.Interrupt)
	stubborn.wantExit(t, 137)
}

func TestAttachCommandShowsWhatItsClientDidNotSee(t *testing.T) {
	s := busybox(t)
	b := s.session(t, object{})
	first := s.beginClient(t, nil, "exec", b.id, "--", "sh", "-c", "echo one; while [ ! -e go ]; do sleep 0.05; done; echo two; exit 6")
	first.wantPrinted(t, "one\n")
	first.signal(t, syscall.SIGKILL)
	_ = first.cmd.Wait() // it was killed

	ids, _ := s.client(t, "", 0, "ps", "-q", b.id)
	id := strings.TrimSpace(ids)
	left := s.beginClient(t, nil, "attach", id)
	left.wantPrinted(t, "one\n")
	left.signal(t, os.Interrupt)
	left.wantExit(t, 130)
	left.wantPrinted(t, "codebeaker attach "+id)

	second := s.beginClient(t, nil, "attach", id)
	second.wantPrinted(t, "one\n")
	b.sh("touch go")
	second.wantExit(t, 6)
	if got := second.printed.String(); got != "one\ntwo\n" {
		t.Errorf("it printed %q", got)
	}
	if stdout, _ := s.client(t, "", 6, "attach", id); stdout != "one\ntwo\n" {
		t.Errorf("after its end it printed %q", stdout)
	}
	if stdout, _ := s.client(t, "", 0, "ps", "-a", b.id); !strings.Contains(stdout, id) {
		t.Errorf("ps -a does not list it: %s", stdout)
	}
	if stdout, _ := s.client(t, "", 0, "ps", "-q", b.id); stdout != "" {
		t.Errorf("ps -q lists %q", stdout)
	}
}

func TestExecCommandDetached(t *testing.T) {
	s := busybox(t)
	b := s.session(t, object{})
	stdout, _ := s.client(t, "", 0, "exec", "-d", b.id, "--", "sh", "-c", "cat; echo done; exit 3")
	if stdout, _ := s.client(t, "", 3, "attach", strings.TrimSpace(stdout)); stdout != "done\n" {
		t.Errorf("it printed %q", stdout)
	}
}

func TestRunCommandLeavesNoSession(t *testing.T) {
	s := python(t)
	before, _ := s.client(t, "", 0, "ps", "-q")
	if stdout, _ := s.client(t, "input", 0, "run", "-i", "python", script(t, "print(input() * 2)")); stdout != "inputinput\n" {
		t.Errorf("it printed %q", stdout)
	}
	p := s.beginClient(t, nil, "run", "python", script(t, "import time; print('ready', flush=True); time.sleep(600)"))
	p.wantPrinted(t, "ready")
	p.signal(t, os.Interrupt)
	p.wantExit(t, 130)
	if after, _ := s.client(t, "", 0, "ps", "-q"); after != before {
		t.Errorf("there were the sessions %q, and are %q", before, after)
	}
}

func script(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "p.py")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestExecCommandGivesATerminal(t *testing.T) {
	s := busybox(t)
	b := s.session(t, object{})
	keys, screen := clienttest.OpenTerminal(t)
	resize := func(rows, columns uint16) {
		t.Helper()
		if err := unix.IoctlSetWinsize(int(keys.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: columns}); err != nil {
			t.Fatal(err)
		}
	}
	resize(33, 111)
	before, err := unix.IoctlGetTermios(int(screen.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	p := s.beginClient(t, func(cmd *exec.Cmd) {
		cmd.Stdin, cmd.Stdout, cmd.Stderr = screen, screen, screen
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	}, "exec", "-t", b.id, "--", "sh", "-i")
	go func() { _, _ = io.Copy(p, keys) }() // until the test closes it
	typed := func(line string) {
		t.Helper()
		if _, err := io.WriteString(keys, line); err != nil {
			t.Fatal(err)
		}
	}
	typed("test -t 0 && stty size\r")
	p.wantPrinted(t, "\n33 111\r\n")
	resize(44, 99)
	// The new size is on its way; the shell looks until it is there.
	typed("until stty size | grep '44 99'; do sleep 0.1; done\r")
	p.wantPrinted(t, "\n44 99\r\n")
	typed("echo as''leep; sleep 600\r")
	p.wantPrinted(t, "asleep\r\n")
	typed("\x03")
	typed("exit 9\r")
	p.wantExit(t, 9)
	if after, err := unix.IoctlGetTermios(int(screen.Fd()), unix.TCGETS); err != nil || *after != *before {
		t.Errorf("the terminal had the mode %+v, and has %+v, %v", before, after, err)
	}
}

func TestCpCommandKeepsFiles(t *testing.T) {
	s := busybox(t)
	b := s.session(t, object{})
	here := t.TempDir()
	big := make([]byte, 20<<20+12345)
	if _, err := rand.Read(big); err != nil {
		t.Fatal(err)
	}
	for name, mode := range map[string]os.FileMode{"src/big": 0o644, "src/sub/read only": 0o444, "src/sub/run[*]": 0o750, "src/sub/deep/zero": 0o600} {
		path := filepath.Join(here, name)
		content := big
		if name != "src/big" {
			content = big[:5<<20*int(mode&0o200)/0o200]
		}
		if name == "src/sub/deep/zero" {
			content = nil
		}
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, content, 0o600), os.Chmod(path, mode)); err != nil {
			t.Fatal(err)
		}
	}
	s.client(t, "", 0, "cp", "-r", filepath.Join(here, "src"), b.id+":")
	sum := b.sh("cd src && sha256sum big && stat -c '%a %u' big sub/* sub/deep/zero && find . -name '.codebeaker*'")
	if want := sumOf(string(big)) + "  big\n644 1000\n755 1000\n444 1000\n750 1000\n600 1000\n"; sum.Stdout != want {
		t.Errorf("in the session there is\n%s%s, want\n%s", sum.Stdout, sum.Stderr, want)
	}
	s.client(t, "", 0, "cp", "-r", b.id+":src", filepath.Join(here, "back"))
	if out, err := exec.CommandContext(t.Context(), "diff", "-r", filepath.Join(here, "src"), filepath.Join(here, "back")).CombinedOutput(); err != nil {
		t.Errorf("what came back differs: %v\n%s", err, out)
	}
	for name, want := range map[string]os.FileMode{"sub/read only": 0o444, "sub/run[*]": 0o750, "sub/deep/zero": 0o600} {
		if info, err := os.Stat(filepath.Join(here, "back", name)); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s came back as %v, %v", name, info, err)
		}
	}
	if stdout, _ := s.client(t, "", 0, "cp", b.id+":/proc/self/comm", "-"); stdout == "" {
		t.Error("a file that does not tell its size was copied as an empty one")
	}
	s.client(t, "text", 0, "cp", "-", b.id+":new/file")
	if stdout, _ := s.client(t, "", 0, "cp", b.id+":new/file", "-"); stdout != "text" {
		t.Errorf("what came from standard input is %q", stdout)
	}
	for want, args := range map[string][]string{
		"not permitted":          {"cp", filepath.Join(here, "src/big"), b.id + ":/etc/x"},
		"is a directory: add -r": {"cp", b.id + ":src", here},
		"not found":              {"cp", b.id + ":no", here},
		"codebeaker ps lists":    {"cp", "no-such-session:no", here},
	} {
		if _, stderr := s.client(t, "", 1, args...); !strings.Contains(stderr, want) {
			t.Errorf("%q: it said %q, want %q", args, stderr, want)
		}
	}
}

func TestCpCommandIsNotLedOut(t *testing.T) {
	s := busybox(t)
	b := s.session(t, object{})
	b.sh("mkdir d; echo fine >d/file; ln -s /etc d/link; ln -s ../../../../../../tmp/evil d/up; mkfifo d/fifo; printf x >\"$(printf 'd/not\\377text')\"; chmod 0 d/not*")
	here := t.TempDir()
	_, stderr := s.client(t, "", 1, "cp", "-r", b.id+":d", here)
	entries, err := os.ReadDir(filepath.Join(here, "d"))
	if err != nil || len(entries) != 1 || entries[0].Name() != "file" {
		t.Errorf("it copied %v, %v", entries, err)
	}
	for _, want := range []string{"d/link is left out", "d/up is left out", "d/fifo is left out", "d/not\uFFFDtext is left out", "4 of the entries"} {
		if !strings.Contains(stderr, want) {
			t.Errorf("it said %q, want %q", stderr, want)
		}
	}
}

func TestCompletionAsksTheServer(t *testing.T) {
	s := busybox(t)
	b := s.session(t, object{})
	b.sh("mkdir results; touch report.txt")
	t.Setenv("CODEBEAKER_SERVER", s.url)
	for want, args := range map[string][]string{
		b.id + "\tpython, ":  {"exec", b.id[:5]},
		b.id + ":\tpython, ": {"cp", b.id[:5]},
		b.id + ":report.txt": {"cp", b.id + ":re"},
		b.id + ":results/":   {"cp", b.id + ":re"},
		"python":             {"run", "py"},
	} {
		begun := time.Now()
		stdout, stderr, code, err := command(t.Context(), "", append([]string{"__complete"}, args...)...)
		if err != nil || code != 0 || !strings.Contains("\n"+stdout, "\n"+want) {
			t.Errorf("%q: it printed %q, %q and ended with %d, %v, after %s", args, stdout, stderr, code, err, time.Since(begun))
		}
	}
}

func TestPsCommandPrintsWhatTheServerSays(t *testing.T) {
	s := busybox(t)
	b := s.session(t, object{})
	stdout, _ := s.client(t, "", 0, "ps", "--json")
	var all struct {
		Sessions []sessionInfo
	}
	if err := json.Unmarshal([]byte(stdout), &all); err != nil {
		t.Fatal(err)
	}
	found := false
	for _, info := range all.Sessions {
		found = found || info.SessionID == b.id && info.ContainerID == b.info.ContainerID
	}
	if !found {
		t.Errorf("the session is not in %s", stdout)
	}
	if table, _ := s.client(t, "", 0, "ps"); !strings.Contains(table, b.id+"  python") {
		t.Errorf("the session is not in\n%s", table)
	}
}

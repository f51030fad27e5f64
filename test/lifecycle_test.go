package test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"codebeaker/rpc/client"
)

// remains lists what is on the host of a server that has ended: processes,
// mounts, cgroups, FIFOs.
func (s *server) remains() ([]string, error) {
	var left []string
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(mounts)) {
		if s.owns(line) {
			left = append(left, "mount "+line)
		}
	}
	processes, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return nil, err
	}
	for _, p := range processes {
		text, err := os.ReadFile(p)
		if err == nil && s.owns(string(text)) {
			left = append(left, "process "+strings.ReplaceAll(string(text), "\x00", " "))
		}
	}
	group := s.parent
	if s.dir == "" { // the installed server's belongs to a unit
		group += "/cb-*"
	}
	for _, pattern := range []string{"/sys/fs/cgroup" + group, "/sys/fs/cgroup/*" + group, s.state + "/fifo/*", s.state + "/runc/*/*", s.state + "/io.containerd.runtime.v2.task/*/*", s.state + "/tmp/*", s.state + "/s/*"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			return nil, err
		}
		left = append(left, found...)
	}
	return left, nil
}

// owns says whether a text names something below the server's directories.
func (s *server) owns(text string) bool {
	return strings.Contains(text, s.root+"/") || strings.Contains(text, s.state+"/")
}

func (s *server) gone() error {
	left, err := s.remains()
	if err == nil && len(left) > 0 {
		err = fmt.Errorf("left behind:\n%s", strings.Join(left, "\n"))
	}
	return err
}

func TestSIGTERMDrainsAndLeavesNothing(t *testing.T) {
	s := private(t)
	b := s.session(t, nil)
	s.session(t, nil)
	done := make(chan outcome, 1)
	failed := make(chan error, 1)
	go func() {
		o, err := b.try(object{"type": "execute_shell", "commandName": "sh", "args": []string{"-c", "touch started; sleep 1; echo finished"}})
		failed <- err
		done <- o
	}()
	eventually(t, func() error {
		_, err := (&sandbox{t: t, c: s.dial(t), id: b.id}).try(object{"type": "read_file", "path": "started"})
		return err
	})
	if code, err := s.signal(syscall.SIGTERM); err != nil || code != 0 {
		t.Fatalf("exit code %d, %v", code, err)
	}
	if err := <-failed; err != nil {
		t.Fatalf("the running command was not answered: %v", err)
	}
	if o := <-done; o.Result.Stdout != "finished\n" {
		t.Errorf("the running command was not drained: %+v", o)
	}
	eventually(t, s.gone)
}

func TestDrainEndsAtItsTimeout(t *testing.T) {
	s := private(t, "--drain-timeout", "300ms")
	b := s.session(t, nil)
	answer := make(chan outcome, 1)
	go func() {
		o, _ := b.try(object{"type": "execute_shell", "commandName": "sh", "args": []string{"-c", "touch started; sleep 1000"}})
		answer <- o
	}()
	eventually(t, func() error {
		_, err := (&sandbox{t: t, c: s.dial(t), id: b.id}).try(object{"type": "read_file", "path": "started"})
		return err
	})
	if code, err := s.signal(syscall.SIGINT); err != nil || code != 0 {
		t.Fatalf("exit code %d, %v", code, err)
	}
	if o := <-answer; o.Result.EndReason != "session_closed" {
		t.Errorf("the running command was answered with %+v", o)
	}
	eventually(t, s.gone)
}

func TestCrashedServersSessionsAreRemovedByTheNext(t *testing.T) {
	s := withBusybox(t)
	if err := s.start(); err != nil {
		t.Fatal(err)
	}
	b := s.session(t, nil)
	go func() {
		_, _ = b.try(object{"type": "execute_shell", "commandName": "sleep", "args": []string{"1000"}})
	}()
	eventually(t, func() error {
		if !strings.Contains((&sandbox{t: t, c: s.dial(t), id: b.id}).sh("ps").Stdout, "sleep 1000") {
			return errors.New("the program has not started")
		}
		return nil
	})
	if err := s.kill(); err != nil {
		t.Fatal(err)
	}
	if err := s.gone(); err == nil {
		t.Fatal("nothing was left to remove; this test proves nothing")
	}
	if err := s.start(); err != nil {
		t.Fatal(err)
	}
	c := s.dial(t)
	var list struct{ Count int }
	if err := c.Call(t.Context(), "session.list", object{}, &list); err != nil || list.Count != 0 {
		t.Errorf("session.list counts %d, %v", list.Count, err)
	}
	again := s.session(t, nil)
	if got := again.sh("echo again").Stdout; got != "again\n" {
		t.Errorf("a new session printed %q", got)
	}
	if code, err := s.signal(syscall.SIGTERM); err != nil || code != 0 {
		t.Fatalf("exit code %d, %v", code, err)
	}
	eventually(t, s.gone)
}

func TestSecondServerOnARootIsRefused(t *testing.T) {
	s := busybox(t)
	_, stderr, code, err := command(t.Context(), "", append([]string{"serve", "--listen", "127.0.0.1:0"}, s.hostArgs()...)...)
	if err != nil || code != 1 || !strings.Contains(stderr, "is in use by codebeaker serve (pid ") {
		t.Errorf("exit code %d, %v, %q", code, err, stderr)
	}
	// The first one has taken no harm.
	if got := s.session(t, nil).sh("echo ok").Stdout; got != "ok\n" {
		t.Errorf("the first server's session printed %q", got)
	}
}

func TestPortInUseIsSaid(t *testing.T) {
	s := busybox(t)
	other := unstarted(t)
	_, stderr, code, err := command(t.Context(), "", append([]string{"serve", "--listen", strings.TrimPrefix(s.base, "http://")}, other.hostArgs()...)...)
	if err != nil || code != 1 || !strings.Contains(stderr, "address already in use") {
		t.Errorf("exit code %d, %v, %q", code, err, stderr)
	}
}

func TestLostSessionIsClosed(t *testing.T) {
	s := busybox(t)
	b := s.session(t, nil)
	// As if the machine ran out of memory: the whole sandbox is killed from
	// outside.
	killed := 0
	for _, pattern := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
		file := filepath.Join(pattern, s.parent, b.info.ContainerID, "cgroup.kill")
		if err := os.WriteFile(file, []byte("1"), 0); err == nil {
			killed++
		}
	}
	if killed == 0 {
		t.Fatal("no cgroup.kill was found")
	}
	eventually(t, func() error {
		o, err := b.try(object{"type": "execute_shell", "commandName": "true"})
		no := (*client.Error)(nil)
		if errors.As(err, &no) && no.Code == -32001 {
			return nil
		}
		return errors.Join(fmt.Errorf("a command was answered with %+v", o), err)
	})
}

// The end of pid 1, whatever ends it, is told as the end of the session: to the
// commands that run, to those that are about to, and to those that come later.
func TestEndOfPid1IsTheSessions(t *testing.T) {
	s := busybox(t)
	for range 5 {
		b := s.session(t, nil)
		b.sh("true")
		w := s.wire(t)
		running := w.background(b, "sleep 1000", nil)
		var commands sync.WaitGroup
		for _, command := range []object{shell("true", nil), {"type": "write_file", "path": "x", "content": ""}, shell("sleep 1000", nil)} {
			c := s.dial(t)
			commands.Go(func() {
				for {
					var o outcome
					err := c.Call(t.Context(), "session.execute", object{"sessionId": b.id, "command": command}, &o)
					no := (*client.Error)(nil)
					switch {
					case err == nil && (o.Success || o.Result.EndReason == "lost"):
					case errors.As(err, &no) && (no.Code == -32001 || no.Code == -32002):
						return
					default:
						t.Errorf("%v is answered with %+v, %v", command["type"], o, err)
						return
					}
				}
			})
		}
		pid := int(newTaskOf(t, s, b.info.ContainerID).Pid())
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		commands.Wait()
		if end := w.finished(running); end.EndReason != "lost" {
			t.Errorf("the program that ran ended as %+v", end)
		}
	}
}

// Any containerd that somebody runs: here, that of another server.
func TestSessionsRunOnAnotherContainerd(t *testing.T) {
	other := busybox(t)
	s := withBusybox(t)
	socket := filepath.Join(other.state, "containerd.sock")
	if err := other.images(t.Context(), "import", "--namespace", "second", "python", busyboxArchive(t)); err != nil {
		t.Fatal(err)
	}
	if err := s.start("--containerd", socket, "--namespace", "second"); err != nil {
		t.Fatal(err)
	}
	b := s.session(t, nil)
	b.do(object{"type": "write_file", "path": "x", "content": "through a socket"})
	if got := b.sh("cat x").Stdout; got != "through a socket" {
		t.Errorf("printed %q", got)
	}
	b.close()
	if code, err := s.signal(syscall.SIGTERM); err != nil || code != 0 {
		t.Fatalf("exit code %d, %v", code, err)
	}
	eventually(t, s.gone)
	if got := other.session(t, nil).sh("echo ok").Stdout; got != "ok\n" {
		t.Errorf("its own server's session printed %q", got)
	}
}

// A containerd that somebody else restarts costs no session, and no program.
func TestSessionsOutliveARestartOfTheirContainerd(t *testing.T) {
	s := withBusybox(t)
	root, state := filepath.Join(s.dir, "other"), filepath.Join(s.dir, "o")
	begin := func() (socket string, end func()) {
		t.Helper()
		p := exec.Command(binary("codebeaker-bench"), "containerd", "--root", root, "--state", state)
		if err := p.Start(); err != nil {
			t.Fatal(err)
		}
		var once sync.Once
		end = func() {
			once.Do(func() {
				_ = p.Process.Kill()
				_ = p.Wait() // it was killed
			})
		}
		t.Cleanup(end)
		socket = filepath.Join(state, "containerd.sock")
		eventually(t, func() error {
			c, err := net.Dial("unix", socket)
			if err == nil {
				c.Close()
			}
			return err
		})
		return socket, end
	}
	socket, end := begin()
	if err := s.images(t.Context(), "import", "--containerd", socket, "python", busyboxArchive(t)); err != nil {
		t.Fatal(err)
	}
	if err := s.start("--containerd", socket); err != nil {
		t.Fatal(err)
	}
	b := s.session(t, nil)
	w := s.wire(t)
	id := w.background(b, "echo first; read x; echo $x; exit 5", nil)
	for range 2 {
		end()
		_, end = begin()
	}
	eventually(t, func() error { // what asks containerd works again
		_, err := b.try(object{"type": "execute_shell", "commandName": "true"})
		return err
	})
	if err := b.c.Call(t.Context(), "execution.input", object{"executionId": id, "data": "last\n", "eof": true}, nil); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error {
		var status struct {
			Status, Stdout string
			ExitCode       int
		}
		if err := b.c.Call(t.Context(), "execution.status", object{"executionId": id}, &status); err != nil {
			return err
		}
		if status.Status != "completed" || status.ExitCode != 5 || status.Stdout != "first\nlast\n" {
			return fmt.Errorf("it is %+v", status)
		}
		return nil
	})
	b.close()
	if code, err := s.signal(syscall.SIGTERM); err != nil || code != 0 {
		t.Fatalf("exit code %d, %v", code, err)
	}
}

func TestInterruptedStartLeavesNothing(t *testing.T) {
	s := withBusybox(t)
	for _, after := range []time.Duration{0, 5 * time.Millisecond, 20 * time.Millisecond, 60 * time.Millisecond} {
		if err := s.begin(); err != nil {
			t.Fatal(err)
		}
		timer := time.NewTimer(after)
		<-timer.C
		if _, err := s.signal(syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.start(); err != nil {
		t.Fatal(err)
	}
	if got := s.session(t, nil).sh("echo ok").Stdout; got != "ok\n" {
		t.Errorf("printed %q", got)
	}
}

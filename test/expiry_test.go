package test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"codebeaker/runtime/cgroup"
)

// short is an idle timeout in minutes after which a test can wait for a session
// to expire, and long one that is surely later.
var (
	short = scaled(2*time.Second) / 60
	long  = 2 * short
)

// clock is a session that nobody uses, whose expiry is the time for which
// something has to stay as it is.
type clock struct {
	w *wire
	b *sandbox
}

func (w *wire) clock(s *server) clock {
	w.t.Helper()
	return clock{w, s.session(w.t, object{"idleTimeoutMinutes": long})}
}

// run looks at what has to be so, from now on for a long time.
func (c clock) run(look func()) {
	c.w.t.Helper()
	c.w.call("session.execute", object{"sessionId": c.b.id, "stream": true, "command": shell("true", nil)}, nil)
	eventually(c.w.t, func() error {
		look()
		for _, m := range c.w.seen() {
			if m.Method == "session.closed" && m.Params.SessionID == c.b.id {
				return nil
			}
		}
		return errors.New("the clock has not expired")
	})
}

// state returns a session's, empty where there is no such session.
func (w *wire) state(b *sandbox) string {
	w.t.Helper()
	var info struct{ State string }
	if err := w.ask("session.get", object{"sessionId": b.id}, &info); err != nil {
		refused(w.t, err, -32001, "not found")
		return ""
	}
	return info.State
}

// mainProcess returns the host's pid of a process of a session's container that
// a program in it cannot reach: its first one.
func (b *sandbox) mainProcess(s *server) int {
	b.t.Helper()
	for _, root := range []string{cgroup.Root, cgroup.Root + "/unified", cgroup.Root + "/pids"} {
		file := filepath.Join(root, s.parent, b.info.ContainerID)
		var found int
		_ = filepath.WalkDir(file, func(path string, _ os.DirEntry, err error) error {
			if err != nil || filepath.Base(path) != "cgroup.procs" {
				return nil //nolint:nilerr // groups of programs come and go
			}
			text, _ := os.ReadFile(path)
			for pid := range strings.FieldsSeq(string(text)) {
				status, _ := os.ReadFile("/proc/" + pid + "/status")
				for line := range strings.Lines(string(status)) {
					if f := strings.Fields(line); len(f) > 1 && f[0] == "NSpid:" && f[len(f)-1] == "1" {
						found, _ = strconv.Atoi(pid)
					}
				}
			}
			return nil
		})
		if found > 0 {
			return found
		}
	}
	b.t.Fatal("no process of the container is its first one")
	return 0
}

func TestSessionClosedSaysWhy(t *testing.T) {
	s := busybox(t)
	for _, tc := range []struct {
		reason string
		params object
		end    func(*sandbox)
	}{
		{"closed", nil, func(b *sandbox) { b.close() }},
		{"idle", object{"idleTimeoutMinutes": short}, func(*sandbox) {}},
		{"lifetime", object{"maxLifetimeMinutes": short}, func(*sandbox) {}},
		{"lost", nil, func(b *sandbox) {
			if err := syscall.Kill(b.mainProcess(s), syscall.SIGKILL); err != nil {
				b.t.Fatal(err)
			}
		}},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			b := s.session(t, tc.params)
			follower, attached, stranger := s.wire(t), s.wire(t), s.wire(t)
			var done outcome
			follower.call("session.execute", object{"sessionId": b.id, "stream": true, "command": shell("true", nil)}, &done)
			attached.call("execution.attach", object{"executionId": done.Result.ExecutionID}, nil)
			stranger.call("session.get", object{"sessionId": b.id}, nil)
			tc.end(b)
			for _, w := range []*wire{follower, attached} {
				if closed, _ := w.notice("session.closed", b.id); closed.Reason != tc.reason {
					t.Errorf("session.closed says %q; want %q", closed.Reason, tc.reason)
				}
			}
			eventually(t, func() error {
				if state := stranger.state(b); state != "" {
					return errors.New("it is still " + state)
				}
				return nil
			})
			for _, m := range stranger.seen() {
				if m.Method != "" {
					t.Errorf("a connection that did not ask was told %+v", m)
				}
			}
		})
	}
}

func TestSessionThatIsLostEndsItsExecutions(t *testing.T) {
	s := busybox(t)
	b := s.session(t, nil)
	w := s.wire(t)
	id := w.background(b, "echo begun; cat", nil)
	w.printed(id, 0, "begun\n")
	if err := syscall.Kill(b.mainProcess(s), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	end, at := w.notice("execution.completed", id)
	// Its kernel killed it with the first process; nobody can say who was first
	// to see that.
	if end.EndReason != "lost" && end.EndReason != "signaled" && end.EndReason != "session_closed" || end.ExitCode == 0 {
		t.Errorf("it ended with %+v", end)
	}
	closed, then := w.notice("session.closed", b.id)
	if closed.Reason != "lost" || then < at {
		t.Errorf("session.closed is message %d, after %d: %+v", then, at, closed)
	}
	if st := w.status(id); st.Status != "completed" || st.Stdout != "begun\n" {
		t.Errorf("execution.status answered %+v", st)
	}
}

func TestShutdownTellsThoseWhoFollow(t *testing.T) {
	s := private(t, "--drain-timeout", "100ms")
	b := s.session(t, nil)
	w := s.wire(t)
	id := w.background(b, "echo begun; cat", nil)
	w.printed(id, 0, "begun\n")
	if code, err := s.signal(syscall.SIGTERM); err != nil || code != 0 {
		t.Fatalf("exit code %d, %v", code, err)
	}
	end, at := w.notice("execution.completed", id)
	closed, then := w.notice("session.closed", b.id)
	if end.EndReason != "session_closed" || closed.Reason != "shutdown" || then < at {
		t.Errorf("it was told %+v, %+v", end, closed)
	}
}

func TestExpiryIsOnTime(t *testing.T) {
	s := busybox(t)
	w := s.wire(t)
	for name, params := range map[string]object{
		"idle":     {"idleTimeoutMinutes": short, "maxLifetimeMinutes": 2 * long},
		"lifetime": {"idleTimeoutMinutes": 2 * long, "maxLifetimeMinutes": short},
	} {
		t.Run(name, func(t *testing.T) {
			sent := time.Now()
			b := s.session(t, params)
			from := b.info.CreatedAt
			w.call("session.execute", object{"sessionId": b.id, "stream": true, "command": shell("true", nil)}, nil)
			if name == "idle" {
				from = time.Now() // at the latest
			}
			w.notice("session.closed", b.id)
			timeout := time.Duration(short * float64(time.Minute))
			late := time.Since(from) - timeout
			t.Logf("it closed %s after its deadline", late.Round(time.Millisecond))
			if d := time.Since(sent); d < timeout || late > patience {
				t.Errorf("it closed %s after it was asked for; want %s", d, timeout)
			}
		})
	}
}

func TestRunningExecutionKeepsItsSession(t *testing.T) {
	s := busybox(t)
	b := s.session(t, object{"idleTimeoutMinutes": short})
	w := s.wire(t)
	id := w.background(b, "cat", nil)
	w.clock(s).run(func() {
		if state := w.state(b); state != "Active" {
			t.Fatalf("with a running execution the session is %q", state)
		}
	})
	w.call("execution.input", object{"executionId": id, "data": "", "eof": true}, nil)
	w.finished(id)
	if closed, _ := w.notice("session.closed", b.id); closed.Reason != "idle" {
		t.Errorf("session.closed says %q", closed.Reason)
	}
}

func TestTouchAndAttachKeepASessionAndAConnectionDoesNot(t *testing.T) {
	s := busybox(t)
	w := s.wire(t)
	clock := w.clock(s)
	var sessions []*sandbox
	var ended []string
	for range 3 {
		b := s.session(t, object{"idleTimeoutMinutes": short})
		var done outcome
		w.call("session.execute", object{"sessionId": b.id, "stream": true, "command": shell("true", nil)}, &done)
		sessions, ended = append(sessions, b), append(ended, done.Result.ExecutionID)
	}
	touched, attached, left := sessions[0], sessions[1], sessions[2]
	clock.run(func() {
		w.call("session.touch", object{"sessionId": touched.id}, nil)
		w.call("execution.attach", object{"executionId": ended[1]}, nil)
		if state := w.state(attached); state != "Idle" {
			t.Fatalf("the session of an execution that is attached to is %q", state)
		}
	})
	if state := w.state(left); state != "" {
		t.Errorf("a session that nobody used is %q, as connections are open", state)
	}
	for _, b := range sessions {
		if closed, _ := w.notice("session.closed", b.id); closed.Reason != "idle" {
			t.Errorf("session.closed says %q", closed.Reason)
		}
	}
}

// The shim is what the daemon knows a session by.
func TestSessionWhoseShimIsKilledIsLost(t *testing.T) {
	s := private(t)
	b := s.session(t, nil)
	w := s.wire(t)
	id := w.background(b, "echo begun; cat", nil)
	w.printed(id, 0, "begun\n")
	// It is the parent of what it started.
	status := read(t, "/proc", strconv.Itoa(b.mainProcess(s)), "status")
	_, ppid, _ := strings.Cut(status, "\nPPid:")
	shim, err := strconv.Atoi(strings.Fields(ppid)[0])
	if err != nil || !s.owns(read(t, "/proc", strconv.Itoa(shim), "cmdline")) {
		t.Fatalf("process %d is no shim of the server's: %v", shim, err)
	}
	if err := syscall.Kill(shim, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	end, _ := w.notice("execution.completed", id)
	closed, _ := w.notice("session.closed", b.id)
	if end.EndReason != "lost" || end.ExitCode != -1 || closed.Reason != "lost" {
		t.Errorf("it was told %+v, %+v", end, closed)
	}
	// containerd cleans up behind a shim on its own time. It leaves the name of
	// its socket, behind which there is nobody.
	eventually(t, func() error {
		left, err := s.remains()
		for _, l := range left {
			if strings.Contains(l, b.info.ContainerID) {
				return fmt.Errorf("left behind: %s", l)
			}
		}
		return err
	})
}

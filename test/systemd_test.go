package test

import (
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"codebeaker/rpc/client"
)

// requireUnit leaves a test out where the product is not installed under
// systemd, and returns its server.
func requireUnit(t *testing.T) *server {
	t.Helper()
	if !inVM() {
		t.Skip("the unit is installed in the virtual machine of make test-vm alone")
	}
	s := python(t)
	t.Cleanup(func() {
		if t.Failed() {
			out, _ := exec.Command("journalctl", "-u", "codebeaker", "-n", "50", "--no-pager").CombinedOutput()
			t.Logf("journal:\n%s", out)
		}
		// Whatever the test did, the next one finds a server that serves.
		systemctl(t, "start", "codebeaker")
	})
	return s
}

// systemctl runs it and returns what it printed.
func systemctl(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command("systemctl", args...).CombinedOutput()
	if err != nil {
		t.Errorf("systemctl %q: %v: %s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

func property(t *testing.T, name string) string {
	t.Helper()
	return systemctl(t, "show", "codebeaker", "--value", "-p", name)
}

func TestUnitIsReadyOnlyWhenItServes(t *testing.T) {
	s := requireUnit(t)
	systemctl(t, "stop", "codebeaker")
	if err := client.Healthy(t.Context(), s.base); err == nil {
		t.Error("it serves after stop")
	}
	systemctl(t, "start", "codebeaker") // returns at READY=1
	if err := client.Healthy(t.Context(), s.base); err != nil {
		t.Errorf("right after start: %v", err)
	}
	if got := property(t, "ActiveState"); got != "active" {
		t.Errorf("it is %s", got)
	}
	if got := s.session(t, nil).sh("echo ok").Stdout; got != "ok\n" {
		t.Errorf("a session printed %q", got)
	}
}

func TestUnitRestartsAndStopsInOrder(t *testing.T) {
	s := requireUnit(t)
	s.session(t, nil)
	before := property(t, "MainPID")
	systemctl(t, "restart", "codebeaker")
	if after := property(t, "MainPID"); after == before || after == "0" {
		t.Errorf("its process was %s and is %s", before, after)
	}
	s.session(t, nil)
	systemctl(t, "stop", "codebeaker")
	if got := property(t, "Result"); got != "success" {
		t.Errorf("it stopped with %s", got)
	}
	eventually(t, func() error { return s.gone() })
}

func TestUnitIsStartedAtBoot(t *testing.T) {
	requireUnit(t)
	if got := systemctl(t, "is-enabled", "codebeaker"); got != "enabled" {
		t.Errorf("it is %s", got)
	}
}

func TestCrashedUnitIsStartedAgain(t *testing.T) {
	s := requireUnit(t)
	b := s.session(t, nil)
	b.sh("sleep 100000 & true")
	before := property(t, "MainPID")
	pid, err := strconv.Atoi(before)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error {
		if after := property(t, "MainPID"); after == before || after == "0" {
			return errors.New("it was not started again")
		}
		return client.Healthy(t.Context(), s.base)
	})
	// What the crash left is gone, and the next session works.
	if text := systemctl(t, "show", "codebeaker-sessions", "--value", "-p", "ActiveState"); text != "active" {
		t.Errorf("the sessions' unit is %s", text)
	}
	s.wantNoSessions(t)
	if got := s.session(t, nil).sh("echo ok").Stdout; got != "ok\n" {
		t.Errorf("a session printed %q", got)
	}
}

func TestUnitLogsToTheJournal(t *testing.T) {
	s := requireUnit(t)
	b := s.session(t, nil)
	eventually(t, func() error {
		out, err := exec.Command("journalctl", "-u", "codebeaker", "--no-pager", "-o", "cat").CombinedOutput()
		if err == nil && !strings.Contains(string(out), b.info.ContainerID) {
			err = fmt.Errorf("the journal does not know container %s", b.info.ContainerID)
		}
		return err
	})
}

func TestUnitHasAWatchdog(t *testing.T) {
	requireUnit(t)
	if got := property(t, "WatchdogUSec"); got != "30s" {
		t.Errorf("its watchdog waits %s", got)
	}
	// It is fed: systemd has heard of it since the unit became active.
	eventually(t, func() error {
		fed, active := property(t, "WatchdogTimestampMonotonic"), property(t, "ActiveEnterTimestampMonotonic")
		f, ferr := strconv.Atoi(fed)
		a, aerr := strconv.Atoi(active)
		if err := errors.Join(ferr, aerr); err != nil {
			return err
		}
		if f <= a {
			return fmt.Errorf("the watchdog was last fed at %d µs; the unit is active since %d µs", f, a)
		}
		return nil
	})
}

func TestSessionsLiveInTheSlice(t *testing.T) {
	s := requireUnit(t)
	b := s.session(t, nil)
	if got := systemctl(t, "show", "codebeaker-sessions", "--value", "-p", "ControlGroup"); got != s.parent {
		t.Errorf("the sessions' unit has cgroup %s; sessions are made in %s", got, s.parent)
	}
	if procs := read(t, b.group(s), "init", "cgroup.procs"); procs == "" {
		t.Error("the session's cgroup holds no agent")
	}
	// systemd keeps away from what is delegated.
	systemctl(t, "daemon-reload")
	if got := read(t, b.group(s), "pids.max"); got != "256" {
		t.Errorf("after a daemon-reload pids.max holds %q", got)
	}
}

// A server whose cgroup lacks a controller must not start, as its limits would
// not hold.
func TestServerWithoutAControllerRefusesToStart(t *testing.T) {
	requireCgroup2(t)
	if !inVM() {
		t.Skip("it needs systemd")
	}
	s := unstarted(t)
	out, err := exec.Command("systemd-run", "--wait", "--pipe", "--collect", "-p", "Delegate=pids memory",
		"sh", "-c", `exec "$0" serve --listen 127.0.0.1:0 --root "$1" --state "$2" --cgroup-parent "$(sed -n 's/^0:://p' /proc/self/cgroup)/sessions"`,
		binary("codebeaker"), s.root, s.state).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "has no cpu controller") || !strings.Contains(string(out), "Delegate=cpu memory pids") {
		t.Errorf("it ended with %v: %s", err, out)
	}
}

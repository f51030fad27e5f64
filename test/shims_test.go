package test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"codebeaker/rpc/client"
	"codebeaker/runtime/shim"
)

// shimOf returns the process that serves a container: one of its own, or one
// that it shares.
func (s *server) shimOf(tb testing.TB, container string) int {
	tb.Helper()
	id := container
	files, err := filepath.Glob(s.state + "/io.containerd.runtime.v2.task/*/" + container + "/bootstrap.json")
	if err != nil || len(files) != 1 {
		tb.Fatalf("bundles of %s: %q, %v", container, files, err)
	}
	text, err := os.ReadFile(files[0])
	if err != nil {
		tb.Fatal(err)
	}
	if _, after, ok := strings.Cut(string(text), s.state+"/shim/"); ok {
		id, _, _ = strings.Cut(after, "/")
	}
	pids := shimsWith(tb, "-id\x00"+id+"\x00")
	if len(pids) != 1 {
		tb.Fatalf("container %s has the shims %v", container, pids)
	}
	return pids[0]
}

// shims returns all shims of the server.
func (s *server) shims(tb testing.TB) []int {
	tb.Helper()
	return shimsWith(tb, "-address\x00"+s.state+"/containerd.sock\x00")
}

func shimsWith(tb testing.TB, argument string) []int {
	tb.Helper()
	processes, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		tb.Fatal(err)
	}
	var pids []int
	for _, p := range processes {
		text, err := os.ReadFile(p)
		if err != nil || !strings.Contains(string(text)+"\x00", argument) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(p)))
		if err != nil {
			tb.Fatal(err)
		}
		pids = append(pids, pid)
	}
	return pids
}

// closed says whether a session is gone.
func (b *sandbox) closed() error {
	o, err := b.try(object{"type": "execute_shell", "commandName": "true"})
	no := (*client.Error)(nil)
	if errors.As(err, &no) && no.Code == -32001 {
		return nil
	}
	return errors.Join(fmt.Errorf("a command was answered with %+v", o), err)
}

func TestShimsServeABoundedNumberOfSessions(t *testing.T) {
	s := private(t, "--runtime", shim.Name, "--sessions-per-shim", "3")
	var mu sync.Mutex
	served := map[int]int{}
	var all []*sandbox
	var creates sync.WaitGroup
	for range 7 {
		creates.Go(func() {
			b := s.session(t, nil)
			mu.Lock()
			defer mu.Unlock()
			served[s.shimOf(t, b.info.ContainerID)]++
			all = append(all, b)
		})
	}
	creates.Wait()
	if len(served) != 3 {
		t.Errorf("7 sessions have %d shims", len(served))
	}
	for pid, n := range served {
		if n > 3 {
			t.Errorf("shim %d has %d sessions", pid, n)
		}
	}
	// As they go, so do their shims, but for one that is ready for others.
	for _, b := range all {
		if got := b.sh("echo ok").Stdout; got != "ok\n" {
			t.Errorf("a program printed %q", got)
		}
		b.close()
	}
	eventually(t, func() error {
		if pids := s.shims(t); len(pids) != 1 {
			return fmt.Errorf("without sessions there are the shims %v", pids)
		}
		return nil
	})
	if code, err := s.signal(syscall.SIGTERM); err != nil || code != 0 {
		t.Fatalf("exit code %d, %v", code, err)
	}
	if err := s.gone(); err != nil { // and that without waiting
		t.Error(err)
	}
}

func TestKilledShimEndsItsSessionsAlone(t *testing.T) {
	s := private(t, "--runtime", shim.Name, "--sessions-per-shim", "2")
	var all []*sandbox
	for range 4 {
		b := s.session(t, nil)
		b.do(object{"type": "execute_shell", "commandName": "sleep", "args": []string{"1000"}, "background": true})
		all = append(all, b)
	}
	victim := s.shimOf(t, all[0].info.ContainerID)
	var lost, kept []*sandbox
	for _, b := range all {
		if s.shimOf(t, b.info.ContainerID) == victim {
			lost = append(lost, b)
		} else {
			kept = append(kept, b)
		}
	}
	if len(lost) != 2 || len(kept) != 2 {
		t.Fatalf("the shim has %d of the sessions", len(lost))
	}
	if err := syscall.Kill(victim, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for _, b := range lost {
		eventually(t, b.closed)
	}
	eventually(t, func() error {
		left, err := s.remains()
		left = slices.DeleteFunc(left, func(l string) bool {
			return !strings.Contains(l, lost[0].info.ContainerID) && !strings.Contains(l, lost[1].info.ContainerID)
		})
		if err == nil && len(left) > 0 {
			err = fmt.Errorf("left behind:\n%s", strings.Join(left, "\n"))
		}
		return err
	})
	if dirs, err := filepath.Glob(s.state + "/shim/*"); err != nil || len(dirs) != len(s.shims(t)) {
		t.Errorf("shims have left %q, %v", dirs, err)
	}
	for _, b := range kept {
		if got := b.sh("echo kept").Stdout; got != "kept\n" {
			t.Errorf("a session of another shim printed %q", got)
		}
	}
	if got := s.session(t, nil).sh("echo new").Stdout; got != "new\n" {
		t.Errorf("a new session printed %q", got)
	}
	if code, err := s.signal(syscall.SIGTERM); err != nil || code != 0 {
		t.Fatalf("exit code %d, %v", code, err)
	}
	eventually(t, s.gone)
}

// Shims outlive the server with their sessions, which the next one removes; then
// they end, and so do those without sessions, at once.
func TestSharedShimsEndAfterACrash(t *testing.T) {
	s := withBusybox(t)
	args := []string{"--runtime", shim.Name, "--sessions-per-shim", "2"}
	if err := s.start(args...); err != nil {
		t.Fatal(err)
	}
	b := s.session(t, nil)
	used := s.shimOf(t, b.info.ContainerID)
	eventually(t, func() error { // one is started ahead
		s.session(t, nil).close()
		if len(s.shims(t)) < 1 {
			return errors.New("there is no shim")
		}
		return nil
	})
	if err := s.kill(); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error {
		if pids := s.shims(t); !slices.Equal(pids, []int{used}) {
			return fmt.Errorf("the shims %v are left; %d has a session", pids, used)
		}
		return nil
	})
	if err := s.start(args...); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error {
		if slices.Contains(s.shims(t), used) {
			return errors.New("the shim of the server that crashed runs on")
		}
		return nil
	})
	if got := s.session(t, nil).sh("echo again").Stdout; got != "again\n" {
		t.Errorf("a new session printed %q", got)
	}
	// One that was killed while nobody looked leaves a directory.
	if err := s.kill(); err != nil {
		t.Fatal(err)
	}
	for _, pid := range s.shims(t) {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			t.Fatal(err)
		}
	}
	if err := s.start(args...); err != nil {
		t.Fatal(err)
	}
	if code, err := s.signal(syscall.SIGTERM); err != nil || code != 0 {
		t.Fatalf("exit code %d, %v", code, err)
	}
	eventually(t, s.gone)
	if dirs, err := filepath.Glob(s.state + "/shim/*"); err != nil || len(dirs) > 0 {
		t.Errorf("shims have left %q, %v", dirs, err)
	}
}

// A session that does its worst to its shim does it to nobody else's session.
func TestBusySessionDoesNotHoldUpItsNeighbour(t *testing.T) {
	s := private(t, "--runtime", shim.Name)
	loud, quiet := s.session(t, nil), s.session(t, nil)
	if s.shimOf(t, loud.info.ContainerID) != s.shimOf(t, quiet.info.ContainerID) {
		t.Fatal("they do not share a shim; this proves nothing")
	}
	k := newTaskOf(t, s, loud.info.ContainerID)
	// Its agent answers nothing any more, and an exec waits for it.
	if err := syscall.Kill(int(k.Pid()), syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	stuck := make(chan struct{})
	other := &sandbox{t: t, c: s.dial(t), id: loud.id}
	go func() {
		defer close(stuck)
		_, _ = other.try(object{"type": "execute_shell", "commandName": "true"})
	}()
	for range 20 {
		if got := quiet.sh("echo ok").Stdout; got != "ok\n" {
			t.Errorf("the neighbour printed %q", got)
		}
	}
	another := s.session(t, nil)
	if got := another.sh("echo ok").Stdout; got != "ok\n" {
		t.Errorf("another session printed %q", got)
	}
	another.close()
	select {
	case <-stuck:
		t.Error("the exec did not wait; this proves nothing")
	default:
	}
	loud.close()
	<-stuck
}

// copied has the programs under test in a directory of the test's own, and
// returns that.
func copied(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for _, name := range []string{"codebeaker", "codebeaker-agent", "runc"} {
		program, err := os.ReadFile(binary(name))
		if err != nil {
			t.Fatal(err)
		}
		install(t, filepath.Join(dir, name), program)
	}
	t.Setenv("CODEBEAKER_TEST_BIN", dir)
	return dir
}

// install puts a program in the place of another, which goes on where it runs.
func install(t *testing.T, path string, program []byte) {
	t.Helper()
	if err := os.WriteFile(path+".new", program, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// A program that is installed in the place of the one that runs starts no shims
// for it: their agents would not understand each other.
func TestShimsAreOfTheVersionThatRuns(t *testing.T) {
	dir := copied(t)
	s := private(t, "--runtime", shim.Name, "--sessions-per-shim", "2")
	first := s.session(t, nil)
	program, err := os.ReadFile(binary("codebeaker"))
	if err != nil {
		t.Fatal(err)
	}
	install(t, filepath.Join(dir, "codebeaker"), program)
	seen := []int{s.shimOf(t, first.info.ContainerID)}
	for range 4 {
		b := s.session(t, nil)
		if got := b.sh("echo ok").Stdout; got != "ok\n" {
			t.Errorf("a program printed %q", got)
		}
		seen = append(seen, s.shimOf(t, b.info.ContainerID))
	}
	own, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", s.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, pid := range seen {
		if path, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid)); err != nil || path != own {
			t.Errorf("shim %d runs %q, %v; the server %q", pid, path, err, own)
		}
	}
}

// containerd has a process of the shim's binary clean up after a container,
// which takes longer than all else of a close. There is nothing left for it.
func TestCloseOfASharedShimsSessionStartsNoProcessOfItsBinary(t *testing.T) {
	dir := copied(t)
	s := private(t, "--runtime", shim.Name)
	b := s.session(t, nil)
	bundles := s.state + "/io.containerd.runtime.v2.task/*/" + b.info.ContainerID
	if found, err := filepath.Glob(bundles); err != nil || len(found) != 1 {
		t.Fatalf("the session has the bundles %q, %v", found, err)
	}
	started := filepath.Join(dir, "started")
	install(t, filepath.Join(dir, "codebeaker"), []byte("#!/bin/sh\necho \"$*\" >>"+started+"\n"))
	b.close()
	if code, err := s.signal(syscall.SIGTERM); err != nil || code != 0 { // once all is cleaned up
		t.Fatalf("exit code %d, %v", code, err)
	}
	if err := s.gone(); err != nil {
		t.Error(err)
	}
	if found, err := filepath.Glob(bundles); err != nil || len(found) > 0 {
		t.Errorf("left of the session: %q, %v", found, err)
	}
	if how, err := os.ReadFile(started); err == nil {
		t.Errorf("started with: %s", how)
	}
	if log := s.logged(); strings.Contains(log, "shim") {
		t.Errorf("the server logged:\n%s", log)
	}
}

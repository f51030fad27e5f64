package test

import (
	"fmt"
	goruntime "runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// stopAfterFork has a process stop once it has forked, before it says so to anybody.
// What it forked goes on. stopped gets a value when that has happened; ended, when
// the process has ended.
func stopAfterFork(pid int) (armed, stopped, ended <-chan error) {
	steps := [3]chan error{make(chan error, 1), make(chan error, 1), make(chan error, 1)}
	go func() {
		// The thread is the tracer. It must not end before the server that it may have
		// started, which would end with it (PR_SET_PDEATHSIG).
		goruntime.LockOSThread()
		defer goruntime.UnlockOSThread()
		for i, step := range []func() error{
			func() error { return trace(pid) },
			func() error { return awaitFork(pid) },
			func() error {
				for {
					var status unix.WaitStatus
					if _, err := unix.Wait4(pid, &status, unix.WALL, nil); err != nil || status.Signaled() || status.Exited() {
						return err
					}
				}
			},
		} {
			if err := step(); err != nil {
				err = fmt.Errorf("trace process %d: %w", pid, err)
				for _, left := range steps[i:] {
					left <- err
				}
				return
			}
			steps[i] <- nil
		}
	}()
	return steps[0], steps[1], steps[2]
}

func trace(pid int) error {
	if err := unix.PtraceSeize(pid); err != nil {
		return err
	}
	if err := unix.PtraceInterrupt(pid); err != nil {
		return err
	}
	if _, err := unix.Wait4(pid, nil, unix.WALL, nil); err != nil {
		return err
	}
	if err := unix.PtraceSetOptions(pid, unix.PTRACE_O_TRACECLONE|unix.PTRACE_O_TRACEFORK); err != nil {
		return err
	}
	return unix.PtraceCont(pid, 0)
}

func awaitFork(pid int) error {
	var status unix.WaitStatus
	if _, err := unix.Wait4(pid, &status, unix.WALL, nil); err != nil {
		return err
	}
	if status.StopSignal() != unix.SIGTRAP || status.TrapCause() <= 0 {
		return fmt.Errorf("it has status %#x", status)
	}
	child, err := unix.PtraceGetEventMsg(pid)
	if err != nil {
		return err
	}
	if _, err := unix.Wait4(int(child), nil, unix.WALL, nil); err != nil {
		return err
	}
	return unix.PtraceDetach(int(child))
}

// TestZygoteThatStopsAfterItsForkMakesNoSecondProgram has a zygote make a program's
// process and say nothing of it.
func TestZygoteThatStopsAfterItsForkMakesNoSecondProgram(t *testing.T) {
	s, b := withZygote(t, nil)
	for range 3 {
		zygotes := s.zygotes(t, b.info.ContainerID)
		if len(zygotes) != 1 {
			t.Fatalf("there are zygotes %v; want one", zygotes)
		}
		armed, stopped, ended := stopAfterFork(zygotes[0])
		if err := <-armed; err != nil {
			t.Fatal(err)
		}
		o := b.do(object{"type": "execute_code", "code": "import sys, time\ntime.sleep(0.3)\nprint('ran', flush=True)\nsys.exit(7)"})
		for _, step := range []<-chan error{stopped, ended} {
			if err := <-step; err != nil {
				t.Fatal(err)
			}
		}
		if o.Result.ExitCode != 7 || o.Result.Stdout != "ran\n" {
			t.Errorf("the program ended with %+v", o.Result)
		}
		if left := b.sh("pgrep -c python3 || true").Stdout; left != "0\n" && left != "1\n" {
			t.Errorf("there are %s interpreters", left)
		}
		b.awaitZygote(s)
	}
}

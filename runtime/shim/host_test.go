package shim

import (
	"errors"
	"os"
	osexec "os/exec"
	"testing"

	"golang.org/x/sys/unix"

	"codebeaker/runtime/frame"
)

func TestKernelTellsWhoseThePidfdIs(t *testing.T) {
	child := osexec.CommandContext(t.Context(), "cat")
	stdin, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.PidfdOpen(child.Process.Pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	pidfd := os.NewFile(uintptr(fd), "pidfd")
	defer pidfd.Close()
	p, err := processOf(pidfd)
	if err != nil || p.pid != child.Process.Pid {
		t.Fatalf("got %+v, %v; want process %d", p, err, child.Process.Pid)
	}
	if err := p.signal(0); err != nil {
		t.Errorf("a signal to a process that lives: %v", err)
	}
	stdin.Close()
	if err := child.Wait(); err != nil {
		t.Fatal(err)
	}
	if _, err := processOf(pidfd); err == nil {
		t.Error("a process that has ended is taken for one that is about to run")
	}
	if err := p.signal(0); !errors.Is(err, errFinished) {
		t.Errorf("a signal to a process that ended: %v", err)
	}
}

func TestOtherFilesArePassedForNothing(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	defer r.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	for _, f := range []*os.File{r, null} {
		if p, err := processOf(f); !errors.Is(err, frame.ErrProtocol) {
			t.Errorf("taken for a pidfd: %+v, %v", p, err)
		}
		if err := checkTerminal(f); !errors.Is(err, frame.ErrProtocol) {
			t.Errorf("taken for a terminal: %v", err)
		}
	}
}

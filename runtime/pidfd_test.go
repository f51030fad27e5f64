package runtime

import (
	"os/exec"
	"syscall"
	"testing"
)

func TestExitStatusTellsASignalFromAnExitCode(t *testing.T) {
	for script, want := range map[string]ExitStatus{
		"exit 0":        {},
		"exit 3":        {Code: 3},
		"exit 137":      {Code: 137},
		"kill -KILL $$": {Code: 137, Signal: syscall.SIGKILL},
		"kill -TERM $$": {Code: 143, Signal: syscall.SIGTERM},
	} {
		cmd := exec.CommandContext(t.Context(), "sh", "-c", "read go; "+script)
		stdin, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		pidfd := openPidfd(cmd.Process.Pid)
		if pidfd == nil {
			t.Skip("this kernel has no pidfds")
		}
		defer pidfd.Close()
		stdin.Close()
		_ = cmd.Wait()
		shim := want.Code // as the shim's exit event says it
		got := exitStatus(shim, pidfd)
		if got == (ExitStatus{Code: 137, Signal: syscall.SIGKILL}) && script == "exit 137" {
			t.Skip("this kernel does not tell the status of a process that was reaped (Linux 6.15 does)")
		}
		if got != want {
			t.Errorf("%s: %+v; want %+v", script, got, want)
		}
	}
}

func TestExitStatusOfAnOldKernelIsThatOfAShell(t *testing.T) {
	for code, want := range map[int]ExitStatus{
		0: {}, 128: {Code: 128}, 143: {Code: 143, Signal: syscall.SIGTERM}, 255: {Code: 255},
	} {
		if got := exitStatus(code, nil); got != want {
			t.Errorf("%d: %+v; want %+v", code, got, want)
		}
	}
}

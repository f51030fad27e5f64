package main

import (
	"fmt"

	"golang.org/x/sys/unix"

	"codebeaker/rpc/client"
)

// endText says for a person why a program ended that did not exit by itself.
func endText(end client.End) string {
	switch {
	case end.Reason == "exited":
		return ""
	case end.Error != "":
		return printable(end.Error)
	}
	switch end.Reason {
	case "timeout":
		return "The program was killed after its time limit."
	case "oom":
		return "The program was killed because the session's memory limit was reached."
	case "signaled":
		return fmt.Sprintf("The program was ended by %s.", unix.SignalName(unix.Signal(end.ExitCode-128)))
	case "cancelled":
		return "The program was cancelled."
	case "output_limit":
		return "The program was killed because it printed more than it may."
	case "session_closed":
		return "The program was killed because its session closed."
	case "lost":
		return "The end of the program was not seen."
	default:
		return fmt.Sprintf("The program ended: %s.", printable(end.Reason))
	}
}

// exitCode returns how to exit for a program that ended, nil for one that exited
// with 0.
func exitCode(end client.End) error {
	switch {
	case end.Reason == "exited" && end.ExitCode == 0:
		return nil
	case end.ExitCode > 0 && end.ExitCode < 256:
		return exitError(end.ExitCode)
	default:
		return exitError(1)
	}
}

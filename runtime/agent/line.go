package agent

import "strings"

// lineShell is a shell that may run a line.
type lineShell struct {
	path string
	argv []string
}

// lineShells returns the shells that may run a line, in the order in which they
// are tried: bash, which is what people write lines for, where the image has it
// in one of its usual places, and else sh. Neither is a login shell, and bash
// reads no file of its own even where it takes its input for that of sshd.
func lineShells(line string) []lineShell {
	bash := []string{"bash", "--norc", "-c", line}
	return []lineShell{
		{"/bin/bash", bash},
		{"/usr/bin/bash", bash},
		{"/usr/local/bin/bash", bash},
		{lastShell, []string{"sh", "-c", line}},
	}
}

// lastShell is the shell that is tried last.
const lastShell = "/bin/sh"

// isLine says whether a program that cannot be found may be a line of shell.
func isLine(args []string) bool { return len(args) == 1 && isShellLine(args[0]) }

// isShellLine says whether a text can be a line of shell rather than the name
// of a program that is missing.
func isShellLine(s string) bool {
	return strings.ContainsAny(s, " \t\n|&;<>()$`\\\"'*?[]#~=%{}!")
}

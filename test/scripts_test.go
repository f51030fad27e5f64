package test

import (
	"strings"
	"testing"
)

// A file without a first line that names its interpreter runs as it does from every
// shell.
func TestScriptsRunAsFromAShell(t *testing.T) {
	b := busybox(t).session(t, nil)
	write := func(name, content string) {
		b.do(object{"type": "write_file", "path": name, "content": content, "permissions": "0755"})
	}
	write("plain", "echo \"$0 $1 $2\"; exit 3\n")
	write("windows", "#!/bin/sh\r\necho x\r\n")
	write("lost", "#!/no/such/interpreter\n")
	write("binary", "\x7fELF\x00\x00\n")
	for _, tc := range []struct {
		name           string
		code           int
		stdout, stderr string
	}{
		{"/workspace/plain", 3, "/workspace/plain a b c\n", ""},
		{"/workspace/windows", 127, "", "line ends of Windows"},
		{"/workspace/lost", 127, "", "interpreter"},
		{"/workspace/binary", 126, "", "exec format error"},
		{"/workspace/missing", 127, "", "not found"},
	} {
		r := b.do(object{"type": "execute_shell", "commandName": tc.name, "args": []string{"a", "b c"}}).Result
		if r.ExitCode != tc.code || r.Stdout != tc.stdout || !strings.Contains(r.Stderr, tc.stderr) || tc.stderr == "" && r.Stderr != "" {
			t.Errorf("%s: %+v", tc.name, r)
		}
	}
	r := b.do(object{"type": "execute_shell", "commandName": "plain", "args": []string{"a", "b"}, "env": object{"PATH": "/workspace:/bin"}}).Result
	if r.ExitCode != 3 || r.Stdout != "/workspace/plain a b\n" {
		t.Errorf("found in PATH: %+v", r)
	}
}

// The largest arguments that are taken run, and those that the kernel would not take
// are refused by name.
func TestArgumentsAreBoundedAsByTheKernel(t *testing.T) {
	b := busybox(t).session(t, nil)
	text := strings.Repeat("x", 128<<10-1)
	if r := b.do(object{"type": "execute_shell", "commandName": "echo", "args": []string{text}}).Result; r.Stdout != text+"\n" {
		t.Errorf("the longest argument: %d bytes, exit code %d, %s", len(r.Stdout), r.ExitCode, r.Stderr)
	}
	_, err := b.try(object{"type": "execute_shell", "commandName": "echo", "args": []string{"a", text + "x"}})
	refused(t, err, -32602, "command.args[1]")
	_, err = b.try(object{"type": "execute_shell", "commandName": "echo", "env": object{"LONG": text}})
	refused(t, err, -32602, "command.env.LONG")
	var many []string
	for range 15 { // and the environment, below 2 MiB together
		many = append(many, text)
	}
	if r := b.do(object{"type": "execute_shell", "commandName": "true", "args": many}).Result; r.ExitCode != 0 {
		t.Errorf("many long arguments: %+v", r)
	}
	_, err = b.try(object{"type": "execute_shell", "commandName": "true", "args": append(many, text)})
	refused(t, err, -32602, "command.args")
}

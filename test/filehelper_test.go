package test

import (
	"errors"
	"testing"
)

// findHelper sets pid to that of the session's file helper.
const findHelper = `pid=
for p in /proc/[0-9]*; do grep -q '^/.codebeaker/agent.files' $p/cmdline 2>/dev/null && pid=${p#/proc/}; done
`

// helperEnds waits until the session has no file helper.
func (b *sandbox) helperEnds() {
	b.t.Helper()
	eventually(b.t, func() error {
		if r := b.sh(findHelper + `[ -z "$pid" ]`); r.ExitCode != 0 {
			return errors.New("the helper lives")
		}
		return nil
	})
}

func TestFileHelperCannotBeReached(t *testing.T) {
	b := busybox(t).session(t, nil)
	b.do(object{"type": "write_file", "path": "x", "content": "1"})
	r := b.sh(findHelper + `[ -n "$pid" ] || exit 9
ls /proc/$pid/fd >/dev/null 2>&1 && exit 8
cat /proc/$pid/mem >/dev/null 2>&1 && exit 7
exit 0`)
	if r.ExitCode != 0 {
		t.Errorf("looking into the helper: %+v", r)
	}
}

// fileCommands are one of each, that succeed in this order.
func fileCommands() []object {
	return []object{
		{"type": "write_file", "path": "d/x", "content": "1"},
		{"type": "write_file", "path": "d/x", "content": "2", "mode": "Append"},
		{"type": "create_directory", "path": "e", "recursive": false},
		{"type": "copy_file", "source": "d/x", "destination": "e/y", "overwrite": false},
		{"type": "move_file", "source": "e/y", "destination": "e/z", "overwrite": false},
		{"type": "list_directory", "path": "e"},
		{"type": "read_file", "path": "e/z"},
		{"type": "delete_file", "path": "e", "recursive": true},
		{"type": "delete_file", "path": "d", "recursive": true},
	}
}

// What ends the helper costs no later command.
func TestFileCommandsFollowTheirHelpersEnd(t *testing.T) {
	b := busybox(t).session(t, nil)
	for _, command := range fileCommands() {
		b.do(object{"type": "list_directory"}) // there is a helper
		if r := b.sh("kill -9 -1"); r.ExitCode != 0 {
			t.Fatalf("ending all processes: %+v", r)
		}
		b.helperEnds()
		if o := b.do(command); !o.Success {
			t.Errorf("%v: %+v", command, o)
		}
	}
	// Those that may be carried out twice do not wait for the end.
	for range 10 {
		for _, command := range []object{
			{"type": "write_file", "path": "x", "content": "1"},
			{"type": "read_file", "path": "x"},
			{"type": "list_directory"},
			{"type": "create_directory", "path": "dir"},
		} {
			b.sh("kill -9 -1")
			b.do(command)
		}
	}
}

func TestCodeRunsAfterTheFileHelpersEnd(t *testing.T) {
	b := python(t).session(t, nil)
	for range 5 {
		const code = "import os\nprint('all ended', flush=True)\nos.kill(-1, 9)"
		b.prints(b.code(code, nil), "all ended\n")
	}
	eventually(t, func() error {
		if r := b.sh("ls -A"); r.Stdout != "" {
			return errors.New("left is " + r.Stdout)
		}
		return nil
	})
}

// A helper that a program has stopped answers all the same: what it was asked
// would else fail after a minute.
func TestStoppedFileHelperGoesOn(t *testing.T) {
	b := busybox(t).session(t, nil)
	for _, command := range fileCommands()[:5] {
		b.do(object{"type": "list_directory"})
		if r := b.sh(findHelper + `kill -STOP $pid`); r.ExitCode != 0 {
			t.Fatalf("stopping the helper: %+v", r)
		}
		if o := b.do(command); !o.Success {
			t.Errorf("%v: %+v", command, o)
		}
	}
}

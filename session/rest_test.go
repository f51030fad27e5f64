package session

import (
	"testing"
	"time"
)

// closed counts how often it was closed.
type closed int

func (c *closed) Write(b []byte) (int, error) { return len(b), nil }

func (*closed) SetWriteDeadline(time.Time) error { return nil }

func (c *closed) Close() error {
	*c++
	return nil
}

// Runc's shim closes a terminal when its input ends, whatever of its output was
// not read yet.
func TestTerminalsInputIsNotEndedBeforeItsOutput(t *testing.T) {
	for tty, want := range map[bool]closed{true: 0, false: 1} {
		var stdin closed
		e := &Execution{tty: tty, stdin: &stdin}
		e.rest()
		if stdin != want || e.stdin != nil {
			t.Errorf("with a terminal %v, the input of a program that has ended was ended %d times", tty, stdin)
		}
	}
}

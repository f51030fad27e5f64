package shim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"codebeaker/runtime/agent/wire"
)

// gate is where a process of an agent's waits before it becomes its program
// (package wire). The socket is the shim's own; what comes over it may be a lie.
type gate struct{ file *os.File }

// newGate returns a gate and the end of it that is for the process.
func newGate() (_ *gate, process *os.File, retErr error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("make a gate: %w", err)
	}
	process = os.NewFile(uintptr(fds[1]), "gate")
	if err := unix.SetNonblock(fds[0], true); err != nil { // of this end alone
		process.Close()
		return nil, nil, errors.Join(err, unix.Close(fds[0]))
	}
	return &gate{file: os.NewFile(uintptr(fds[0]), "gate")}, process, nil
}

// hear returns the next report, or io.EOF at the end of the gate.
func (g *gate) hear(ctx context.Context) (wire.Report, error) {
	defer context.AfterFunc(ctx, func() { _ = g.file.SetReadDeadline(time.Unix(1, 0)) })()
	var packet [wire.ReportLen + 1]byte // and what is too much
	n, err := g.file.Read(packet[:])
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return wire.Report{}, ctx.Err()
	case errors.Is(err, io.EOF) || errors.Is(err, unix.ECONNRESET):
		return wire.Report{}, io.EOF
	case err != nil:
		return wire.Report{}, fmt.Errorf("read from a gate: %w", err)
	}
	return wire.ParseReport(packet[:n])
}

// open lets the process go on.
func (g *gate) open() error {
	_, err := g.file.Write([]byte{1})
	if errors.Is(err, unix.EPIPE) || errors.Is(err, unix.ECONNRESET) {
		return errFinished
	}
	return err
}

// close ends a process that waits there.
func (g *gate) close() { g.file.Close() }

package wire

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"

	"codebeaker/runtime/frame"
)

// ErrZygoteSilent is the error of StageFork where the zygote was asked for the process
// and did not answer. The zygote has ended. It may have made the process before,
// which is in the program's cgroup and waits at the gate.
const ErrZygoteSilent = unix.EOWNERDEAD

// ReportLen is how many bytes a report has.
const ReportLen = 8

// Report is what a process says over its gate: the stage that failed and why, or
// nothing of both, that it waits to go.
type Report struct {
	Stage Stage
	Errno unix.Errno
}

// ParseReport reads a packet of a gate. An error wraps frame.ErrProtocol.
func ParseReport(packet []byte) (Report, error) {
	if len(packet) != ReportLen {
		return Report{}, fmt.Errorf("report of %d bytes: %w", len(packet), frame.ErrProtocol)
	}
	stage, errno := binary.NativeEndian.Uint32(packet), binary.NativeEndian.Uint32(packet[4:])
	if (stage != 0 || errno != 0) && !isFailure(stage, errno) {
		return Report{}, fmt.Errorf("report of stage %d and error %d: %w", stage, errno, frame.ErrProtocol)
	}
	return Report{Stage(stage), unix.Errno(errno)}, nil
}

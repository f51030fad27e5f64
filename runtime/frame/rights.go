package frame

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Rights returns the descriptors that came with a packet, in its ancillary data. They
// are the caller's. If there is anything else it closes them, and the error wraps
// ErrProtocol.
func Rights(oob []byte) ([]int, error) {
	if len(oob) == 0 {
		return nil, nil
	}
	messages, err := unix.ParseSocketControlMessage(oob)
	var all []int
	for i := range messages {
		var fds []int
		if fds, err = unix.ParseUnixRights(&messages[i]); err != nil {
			break
		}
		all = append(all, fds...)
	}
	if err != nil {
		for _, fd := range all {
			_ = unix.Close(fd)
		}
		return nil, fmt.Errorf("descriptors of a packet: %w: %w", err, ErrProtocol)
	}
	return all, nil
}

package shim

import (
	"errors"
	"fmt"
	"io"
	"net"

	"golang.org/x/sys/unix"

	"codebeaker/runtime/frame"
)

// packets reads what comes over a SOCK_SEQPACKET socket.
type packets struct {
	conn     *net.UnixConn
	buf, oob []byte
}

// newPackets returns packets of at most size bytes and fds descriptors each.
func newPackets(conn *net.UnixConn, size, fds int) *packets {
	return &packets{conn, make([]byte, size+1), make([]byte, unix.CmsgSpace(4*fds))}
}

// next returns a packet, which is there until the one after it, and the
// descriptors that came with it, which are the caller's. The end of the socket,
// from either side, is io.EOF. A packet too large wraps frame.ErrProtocol.
func (p *packets) next() (packet []byte, fds []int, err error) {
	n, oobn, flags, _, err := p.conn.ReadMsgUnix(p.buf, p.oob)
	if err == nil && n == 0 || errors.Is(err, unix.ECONNRESET) || errors.Is(err, net.ErrClosed) {
		err = io.EOF
	}
	if err != nil {
		return nil, nil, err
	}
	if fds, err = frame.Rights(p.oob[:oobn]); err != nil {
		return nil, nil, err
	}
	if flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0 {
		for _, fd := range fds {
			_ = unix.Close(fd)
		}
		return nil, nil, fmt.Errorf("a packet too large: %w", frame.ErrProtocol)
	}
	return p.buf[:n], fds, nil
}

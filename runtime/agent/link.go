package agent

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"codebeaker/runtime/agent/wire"
	"codebeaker/runtime/frame"
)

// link is the agent's end of the socket to the shim.
type link struct {
	fd  int
	buf [wire.MaxMessage + 1]byte
	oob []byte
}

func newLink(fd int) *link {
	return &link{fd: fd, oob: make([]byte, unix.CmsgSpace(4*wire.MaxFDs))}
}

// send sends a message, with copies of descriptors. It may be called by many at
// once.
func (l *link) send(m wire.Message, fds ...int) error {
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	for {
		err := unix.Sendmsg(l.fd, m.Append(nil), rights, nil, unix.MSG_NOSIGNAL)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// receive returns the next message, its body, which lasts until the next call,
// and its descriptors, which are the caller's. io.EOF is the shim's end.
func (l *link) receive() (wire.Message, []byte, []int, error) {
	var n, oobn, flags int
	var err error
	for {
		n, oobn, flags, _, err = unix.Recvmsg(l.fd, l.buf[:], l.oob, unix.MSG_CMSG_CLOEXEC)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err == nil && n == 0 || errors.Is(err, unix.ECONNRESET) {
		err = io.EOF
	}
	if err != nil {
		return wire.Message{}, nil, nil, err
	}
	fds, err := frame.Rights(l.oob[:oobn])
	if err == nil && flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0 {
		err = fmt.Errorf("packet too large: %w", frame.ErrProtocol)
	}
	var m wire.Message
	var body []byte
	if err == nil {
		m, body, err = wire.Parse(l.buf[:n])
	}
	if err != nil {
		closeAll(fds)
		return wire.Message{}, nil, nil, err
	}
	return m, body, fds, nil
}

func closeAll(fds []int) {
	for _, fd := range fds {
		closeFD(fd)
	}
}

// closeFD closes a descriptor, of which nobody learns anything by that.
func closeFD(fd int) { _ = unix.Close(fd) }

// readBody reads the body of a Start that is in a file.
func readBody(fd int, size uint32) ([]byte, error) {
	f := os.NewFile(uintptr(fd), "body")
	defer f.Close()
	body := make([]byte, size)
	_, err := f.ReadAt(body, 0)
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF // the other is the end of the socket
	}
	if err != nil {
		return nil, fmt.Errorf("read program of %d bytes: %w: %w", size, frame.ErrProtocol, cause(err))
	}
	return body, nil
}

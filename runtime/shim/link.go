package shim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"codebeaker/runtime/agent/wire"
	"codebeaker/runtime/frame"
)

// sendTimeout bounds how long an agent may leave a message unread.
const sendTimeout = 5 * time.Second

// link is the shim's end of the socket to an agent. Whatever comes out of it
// may be a lie.
type link struct {
	conn *net.UnixConn
	// ended is closed when nothing comes from the agent any more.
	ended chan struct{}
	// greeted is closed at the agent's Hello.
	greeted chan struct{}

	mu       sync.Mutex
	closed   bool
	next     uint32
	programs map[uint32]*program
}

// program is one that the agent was asked for.
type program struct {
	id    uint32
	link  *link
	state wire.Kind // the last message about it
	// replies has room for all that can come, and is closed after the last.
	replies chan reply
}

// reply is what an agent says about a program. Who gets it owns the files.
type reply struct {
	message wire.Message
	files   []*os.File
}

func (r reply) close() {
	for _, f := range r.files {
		f.Close()
	}
}

// newLink returns a link and the end of the socket that is for the agent.
func newLink() (_ *link, agent *os.File, retErr error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("make the agent's socket: %w", err)
	}
	agent = os.NewFile(uintptr(fds[1]), "agent")
	own := os.NewFile(uintptr(fds[0]), "shim")
	defer own.Close()
	conn, err := net.FileConn(own)
	if err != nil {
		agent.Close()
		return nil, nil, fmt.Errorf("make the agent's socket: %w", err)
	}
	return &link{
		conn:     conn.(*net.UnixConn), //nolint:errcheck // it is a Unix socket
		ended:    make(chan struct{}),
		greeted:  make(chan struct{}),
		programs: map[uint32]*program{},
	}, agent, nil
}

// serve takes what comes from the agent until the agent ends, which is no
// error, or breaks the protocol. It never waits for anything but the agent.
func (l *link) serve() error {
	defer l.end()
	packets := newPackets(l.conn, wire.MaxMessage, wire.MaxFDs)
	for {
		packet, fds, err := packets.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		r := reply{files: files(fds)}
		if err == nil {
			r.message, _, err = wire.Parse(packet)
		}
		if err == nil {
			err = l.take(r)
		}
		if err != nil {
			r.close()
			return fmt.Errorf("read from the agent: %w", err)
		}
	}
}

// files returns the descriptors that came with a packet.
func files(fds []int) []*os.File {
	var all []*os.File
	for _, fd := range fds {
		// Whatever it is, nobody waits for it.
		_ = unix.SetNonblock(fd, true)
		all = append(all, os.NewFile(uintptr(fd), "agent's"))
	}
	return all
}

// take gives a reply to whom it is for. Where it is an error, the reply is still
// the caller's.
func (l *link) take(r reply) error {
	m := r.message
	l.mu.Lock()
	defer l.mu.Unlock()
	wrong := fmt.Errorf("message %d about program %d: %w", m.Kind, m.ID, frame.ErrProtocol)
	if m.Kind == wire.Hello {
		select {
		case <-l.greeted:
			return wrong
		default:
		}
		if m.Argument != wire.Version || len(r.files) > 0 {
			return fmt.Errorf("it speaks version %d, not %d: %w", m.Argument, wire.Version, frame.ErrProtocol)
		}
		close(l.greeted)
		return nil
	}
	p := l.programs[m.ID]
	if p == nil || !follows(p.state, m.Kind) || len(r.files) > 0 && m.Kind != wire.Ready {
		return wrong
	}
	p.state = m.Kind
	p.replies <- r
	if m.Kind == wire.Failed || m.Kind == wire.Exited {
		close(p.replies)
		delete(l.programs, m.ID)
	}
	return nil
}

// follows says whether an agent may say next about a program of which last was
// said before.
func follows(last, next wire.Kind) bool {
	switch next {
	case wire.Ready, wire.Failed:
		return last == wire.Start
	case wire.Exited:
		return last == wire.Ready
	default:
		return false
	}
}

func (l *link) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	for _, p := range l.programs {
		close(p.replies)
	}
	l.programs = nil
	_ = l.conn.Close() // it may be closed already
	close(l.ended)
}

// errAgent is an agent that is gone.
var errAgent = fmt.Errorf("the container's agent has ended: %w", errdefs.ErrUnavailable)

// start asks the agent for a program. The files stay the caller's.
func (l *link) start(spec *wire.Program, files []*os.File) (*program, error) {
	body, err := spec.Append(nil)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", err, errdefs.ErrInvalidArgument)
	}
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil, errAgent
	}
	l.next++
	p := &program{id: l.next, link: l, state: wire.Start, replies: make(chan reply, 2)}
	l.programs[p.id] = p
	l.mu.Unlock()
	m := wire.Message{Kind: wire.Start, ID: p.id, Argument: uint32(len(body))}
	packet := append(m.Append(nil), body...)
	if len(packet) > wire.MaxMessage {
		file, err := frame.Seal("program", body)
		if err != nil {
			l.forget(p)
			return nil, err
		}
		defer file.Close()
		m.Detail = wire.InFile
		packet, files = m.Append(nil), append(slices.Clip(files), file)
	}
	if err := l.send(packet, files...); err != nil {
		l.forget(p)
		return nil, err
	}
	return p, nil
}

func (l *link) forget(p *program) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.programs, p.id)
}

func (l *link) send(packet []byte, files ...*os.File) error {
	var rights []byte
	if len(files) > 0 {
		fds := make([]int, 0, len(files))
		for _, f := range files {
			fds = append(fds, int(f.Fd()))
		}
		rights = unix.UnixRights(fds...)
	}
	if err := l.conn.SetWriteDeadline(time.Now().Add(sendTimeout)); err != nil {
		return errAgent
	}
	_, _, err := l.conn.WriteMsgUnix(packet, rights, nil)
	if errors.Is(err, unix.EPIPE) || errors.Is(err, net.ErrClosed) || errors.Is(err, unix.ECONNRESET) {
		return errAgent
	}
	if err != nil {
		return fmt.Errorf("send to the agent: %w", err)
	}
	return nil
}

// next returns the agent's next reply, or errAgent at the agent's end.
func (p *program) next(ctx context.Context) (reply, error) {
	select {
	case r, ok := <-p.replies:
		if !ok {
			return reply{}, errAgent
		}
		return r, nil
	case <-ctx.Done():
		return reply{}, ctx.Err()
	}
}

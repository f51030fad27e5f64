package direct

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/containerd/containerd/api/types"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"codebeaker/runtime/frame"
)

// sendTimeout bounds how long a shim may leave a message unread.
const sendTimeout = 10 * time.Second

// errGone is a shim that is gone.
var errGone = fmt.Errorf("the session's shim has ended: %w", errdefs.ErrUnavailable)

// Client is a server's connection to a shim. It is safe for concurrent use.
type Client struct {
	conn *net.UnixConn
	// publish gets the shim's events.
	publish func(*types.Envelope)

	mu       sync.Mutex
	next     uint32
	closed   bool
	programs map[uint32]*Program
}

// Program is one that was asked for.
type Program struct {
	client *Client
	id     uint32
	pid    uint32
	forked bool
	// started has one value: whether it runs. exit has one value, or is closed
	// where its end cannot be known any more.
	started chan error
	exit    chan Exit
}

// Exit is how a program ended.
type Exit struct {
	// Status is as the Request asked for it.
	Status uint32
	// MaxRSS is the most memory that the program, or a process that it waited for,
	// had resident at one time, in KiB; 0 where that is not known.
	MaxRSS uint32
}

// Dial connects to the shim that listens on a socket. The shim's events are given
// to publish, one after another; what is started and has ended waits for it.
func Dial(path string, publish func(*types.Envelope)) (*Client, error) {
	conn, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: path, Net: "unixpacket"})
	if err != nil {
		return nil, fmt.Errorf("connect to the shim: %w", err)
	}
	c := &Client{conn: conn, publish: publish, programs: map[uint32]*Program{}}
	go c.serve()
	return c, nil
}

// Close ends the connection. Programs that run go on, and their end is not told.
func (c *Client) Close() { _ = c.conn.Close() } // or the shim did

// Start has the shim start a program, and returns when it is about to run. Of the
// streams, the program's ends are given away, and the others stay the caller's.
// The caller owes Forget of what it gets.
func (c *Client) Start(ctx context.Context, r *Request, streams *Streams) (*Program, error) {
	p, err := c.send(r, streams)
	if err != nil {
		return nil, err
	}
	select {
	case err := <-p.started:
		if err != nil {
			return nil, err
		}
		return p, nil
	case <-ctx.Done():
		return nil, errors.Join(fmt.Errorf("wait for the shim: %w", ctx.Err()), p.Forget())
	}
}

func (c *Client) send(r *Request, streams *Streams) (*Program, error) {
	defer streams.given()
	body, err := r.Append(nil)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", err, errdefs.ErrInvalidArgument)
	}
	fds, err := streams.descriptors()
	if err != nil {
		return nil, err
	}
	m := Message{Kind: Start, Argument: uint32(len(body)), Body: body}
	if !m.Fits() {
		file, err := frame.Seal("request", body)
		if err != nil {
			return nil, err
		}
		defer file.Close()
		m.Detail, m.Body = InFile, nil
		fds = append(fds, int(file.Fd()))
	}
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return nil, errGone
	}
	c.next++
	m.ID = c.next
	p := &Program{client: c, id: m.ID, started: make(chan error, 1), exit: make(chan Exit, 1)}
	c.programs[p.id] = p
	c.mu.Unlock()
	if err := c.write(m, fds); err != nil {
		c.mu.Lock()
		delete(c.programs, p.id)
		c.mu.Unlock()
		return nil, err
	}
	return p, nil
}

func (c *Client) write(m Message, fds []int) error {
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	if err := c.conn.SetWriteDeadline(time.Now().Add(sendTimeout)); err != nil {
		return errGone
	}
	_, _, err := c.conn.WriteMsgUnix(m.Append(nil), rights, nil)
	if errors.Is(err, unix.EPIPE) || errors.Is(err, net.ErrClosed) || errors.Is(err, unix.ECONNRESET) {
		return errGone
	}
	if err != nil {
		return fmt.Errorf("send to the shim: %w", err)
	}
	return nil
}

// serve takes what the shim says, until its end.
func (c *Client) serve() {
	buf := make([]byte, MaxMessage+1)
	for {
		n, err := c.conn.Read(buf)
		if err == nil && n == 0 {
			err = io.EOF
		}
		var m Message
		if err == nil {
			m, err = Parse(buf[:n])
		}
		if err == nil && m.Kind == Event {
			err = c.event(m)
		} else if err == nil {
			err = c.take(m)
		}
		if err != nil {
			break
		}
	}
	_ = c.conn.Close() // where the protocol was broken
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	for _, p := range c.programs {
		select {
		case p.started <- errGone:
		default: // it was started
		}
		close(p.exit)
	}
	c.programs = nil
}

func (c *Client) event(m Message) error {
	e := &types.Envelope{}
	if err := proto.Unmarshal(m.Body, e); err != nil {
		return fmt.Errorf("read event: %w: %w", err, frame.ErrProtocol)
	}
	c.publish(e)
	return nil
}

// take gives a message to whom it is for.
func (c *Client) take(m Message) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.programs[m.ID]
	if p == nil && m.ID != 0 && m.ID <= c.next {
		return nil // it was forgotten meanwhile
	}
	if p == nil {
		return fmt.Errorf("message about program %d: %w", m.ID, frame.ErrProtocol)
	}
	wrong := fmt.Errorf("message %d about program %d: %w", m.Kind, m.ID, frame.ErrProtocol)
	switch m.Kind {
	case Started:
		if p.pid != 0 {
			return wrong
		}
		p.pid, p.forked = m.Argument, m.Detail == Forked
		p.started <- nil
	case Failed:
		if p.pid != 0 {
			return wrong
		}
		delete(c.programs, m.ID)
		p.started <- errgrpc.ToNative(status.Error(codes.Code(m.Argument), string(m.Body)))
	case Exited:
		if p.pid == 0 {
			return wrong
		}
		delete(c.programs, m.ID)
		p.exit <- Exit{m.Argument, m.Detail}
	case Start, Forget, Event:
		return wrong
	}
	return nil
}

// Forked says whether the container's zygote forked the program.
func (p *Program) Forked() bool { return p.forked }

// Exit tells how the program ended. It is closed where that cannot be known any
// more, because the shim is gone.
func (p *Program) Exit() <-chan Exit { return p.exit }

// Forget has the shim forget the program, which ends where it still runs. It does
// not wait for that.
func (p *Program) Forget() error {
	p.client.mu.Lock()
	delete(p.client.programs, p.id)
	p.client.mu.Unlock()
	if err := p.client.write(Message{Kind: Forget, ID: p.id}, nil); err != nil && !errdefs.IsUnavailable(err) {
		return err
	}
	return nil // it went with its shim
}

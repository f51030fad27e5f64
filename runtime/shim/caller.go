package shim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/containerd/log"
	"google.golang.org/grpc/status"

	"codebeaker/runtime/frame"
	"codebeaker/runtime/shim/direct"
)

// tellServerTimeout bounds how long a server may leave a message unread.
const tellServerTimeout = 10 * time.Second

// caller is a server that has programs started by package direct.
type caller struct {
	service *service
	conn    *net.UnixConn

	// ended is closed when it has ended.
	ended chan struct{}

	mu sync.Mutex
	// calls are its programs, by its ids, until it forgets them.
	calls map[uint32]*call
}

// call is a program that a server asked for.
type call struct {
	*exec
	forgotten chan struct{} // closed by the server's Forget
}

// answerCalls serves servers that connect, until ctx ends.
func (s *service) answerCalls(ctx context.Context, l *net.UnixListener) {
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer stop()
	for {
		conn, err := l.AcceptUnix()
		if err != nil {
			if ctx.Err() == nil {
				log.G(ctx).WithError(err).Error("listen for servers")
			}
			return
		}
		c := &caller{service: s, conn: conn, ended: make(chan struct{}), calls: map[uint32]*call{}}
		go func() {
			defer close(c.ended)
			s.events.server.Store(c)
			defer s.events.server.CompareAndSwap(c, nil)
			if err := errors.Join(c.serve(ctx), conn.Close()); err != nil {
				log.G(ctx).WithError(err).Error("serve a server")
			}
		}()
	}
}

// serve does what the server asks for until that ends, which is no error. What
// it had started goes on.
func (c *caller) serve(ctx context.Context) error {
	packets := newPackets(c.conn, direct.MaxMessage, direct.MaxFDs)
	for {
		packet, fds, err := packets.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		files := make([]*os.File, 0, len(fds))
		for _, fd := range fds {
			files = append(files, os.NewFile(uintptr(fd), "stream"))
		}
		var m direct.Message
		if err == nil {
			m, err = direct.Parse(packet)
		}
		if err == nil {
			err = c.take(ctx, m, files)
		}
		if err != nil {
			reply{files: files}.close()
			return err
		}
	}
}

// take takes the files, but where it returns an error.
func (c *caller) take(ctx context.Context, m direct.Message, files []*os.File) error {
	switch {
	case m.Kind == direct.Start:
		body := m.Body
		if m.Detail == direct.InFile {
			if len(files) == 0 {
				return fmt.Errorf("request without its file: %w", frame.ErrProtocol)
			}
			last := len(files) - 1
			body = make([]byte, m.Argument)
			if _, err := files[last].ReadAt(body, 0); err != nil {
				return fmt.Errorf("read request: %w", err)
			}
			files[last].Close()
			files = files[:last]
		}
		r, err := direct.ParseRequest(body)
		if err != nil {
			return err
		}
		s, err := streamsOf(files, r.Program.Terminal)
		if err != nil {
			return err
		}
		p, err := c.add(m.ID, r, s)
		if err != nil {
			s.close()
			_ = c.fail(m.ID, err) // to a server that may have ended
			return nil
		}
		go c.run(ctx, m.ID, p)
	case m.Kind == direct.Forget && len(files) == 0:
		c.mu.Lock()
		p := c.calls[m.ID]
		delete(c.calls, m.ID)
		c.mu.Unlock()
		if p != nil { // else it failed, which the server did not know yet
			_ = p.kill(killedStatus) // where it is not about to begin, or over
			close(p.forgotten)
		}
	default:
		return fmt.Errorf("message %d from a server: %w", m.Kind, frame.ErrProtocol)
	}
	return nil
}

// add adds an exec, which owns the streams then.
func (c *caller) add(id uint32, r *direct.Request, s *streams) (*call, error) {
	container, err := c.service.find(r.Container)
	if err != nil {
		return nil, err
	}
	e, err := container.add(r, paths{terminal: r.Program.Terminal}, s)
	if err != nil {
		return nil, err
	}
	p := &call{exec: e, forgotten: make(chan struct{})}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls[id] = p
	return p, nil
}

// run takes a program from its start until it is forgotten. That nobody may be
// left to hear what it says is no error.
func (c *caller) run(ctx context.Context, id uint32, p *call) {
	pid, err := p.start(ctx)
	if err != nil {
		c.mu.Lock()
		delete(c.calls, id)
		c.mu.Unlock()
		_ = c.fail(id, errors.Join(err, p.container.remove(p.exec)))
		return
	}
	started := direct.Message{Kind: direct.Started, ID: id, Argument: uint32(pid)}
	if p.forked {
		started.Detail = direct.Forked
	}
	_ = c.say(started)
	select {
	case <-p.exited:
		_ = c.say(direct.Message{Kind: direct.Exited, ID: id, Argument: p.exit.status, Detail: p.exit.maxRSS})
	case <-p.forgotten:
	case <-c.ended:
		return
	}
	select {
	case <-p.forgotten:
	case <-c.ended:
		return
	}
	_ = p.kill(killedStatus) // where it was about to begin
	<-p.exited
	if err := p.container.remove(p.exec); err != nil {
		log.G(ctx).WithError(err).WithField("container", p.container.id).Error("forget a process")
	}
}

func (c *caller) fail(id uint32, err error) error {
	s := status.Convert(errgrpc.ToGRPC(err))
	return c.say(direct.Message{Kind: direct.Failed, ID: id, Argument: uint32(s.Code()), Body: []byte(s.Message())})
}

func (c *caller) say(m direct.Message) error {
	if err := c.conn.SetWriteDeadline(time.Now().Add(tellServerTimeout)); err != nil {
		return err
	}
	_, err := c.conn.Write(m.Append(nil))
	return err
}

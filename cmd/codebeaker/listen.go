package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// maxConnections bounds the WebSocket connections of a host with descriptors
	// enough, and plainConnections those of plain HTTP beside them.
	maxConnections   = 1024
	plainConnections = 256
	// idleTimeout is how long a connection of plain HTTP may be without a request.
	idleTimeout = 30 * time.Second
	// headerTimeout is how long a request's header may take, also the first one.
	headerTimeout = 10 * time.Second
)

// connections says how many WebSocket connections and how many of any kind a server
// takes. Three quarters of the descriptors that it may have are left to sessions: a
// client that only connects must not keep others from running programs.
func connections() (webSockets, all int, err error) {
	var files unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &files); err != nil {
		return 0, 0, fmt.Errorf("read the limit of open files: %w", err)
	}
	webSockets, all = divide(files.Cur)
	return webSockets, all, nil
}

// divide divides a number of descriptors.
func divide(files uint64) (webSockets, all int) {
	const plainShare = maxConnections / plainConnections
	all = int(min(files/4, maxConnections+plainConnections))
	return max(1, all-all/(plainShare+1)), max(2, all)
}

// listen listens for at most so many connections at one time. Those beyond wait
// until others have closed.
func listen(ctx context.Context, address string, most int) (net.Listener, error) {
	var config net.ListenConfig
	l, err := config.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w (choose another address with --listen)", address, err)
	}
	return &limitedListener{Listener: l, places: make(chan struct{}, most), closed: make(chan struct{})}, nil
}

// limitedListener accepts a connection once there is a place for it. Unlike those
// of netutil.LimitListener, its connections are still TCP's: one that is to end at
// once needs SO_LINGER.
type limitedListener struct {
	net.Listener

	places chan struct{}
	close  sync.Once
	closed chan struct{}
}

func (l *limitedListener) Accept() (net.Conn, error) {
	select {
	case l.places <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	conn, err := l.Listener.Accept()
	if err != nil {
		<-l.places
		return nil, err
	}
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		<-l.places
		return nil, errors.Join(fmt.Errorf("accept a connection of %T, which is not TCP", conn), conn.Close())
	}
	return &limitedConn{TCPConn: tcp, free: sync.OnceFunc(func() { <-l.places })}, nil
}

func (l *limitedListener) Close() error {
	l.close.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

// limitedConn gives its place back when it is closed.
type limitedConn struct {
	*net.TCPConn

	free func()
}

func (c *limitedConn) Close() error {
	defer c.free()
	return c.TCPConn.Close()
}

// newHTTPServer returns a server with deadlines for what clients send.
func newHTTPServer(h http.Handler) *http.Server {
	return &http.Server{Handler: h, ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout}
}

package clienttest

import (
	"io"
	"net"
	"net/url"
	"sync"
	"testing"
)

// Proxy passes connections to a server on, and cuts them.
type Proxy struct {
	// URL is of the server's endpoint, through the proxy.
	URL string

	server   string
	listener net.Listener
	work     sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]bool
	// budget is how many bytes of the server the next connections may pass on,
	// each, before they are cut.
	budget func() int64
	cuts   int
	closed bool
}

// NewProxy starts a proxy to a server's endpoint that ends with the test. Where
// budget is not nil, it says after how many bytes from the server the next
// connection is cut; 0 is never.
func NewProxy(tb testing.TB, endpoint string, budget func() int64) *Proxy {
	tb.Helper()
	u, err := url.Parse(endpoint)
	if err != nil {
		tb.Fatal(err)
	}
	p := &Proxy{server: u.Host, conns: map[net.Conn]bool{}, budget: budget}
	if p.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil { //nolint:noctx // it is closed
		tb.Fatal(err)
	}
	u.Host = p.listener.Addr().String()
	p.URL = u.String()
	p.work.Go(p.accept)
	tb.Cleanup(p.Close)
	return p
}

func (p *Proxy) accept() {
	for {
		conn, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.work.Go(func() { p.serve(conn) })
	}
}

func (p *Proxy) serve(conn net.Conn) {
	defer p.forget(conn)
	server, err := net.Dial("tcp", p.server) //nolint:noctx // it is closed
	if err != nil {
		return
	}
	defer p.forget(server)
	var most int64
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return
	}
	p.conns[conn], p.conns[server] = true, true
	if p.budget != nil {
		most = p.budget()
	}
	p.mu.Unlock()
	var from io.Reader = server
	if most > 0 {
		from = io.LimitReader(server, most)
	}
	p.work.Go(func() {
		_, _ = io.Copy(server, conn)
		server.Close()
	})
	n, _ := io.Copy(conn, from)
	if most > 0 && n == most {
		p.mu.Lock()
		p.cuts++
		p.mu.Unlock()
	}
}

func (p *Proxy) forget(conn net.Conn) {
	conn.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, conn)
}

// Cuts returns how many connections were cut because of their budget.
func (p *Proxy) Cuts() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cuts
}

// Cut cuts all connections that there are. New ones are taken.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for conn := range p.conns {
		conn.Close()
	}
}

// Close ends the proxy; it takes no more connections.
func (p *Proxy) Close() {
	p.listener.Close()
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.Cut()
	p.work.Wait()
}

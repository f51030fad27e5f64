package client_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"math/big"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"codebeaker/rpc/client"
	"codebeaker/rpc/client/clienttest"
)

// program is an execution of a fake server: what it prints, from where on that
// is kept, and how it ends.
type program struct {
	t *testing.T
	// kept is where the output that can be read again begins.
	kept           int64
	stdout, stderr []byte
	// loseAt is where the server says once that it lost what comes next.
	loseAt int64
	status string

	mu       sync.Mutex
	attaches int
	listed   int
}

type attachParams struct{ StdoutOffset, StderrOffset int64 }

func (p *program) handle(c *clienttest.Conn, r clienttest.Request) {
	switch r.Method {
	case "session.execute":
		background := strings.Contains(string(r.Params), `"background":true`)
		if background {
			c.Reply(r, map[string]any{"success": true, "result": map[string]any{"executionId": "e", "status": "running"}})
		}
		c.Notify("execution.started", map[string]any{"executionId": "e", "sessionId": "s", "language": "python"})
		c.Go(func() {
			if p.follow(c, attachParams{}) && !background {
				c.Reply(r, map[string]any{
					"success": false, "error": "It failed.",
					"result": map[string]any{"executionId": "e", "exitCode": 7, "endReason": "exited"},
				})
			}
		})
	case "execution.list":
		p.mu.Lock()
		p.listed++
		list := []any{}
		if p.listed > 1 {
			list = append(list, map[string]any{"executionId": "e"})
		}
		p.mu.Unlock()
		c.Reply(r, map[string]any{"count": len(list), "executions": list})
	case "execution.attach":
		p.mu.Lock()
		p.attaches++
		p.mu.Unlock()
		at := clienttest.Decode[attachParams](p.t, r)
		at.StdoutOffset = min(max(at.StdoutOffset, p.kept), int64(len(p.stdout)))
		at.StderrOffset = min(at.StderrOffset, int64(len(p.stderr)))
		status := p.status
		if status == "" {
			status = "running"
		}
		c.Reply(r, map[string]any{
			"executionId": "e", "sessionId": "s", "status": status,
			"stdoutOffset": at.StdoutOffset, "stderrOffset": at.StderrOffset,
		})
		if status == "running" {
			c.Go(func() { p.follow(c, at) })
		}
	default:
		c.Refuse(r, -32601, r.Method)
	}
}

// follow sends the rest of the output and the end.
func (p *program) follow(c *clienttest.Conn, at attachParams) bool {
	for at.StdoutOffset < int64(len(p.stdout)) || at.StderrOffset < int64(len(p.stderr)) {
		if p.loseAt > 0 && at.StdoutOffset >= p.loseAt {
			p.mu.Lock()
			p.loseAt = 0
			p.kept = at.StdoutOffset + 10
			p.mu.Unlock()
			return c.Notify("execution.error", map[string]any{"executionId": "e", "sessionId": "s", "error": "output was lost"})
		}
		for _, s := range []struct {
			name string
			all  []byte
			at   *int64
		}{{"stdout", p.stdout, &at.StdoutOffset}, {"stderr", p.stderr, &at.StderrOffset}} {
			chunk := s.all[*s.at:min(*s.at+777, int64(len(s.all)))]
			if len(chunk) > 0 && !c.Notify("execution.output", map[string]any{
				"executionId": "e", "sessionId": "s", "stream": s.name, "offset": *s.at,
				"text": base64.StdEncoding.EncodeToString(chunk), "encoding": "base64",
			}) {
				return false
			}
			*s.at += int64(len(chunk))
		}
	}
	return c.Notify("execution.completed", map[string]any{
		"executionId": "e", "sessionId": "s", "exitCode": 7, "durationMs": 12, "timeout": false, "endReason": "exited",
	})
}

func random(t *testing.T, n int) []byte {
	t.Helper()
	b := make([]byte, n)
	if _, err := rand.Read(b); err != nil {
		t.Fatal(err)
	}
	return b
}

// shown is what a Follower has shown.
type shown struct {
	stdout, stderr bytes.Buffer
	lost           map[string]int64
	started        string
}

func (s *shown) options(url string) client.FollowerOptions {
	s.lost = map[string]int64{}
	return client.FollowerOptions{
		Dial:   func(ctx context.Context) (*client.Client, error) { return client.Dial(ctx, url) },
		Stdout: &s.stdout, Stderr: &s.stderr,
		Started: func(id string) { s.started += id },
		Lost:    func(stream string, n int64) { s.lost[stream] += n },
	}
}

// execute runs a program through a Follower.
func execute(t *testing.T, opts client.FollowerOptions, background, alone bool) (client.End, error) {
	t.Helper()
	c, err := opts.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	f := client.NewFollower(opts)
	defer f.Close()
	if err := f.Execute(t.Context(), c, "s", map[string]any{"type": "execute_shell", "background": background}, alone); err != nil {
		return client.End{}, err
	}
	return f.Follow(t.Context())
}

func TestFollowerShowsAllThoughConnectionsBreak(t *testing.T) {
	for name, background := range map[string]bool{"background": true, "answered at the end": false} {
		t.Run(name, func(t *testing.T) {
			p := &program{t: t, stdout: random(t, 3<<20), stderr: random(t, 1<<20)}
			server := clienttest.NewServer(t, p.handle)
			first := true
			proxy := clienttest.NewProxy(t, server.URL, func() int64 {
				if first { // past the start, whose loss is another matter
					first = false
					return 20000
				}
				n, err := rand.Int(rand.Reader, big.NewInt(60000))
				if err != nil {
					panic(err)
				}
				return n.Int64() + 1
			})
			var got shown
			end, err := execute(t, got.options(proxy.URL), background, false)
			if err != nil || end.ExitCode != 7 || end.Reason != "exited" {
				t.Fatalf("ended with %+v, %v", end, err)
			}
			if sha256.Sum256(got.stdout.Bytes()) != sha256.Sum256(p.stdout) || sha256.Sum256(got.stderr.Bytes()) != sha256.Sum256(p.stderr) {
				t.Errorf("it showed %d and %d bytes, other than the %d and %d that were printed",
					got.stdout.Len(), got.stderr.Len(), len(p.stdout), len(p.stderr))
			}
			if len(got.lost) > 0 || got.started != "e" {
				t.Errorf("lost %v, started %q", got.lost, got.started)
			}
			if cuts := proxy.Cuts(); cuts < 50 {
				t.Errorf("the connection was cut %d times only", cuts)
			}
		})
	}
}

func TestFollowerTellsWhyAProgramFailed(t *testing.T) {
	p := &program{t: t, stdout: []byte("out"), stderr: []byte("err")}
	server := clienttest.NewServer(t, p.handle)
	var got shown
	end, err := execute(t, got.options(server.URL), false, false)
	want := client.End{ExitCode: 7, Reason: "exited", Error: "It failed.", Duration: 12 * time.Millisecond}
	if err != nil || end != want || got.stdout.String() != "out" || got.stderr.String() != "err" || p.attaches != 0 {
		t.Errorf("ended with %+v, %v; showed %q, %q", end, err, got.stdout.String(), got.stderr.String())
	}
}

func TestFollowerTellsWhatIsLost(t *testing.T) {
	t.Run("as it runs", func(t *testing.T) {
		p := &program{t: t, stdout: []byte(strings.Repeat("0123456789", 1000)), loseAt: 5 * 777}
		server := clienttest.NewServer(t, p.handle)
		var got shown
		end, err := execute(t, got.options(server.URL), true, false)
		if err != nil || end.ExitCode != 7 || got.lost["stdout"] != 10 || len(got.lost) != 1 {
			t.Fatalf("ended with %+v, %v, lost %v", end, err, got.lost)
		}
		if want := string(p.stdout[:5*777]) + string(p.stdout[5*777+10:]); got.stdout.String() != want {
			t.Errorf("it showed %d bytes, other than the %d that are left", got.stdout.Len(), len(want))
		}
	})
	t.Run("before it attached", func(t *testing.T) {
		p := &program{t: t, stdout: []byte("0123456789"), kept: 4}
		server := clienttest.NewServer(t, p.handle)
		var got shown
		f := client.NewFollower(got.options(server.URL))
		defer f.Close()
		if err := f.Attach(t.Context(), dial(t, server.URL), "e", 0, 0); err != nil {
			t.Fatal(err)
		}
		if _, err := f.Follow(t.Context()); err != nil || got.stdout.String() != "456789" || got.lost["stdout"] != 4 {
			t.Errorf("%v, %q, lost %v", err, got.stdout.String(), got.lost)
		}
	})
}

func TestFollowerShowsNothingTwice(t *testing.T) {
	server := clienttest.NewServer(t, func(c *clienttest.Conn, r clienttest.Request) {
		c.Reply(r, map[string]any{"executionId": "e", "status": "running"})
		for _, at := range []int64{0, 0, 2, 3, 9, 7} { // to 5, 5, 7, 8, 14, 12
			c.Notify("execution.output", output("e", at, "0123456789abcde"[at:at+5]))
		}
		c.Notify("execution.completed", map[string]any{"executionId": "e", "endReason": "exited"})
	})
	var got shown
	f := client.NewFollower(got.options(server.URL))
	defer f.Close()
	if err := f.Attach(t.Context(), dial(t, server.URL), "e", 0, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Follow(t.Context()); err != nil || got.stdout.String() != "012345679abcd" || got.lost["stdout"] != 1 {
		t.Errorf("%v; it showed %q and lost %v", err, got.stdout.String(), got.lost)
	}
}

func TestFollowerFromNowShowsNothingOfBefore(t *testing.T) {
	p := &program{t: t, stdout: []byte("old"), stderr: []byte("old")}
	server := clienttest.NewServer(t, p.handle)
	var got shown
	f := client.NewFollower(got.options(server.URL))
	defer f.Close()
	if err := f.Attach(t.Context(), dial(t, server.URL), "e", client.FromNow, client.FromNow); err != nil {
		t.Fatal(err)
	}
	if end, err := f.Follow(t.Context()); err != nil || end.ExitCode != 7 || got.stdout.Len()+got.stderr.Len() > 0 || len(got.lost) > 0 {
		t.Errorf("%+v, %v, %q, lost %v", end, err, got.stdout.String(), got.lost)
	}
}

func TestFollowerFindsTheOnlyExecutionOfItsSession(t *testing.T) {
	p := &program{t: t, stdout: []byte("out")}
	var cut atomic.Bool
	server := clienttest.NewServer(t, func(c *clienttest.Conn, r clienttest.Request) {
		if cut.CompareAndSwap(false, true) {
			c.Cut()
			return
		}
		p.handle(c, r)
	})
	for name, background := range map[string]bool{"background": true, "answered at the end": false} {
		t.Run(name, func(t *testing.T) {
			cut.Store(false)
			var got shown
			if end, err := execute(t, got.options(server.URL), background, true); err != nil || end.ExitCode != 7 || got.stdout.String() != "out" {
				t.Errorf("%+v, %v, %q", end, err, got.stdout.String())
			}
			cut.Store(false)
			// Where others may run, none can be told to be it.
			if _, err := execute(t, got.options(server.URL), background, false); !errors.Is(err, client.ErrDisconnected) {
				t.Errorf("in a session that is not its own: %v", err)
			}
		})
	}
}

func TestFollowerTellsThatAProgramNeverStarted(t *testing.T) {
	p := &program{t: t, status: "failed"}
	server := clienttest.NewServer(t, p.handle)
	var got shown
	f := client.NewFollower(got.options(server.URL))
	defer f.Close()
	if err := f.Attach(t.Context(), dial(t, server.URL), "e", 0, 0); !errors.Is(err, client.ErrNeverStarted) {
		t.Errorf("Attach: %v", err)
	}
}

func TestFollowerGivesUpOnAServerThatIsGone(t *testing.T) {
	p := &program{t: t, stdout: random(t, 1<<20)}
	server := clienttest.NewServer(t, p.handle)
	proxy := clienttest.NewProxy(t, server.URL, func() int64 { return 20000 })
	var got shown
	opts := got.options(proxy.URL)
	opts.GiveUpAfter = 300 * time.Millisecond
	dials := 0
	opts.Dial = func(ctx context.Context) (*client.Client, error) {
		if dials++; dials == 2 {
			proxy.Close()
		}
		return client.Dial(ctx, proxy.URL)
	}
	if _, err := execute(t, opts, true, false); !errors.Is(err, client.ErrDisconnected) || dials < 3 {
		t.Errorf("after %d dials: %v", dials, err)
	}
	t.Run("one that cuts each connection", func(t *testing.T) {
		n := 0
		proxy := clienttest.NewProxy(t, server.URL, func() int64 {
			if n++; n == 1 {
				return 20000
			}
			return 1
		})
		opts := got.options(proxy.URL)
		opts.GiveUpAfter = 300 * time.Millisecond
		if _, err := execute(t, opts, true, false); !errors.Is(err, client.ErrDisconnected) {
			t.Errorf("Follow: %v", err)
		}
	})
	t.Run("interrupted", func(t *testing.T) {
		proxy := clienttest.NewProxy(t, server.URL, func() int64 { return 20000 })
		opts := got.options(proxy.URL)
		ctx, cancel := context.WithCancel(t.Context())
		dials := 0
		opts.Dial = func(ctx context.Context) (*client.Client, error) {
			if dials++; dials > 1 {
				cancel()
				return nil, errors.New("refused")
			}
			return client.Dial(ctx, proxy.URL)
		}
		c, err := opts.Dial(ctx)
		if err != nil {
			t.Fatal(err)
		}
		f := client.NewFollower(opts)
		defer f.Close()
		if err := f.Execute(ctx, c, "s", map[string]any{"background": true}, false); err != nil {
			t.Fatal(err)
		}
		if _, err := f.Follow(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("Follow: %v", err)
		}
	})
}

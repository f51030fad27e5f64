package test

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// longText prints longTextBytes of words, some of them of more than one byte a
// character, in pieces that are not cut at characters, for some ten seconds.
const longText = `
import sys, time
alphabet = "abcdefgh éüß€漢字😀🚀\n"
words = []
for i in range(256):
    word = "".join(alphabet[(i * 7 + j * j) % len(alphabet)] for j in range(i % 37 + 1)) + "%02x" % i
    words.append(word.encode())
x, rest, total = 1, b"", 0
while total < 40 << 20:
    block = [rest]
    n = len(rest)
    while n < 65536:
        x = (x * 1664525 + 1013904223) & 0xffffffff
        block.append(words[x >> 24])
        n += len(block[-1])
    block = b"".join(block)
    sys.stdout.buffer.write(block[:65536])
    sys.stdout.buffer.flush()
    rest = block[65536:]
    total += 65536
    time.sleep(0.015)
print("end", file=sys.stderr)
`

const longTextBytes = 40 << 20

// longTextHash is that of what longText prints, computed here by itself.
func longTextHash() [sha256.Size]byte {
	alphabet := []rune("abcdefgh éüß€漢字😀🚀\n")
	var words [256]string
	for i := range words {
		var w strings.Builder
		for j := range i%37 + 1 {
			w.WriteRune(alphabet[(i*7+j*j)%len(alphabet)])
		}
		words[i] = fmt.Sprintf("%s%02x", w.String(), i)
	}
	var all []byte
	for x := uint32(1); len(all) < longTextBytes; {
		x = x*1664525 + 1013904223
		all = append(all, words[x>>24]...)
	}
	return sha256.Sum256(all[:longTextBytes])
}

// errCut is a connection that was cut on purpose.
var errCut = errors.New("cut")

// cutConn is a TCP connection that breaks after some bytes, wherever in a frame
// that is.
type cutConn struct {
	*net.TCPConn
	left int
}

func (c *cutConn) Read(p []byte) (int, error) {
	n, err := c.TCPConn.Read(p[:min(len(p), max(c.left, 1))])
	if c.left -= n; err == nil && c.left <= 0 {
		_ = c.SetLinger(0) // a reset: the server is told nothing more
		c.TCPConn.Close()
		return 0, errCut
	}
	return n, err
}

// received is what a client has of an execution.
type received struct {
	stdout, stderr int64 // bytes
	sum            hash.Hash
	errText        []byte
}

func (r *received) take(n note) error {
	if n.Error != "" {
		return errors.New(n.Error)
	}
	content, err := n.content()
	if err != nil {
		return err
	}
	total := &r.stdout
	if n.Stream == "stderr" {
		total = &r.stderr
		r.errText = append(r.errText, content...)
	} else {
		r.sum.Write(content)
	}
	if n.Offset != *total || n.Encoding != "utf-8" {
		return fmt.Errorf("at %d came %s of %s at %d", *total, n.Encoding, n.Stream, n.Offset)
	}
	*total += int64(len(content))
	return nil
}

// follow attaches to an execution on a connection that is cut after so many
// bytes, behind what r has, and adds to that. It returns errCut, or nil when the
// execution has ended.
func (s *server) follow(ctx context.Context, executionID string, r *received, bytes int) error {
	dialer := websocket.Dialer{NetDialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return &cutConn{conn.(*net.TCPConn), bytes}, nil
	}}
	conn, resp, err := dialer.DialContext(ctx, s.url, nil)
	if resp != nil {
		resp.Body.Close()
	}
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if err := conn.WriteJSON(object{
		"jsonrpc": "2.0", "id": 1, "method": "execution.attach",
		"params": object{"executionId": executionID, "stdoutOffset": r.stdout, "stderrOffset": r.stderr},
	}); err != nil {
		return err
	}
	for {
		var m message
		_, text, err := conn.ReadMessage()
		if err != nil {
			return err
		}
		if err := json.Unmarshal(text, &m); err != nil {
			return err
		}
		switch {
		case m.Error != nil:
			return m.Error
		case m.Method == "execution.completed":
			return nil
		case m.Method != "":
			if err := r.take(m.Params); err != nil {
				return err
			}
		}
	}
}

func TestConnectionCutTwoHundredTimesMissesNothing(t *testing.T) {
	s := python(t)
	b := s.session(t, nil)
	var started startedExecution
	if err := b.c.Call(t.Context(), "session.execute", object{"sessionId": b.id, "command": object{
		"type": "execute_code", "code": longText, "background": true,
	}}, &started); err != nil {
		t.Fatal(err)
	}
	id := started.Result.ExecutionID
	before := s.files(t)

	seed := uint64(time.Now().UnixNano())
	random := rand.New(rand.NewPCG(seed, 0))
	t.Logf("the cuts are of seed %d", seed)
	got := received{sum: sha256.New()}
	const cuts = 200
	began := time.Now()
	for n := range cuts {
		bytes := random.IntN(2 * 160 << 10)
		if n%10 == 0 {
			bytes = random.IntN(600) // in the handshake, or in the reply
		}
		if err := s.follow(t.Context(), id, &got, bytes); !errors.Is(err, errCut) {
			t.Fatalf("connection %d, after %d bytes: %v", n, got.stdout, err)
		}
	}
	t.Logf("%d cuts in %d bytes and %s", cuts, got.stdout, time.Since(began).Round(time.Millisecond))
	if got.stdout >= longTextBytes {
		t.Errorf("all %d bytes had come before the last cut", got.stdout)
	}
	if err := s.follow(t.Context(), id, &got, 1<<40); err != nil {
		t.Fatalf("the last connection, after %d bytes: %v", got.stdout, err)
	}
	t.Logf("all of it after %s", time.Since(began).Round(time.Millisecond))
	if want, have := longTextHash(), got.sum.Sum(nil); got.stdout != longTextBytes || string(have) != string(want[:]) || string(got.errText) != "end\n" {
		t.Errorf("%d bytes with the hash %x, stderr %q; want %d with %x", got.stdout, have, got.errText, longTextBytes, want)
	}
	eventually(t, func() error {
		if after := s.files(t); after > before+5 {
			return fmt.Errorf("the server has %d files open, %d before", after, before)
		}
		return nil
	})
}

// files counts what the server has open, 0 where it is not this test's.
func (s *server) files(t *testing.T) int {
	t.Helper()
	if s.cmd == nil {
		return 0
	}
	open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", s.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	return len(open)
}

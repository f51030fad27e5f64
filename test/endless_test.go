package test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"golang.org/x/sys/unix"
)

// endlessFor is how long each of the tests of endless output lasts:
// $CODEBEAKER_TEST_ENDLESS, such as 60s, or 5 seconds.
func endlessFor(t *testing.T) time.Duration {
	t.Helper()
	text := os.Getenv("CODEBEAKER_TEST_ENDLESS")
	if text == "" {
		return 5 * time.Second
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatalf("read $CODEBEAKER_TEST_ENDLESS: %v", err)
	}
	return d
}

// memory returns a line of the status of the server's process, in bytes: VmRSS
// for what it has in memory, VmHWM for the most that it had.
func (s *server) memory(t *testing.T, name string) int64 {
	t.Helper()
	for line := range strings.Lines(read(t, "/proc", strconv.Itoa(s.cmd.Process.Pid), "status")) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == name+":" {
			kib, err := strconv.ParseInt(f[1], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return kib << 10
		}
	}
	t.Fatalf("the server's status has no %s", name)
	return 0
}

// bounded calls f and asserts that the server's memory grew by no more than most
// bytes meanwhile.
func (s *server) bounded(t *testing.T, most int64, f func()) {
	t.Helper()
	// 5 sets the peak to what there is; see proc(5).
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", s.cmd.Process.Pid), []byte("5"), 0); err != nil {
		t.Fatal(err)
	}
	before := s.memory(t, "VmRSS")
	f()
	peak, after := s.memory(t, "VmHWM"), s.memory(t, "VmRSS")
	const mib = 1 << 20
	t.Logf("the server had %.1f MiB before, %.1f at most, %.1f after", float64(before)/mib, float64(peak)/mib, float64(after)/mib)
	if peak-before > most {
		t.Errorf("the server's memory grew by %d MiB; it may by %d", (peak-before)>>20, most>>20)
	}
}

// endlessGrowth is what the server may need more for endless output, with all
// who read it.
const endlessGrowth = 32 << 20

// yes starts an endless output, and returns its execution.
func (b *sandbox) yes() string {
	b.t.Helper()
	var started startedExecution
	if err := b.c.Call(b.t.Context(), "session.execute", object{"sessionId": b.id, "command": object{
		"type": "execute_shell", "commandName": "yes", "background": true,
	}}, &started); err != nil {
		b.t.Fatal(err)
	}
	return started.Result.ExecutionID
}

// printedBytes returns how much an execution has printed.
func (b *sandbox) printedBytes(executionID string) int64 {
	b.t.Helper()
	var list struct{ Executions []listedExecution }
	if err := b.c.Call(b.t.Context(), "execution.list", object{"sessionId": b.id}, &list); err != nil {
		b.t.Fatal(err)
	}
	for _, e := range list.Executions {
		if e.ExecutionID == executionID {
			return e.Stdout.End
		}
	}
	b.t.Fatalf("execution %s is not listed", executionID)
	return 0
}

// goesOn asserts that an execution goes on printing.
func (b *sandbox) goesOn(executionID string) {
	b.t.Helper()
	from := b.printedBytes(executionID)
	eventually(b.t, func() error {
		if b.printedBytes(executionID) == from {
			return errors.New("it prints nothing more")
		}
		return nil
	})
}

// rate tells how fast something was.
func rate(t *testing.T, what string, bytes int64, d time.Duration) {
	t.Helper()
	t.Logf("%s %.1f MiB in %s, %.1f MiB/s", what, float64(bytes)/(1<<20), d.Round(time.Millisecond), float64(bytes)/(1<<20)/d.Seconds())
}

// reader is a client that attaches to an endless output.
type reader struct {
	t    *testing.T
	conn *websocket.Conn
	tcp  *net.TCPConn
	next int64 // offset of what comes next
	read int64
	lost int64
}

// reader attaches at the start of what is kept, on a connection with a receive
// buffer of some bytes, 0 for the usual.
func (s *server) reader(t *testing.T, executionID string, buffer int) *reader {
	t.Helper()
	conn := s.raw(t)
	tcp, ok := conn.NetConn().(*net.TCPConn)
	if !ok {
		t.Fatalf("the connection is a %T", conn.NetConn())
	}
	if buffer > 0 {
		if err := tcp.SetReadBuffer(buffer); err != nil {
			t.Fatal(err)
		}
	}
	if err := conn.SetReadDeadline(time.Now().Add(patience + endlessFor(t))); err != nil {
		t.Fatal(err)
	}
	r := &reader{t: t, conn: conn, tcp: tcp, next: -1}
	r.attach(executionID, 0)
	return r
}

func (r *reader) attach(executionID string, offset int64) {
	r.t.Helper()
	if err := r.conn.WriteJSON(object{
		"jsonrpc": "2.0", "id": 1, "method": "execution.attach", "params": object{"executionId": executionID, "stdoutOffset": offset},
	}); err != nil {
		r.t.Fatal(err)
	}
}

// message reads one message; what it brings of the output is as yes printed it.
func (r *reader) message() message {
	r.t.Helper()
	var m message
	_, text, err := r.conn.ReadMessage()
	if err == nil {
		err = json.Unmarshal(text, &m)
	}
	switch {
	case err != nil:
		r.t.Fatalf("after %d bytes: %v", r.read, err)
	case m.Error != nil:
		r.t.Fatal(m.Error)
	case m.ID != nil:
		var attached struct{ StdoutOffset int64 }
		if err := json.Unmarshal(m.Result, &attached); err != nil {
			r.t.Fatal(err)
		}
		if r.next >= 0 {
			r.lost += attached.StdoutOffset - r.next
		}
		r.next = attached.StdoutOffset
	case m.Method == "execution.output":
		want := "y\n"
		if m.Params.Offset%2 == 1 {
			want = "\ny"
		}
		text := m.Params.Text
		if n := len(text); m.Params.Offset != r.next || n == 0 || text != strings.Repeat(want, n/2+1)[:n] {
			r.t.Fatalf("after offset %d came %d bytes at %d: %.20q", r.next, n, m.Params.Offset, text)
		}
		r.next += int64(len(text))
		r.read += int64(len(text))
	}
	return m
}

func TestEndlessOutputWithoutAReader(t *testing.T) {
	s := private(t)
	b := s.session(t, nil)
	s.bounded(t, endlessGrowth, func() {
		id := b.yes()
		began := time.Now()
		wait(t, endlessFor(t))
		rate(t, "it printed", b.printedBytes(id), time.Since(began))
		b.goesOn(id)
	})
}

func TestEndlessOutputWithAReader(t *testing.T) {
	s := private(t)
	b := s.session(t, nil)
	s.bounded(t, endlessGrowth, func() {
		id := b.yes()
		r := s.reader(t, id, 0)
		began := time.Now()
		for time.Since(began) < endlessFor(t) {
			if m := r.message(); m.Method == "execution.error" {
				// The program is faster than this client.
				r.attach(id, m.Params.To)
			}
		}
		took := time.Since(began)
		rate(t, "it printed", b.printedBytes(id), took)
		rate(t, "the client read", r.read, took)
		t.Logf("the client was told that it missed %d MiB", r.lost>>20)
		if r.read < 1<<20 {
			t.Errorf("the client got %d bytes", r.read)
		}
	})
}

func TestEndlessOutputWithASlowReader(t *testing.T) {
	s := private(t)
	b := s.session(t, nil)
	s.bounded(t, endlessGrowth, func() {
		id := b.yes()
		r := s.reader(t, id, 64<<10)
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		began, losses := time.Now(), 0
		var lost message
		for over := false; !over || lost.Method == ""; over = time.Since(began) > endlessFor(t) {
			if !over { // and then what the network holds, which comes first
				<-tick.C
			}
			if lost.Method != "" {
				r.attach(id, lost.Params.To)
				lost = message{}
			}
			if m := r.message(); m.Method == "execution.error" {
				lost = m
				losses++
			}
		}
		rate(t, "it printed", b.printedBytes(id), time.Since(began))
		rate(t, "the client read", r.read, time.Since(began))
		t.Logf("the client was told %d times that it missed something", losses)
		n := lost.Params
		if n.ExecutionID != id || n.Stream != "stdout" || n.From != r.next || n.To <= n.From || n.Error == "" {
			t.Errorf("after offset %d it was told %+v", r.next, n)
		}
		b.goesOn(id)
		if err := b.c.Call(t.Context(), "execution.cancel", object{"executionId": id}, nil); err != nil {
			t.Fatal(err)
		}
		if m := r.message(); m.Method != "execution.completed" || m.Params.EndReason != "cancelled" {
			t.Errorf("after what was lost came %+v", m)
		}
	})
}

func TestClientThatStopsReadingIsCutOff(t *testing.T) {
	s := private(t)
	b := s.session(t, nil)
	s.bounded(t, endlessGrowth, func() {
		id := b.yes()
		r := s.reader(t, id, 4<<10)
		began := time.Now()
		eventually(t, func() error {
			if !hungUp(t, r.tcp) {
				return errors.New("the server has not cut it off")
			}
			return nil
		})
		t.Logf("it was cut off after %s", time.Since(began).Round(time.Millisecond))
		rate(t, "it printed", b.printedBytes(id), time.Since(began))
		b.goesOn(id)
		// Another one misses nothing that is kept.
		again := s.reader(t, id, 0)
		for again.read < 4<<20 {
			if m := again.message(); m.Method == "execution.error" {
				again.attach(id, m.Params.To)
			}
		}
	})
}

// hungUp says whether the other end of a connection is gone, without reading.
func hungUp(t *testing.T, conn *net.TCPConn) bool {
	t.Helper()
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var state []unix.PollFd
	if err := raw.Control(func(fd uintptr) {
		state = []unix.PollFd{{Fd: int32(fd)}}
		_, err = unix.Poll(state, 0)
	}); err != nil {
		t.Fatal(err)
	}
	return err == nil && state[0].Revents&(unix.POLLERR|unix.POLLHUP) != 0
}

// wait lets something go on for a time, which is what the test is about.
func wait(t *testing.T, d time.Duration) {
	t.Helper()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.Context().Done():
		t.Fatal(t.Context().Err())
	}
}

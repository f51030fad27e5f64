package client_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"codebeaker/rpc/client"
	"codebeaker/rpc/client/clienttest"
)

func dial(t *testing.T, url string) *client.Client {
	t.Helper()
	c, err := client.Dial(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func output(id string, offset int64, text string) map[string]any {
	return map[string]any{
		"executionId": id, "sessionId": "s", "stream": "stdout", "text": text, "offset": offset, "encoding": "utf-8",
	}
}

func next(t *testing.T, s *client.Stream) client.Event {
	t.Helper()
	e, err := s.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestStreamHasWhatFollowsItsAnswerAtOnce(t *testing.T) {
	n := 0
	server := clienttest.NewServer(t, func(c *clienttest.Conn, r clienttest.Request) {
		n++
		id := fmt.Sprint(n)
		c.Reply(r, map[string]any{"executionId": id})
		c.Notify("execution.output", output(id, 0, "first "+id))
		c.Notify("some.other", map[string]any{"executionId": 5})
		c.Notify("execution.completed", map[string]any{"executionId": id, "exitCode": 3, "endReason": "exited", "durationMs": 1.5})
	})
	c := dial(t, server.URL)
	for i := 1; i <= 500; i++ {
		s, err := c.Stream(t.Context(), "execution.attach", map[string]any{}, "")
		if err != nil {
			t.Fatal(err)
		}
		if e := next(t, s); e.Method != client.MethodOutput || string(e.Data) != fmt.Sprint("first ", i) {
			t.Fatalf("stream %d began with %+v", i, e)
		}
		e := next(t, s)
		if want := (client.End{ExitCode: 3, Reason: "exited", Duration: 1500 * time.Microsecond}); e.End != want {
			t.Fatalf("stream %d ended with %+v", i, e)
		}
		s.Close()
	}
}

func TestStreamsThatAreAnsweredAtTheEndGetTheirOwnNotifications(t *testing.T) {
	var asked []clienttest.Request
	server := clienttest.NewServer(t, func(c *clienttest.Conn, r clienttest.Request) {
		if asked = append(asked, r); len(asked) < 3 {
			return
		}
		// The two of session a in their order, that of b between them.
		for i, name := range []string{"a1", "b1", "a2"} {
			c.Notify("execution.started", map[string]any{"executionId": name, "sessionId": name[:1]})
			c.Notify("execution.output", output(name, 0, name))
			c.Reply(asked[[]int{0, 2, 1}[i]], map[string]any{"success": true, "result": map[string]any{"executionId": name}})
		}
	})
	c := dial(t, server.URL)
	var streams []*client.Stream
	for _, session := range []string{"a", "a", "b"} {
		s, err := c.Stream(t.Context(), "session.execute", map[string]any{}, session)
		if err != nil {
			t.Fatal(err)
		}
		streams = append(streams, s)
	}
	for i, name := range []string{"a1", "a2", "b1"} {
		for _, method := range []string{client.MethodStarted, client.MethodOutput, ""} {
			e := next(t, streams[i])
			if e.Method != method || method != "" && e.ExecutionID != name {
				t.Errorf("stream %d got %+v, want %s of %s", i, e, method, name)
			}
		}
	}
}

func TestStreamFailsAsItsCall(t *testing.T) {
	server := clienttest.NewServer(t, func(c *clienttest.Conn, r clienttest.Request) { c.Refuse(r, -32006, "none") })
	c := dial(t, server.URL)
	s, err := c.Stream(t.Context(), "execution.attach", map[string]any{}, "")
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Next(t.Context())
	no := (*client.Error)(nil)
	if !errors.As(err, &no) || no.Code != -32006 {
		t.Errorf("Next: %v", err)
	}
	if err := s.Answer(t.Context(), nil); !errors.As(err, &no) {
		t.Errorf("Answer: %v", err)
	}
}

func TestStreamThatIsNotReadHoldsTheServerBack(t *testing.T) {
	const events, size = 512, 32 << 10 // 16 MiB, more than two sockets hold
	text := string(bytes.Repeat([]byte("x"), size))
	sent := make(chan struct{})
	server := clienttest.NewServer(t, func(c *clienttest.Conn, r clienttest.Request) {
		c.Reply(r, map[string]any{"executionId": "e"})
		for i := range int64(events) {
			if !c.Notify("execution.output", output("e", i*size, text)) {
				return
			}
		}
		close(sent)
	})
	c := dial(t, server.URL)
	s, err := c.Stream(t.Context(), "execution.attach", map[string]any{}, "")
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-sent:
		t.Errorf("nobody read it, and the server could send %d MiB", events*size>>20)
	case <-time.After(2 * time.Second): // long enough to send it
	}
	for i := range int64(events) {
		if e := next(t, s); e.Offset != i*size || len(e.Data) != size {
			t.Fatalf("event %d is %d bytes at %d", i, len(e.Data), e.Offset)
		}
	}
}

func TestCloseDoesNotWaitForAStreamThatIsNotRead(t *testing.T) {
	waits := make(chan struct{})
	server := clienttest.NewServer(t, func(c *clienttest.Conn, r clienttest.Request) {
		c.Reply(r, map[string]any{"executionId": "e"})
		for i := int64(0); c.Notify("execution.output", output("e", i, "x")); i++ {
			if i == 5000 { // many more than wait for Next
				close(waits)
			}
		}
	})
	c := dial(t, server.URL)
	s, err := c.Stream(t.Context(), "execution.attach", map[string]any{}, "")
	if err != nil {
		t.Fatal(err)
	}
	next(t, s)
	<-waits
	c.Close()
	for range 1 << 20 { // what has come, and then the end
		if _, err = s.Next(t.Context()); err != nil {
			break
		}
	}
	if !errors.Is(err, client.ErrDisconnected) {
		t.Errorf("Next on a closed connection: %v", err)
	}
}

func TestCallOnABrokenConnectionSaysSo(t *testing.T) {
	server := clienttest.NewServer(t, func(c *clienttest.Conn, _ clienttest.Request) { c.Cut() })
	c := dial(t, server.URL)
	for range 2 { // while it breaks, and after
		if err := c.Call(t.Context(), "session.list", map[string]any{}, nil); !errors.Is(err, client.ErrDisconnected) {
			t.Errorf("Call: %v", err)
		}
	}
	if err := c.Err(); !errors.Is(err, client.ErrDisconnected) {
		t.Errorf("Err: %v", err)
	}
}

func TestControlCallsAgainOnANewConnection(t *testing.T) {
	var calls atomic.Int64
	server := clienttest.NewServer(t, func(c *clienttest.Conn, r clienttest.Request) {
		n := calls.Add(1)
		if n%2 == 1 {
			c.Cut()
			return
		}
		c.Reply(r, n)
	})
	control := client.NewControl(func(ctx context.Context) (*client.Client, error) { return client.Dial(ctx, server.URL) })
	defer control.Close()
	var got int
	if err := control.Call(t.Context(), "execution.cancel", nil, &got); err != nil || got != 2 {
		t.Errorf("Call: %d, %v", got, err)
	}
	if err := control.CallOnce(t.Context(), "execution.input", nil, &got); !errors.Is(err, client.ErrDisconnected) || calls.Load() != 3 {
		t.Errorf("CallOnce: %v after %d calls", err, calls.Load())
	}
	if err := control.CallOnce(t.Context(), "execution.input", nil, &got); err != nil || got != 4 {
		t.Errorf("CallOnce on a connection that is known to be broken: %d, %v", got, err)
	}
}

func TestDialEndsWithItsContext(t *testing.T) {
	mute, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer mute.Close()
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		conn, err := mute.Accept()
		if err == nil {
			defer conn.Close()
			_, _ = conn.Read(make([]byte, 1)) // the handshake has begun
		}
		cancel()
		<-t.Context().Done()
	}()
	if _, err := client.Dial(ctx, "ws://"+mute.Addr().String()+"/"); !errors.Is(err, context.Canceled) {
		t.Errorf("Dial: %v", err)
	}
}

// A server that does not read holds a call no longer than its context lasts.
func TestCallThatCannotBeSentEndsWithItsContext(t *testing.T) {
	hold := make(chan struct{})
	server := clienttest.NewServer(t, func(*clienttest.Conn, clienttest.Request) { <-hold })
	defer close(hold)
	c := dial(t, server.URL)
	ctx, cancel := context.WithCancel(t.Context())
	const calls = 3
	ended := make(chan error, calls)
	for range calls { // more than the sockets between them take
		go func() {
			ended <- c.Call(ctx, "any", map[string]any{"text": string(bytes.Repeat([]byte("x"), 16<<20))}, nil)
		}()
	}
	cancel()
	for range calls {
		if err := <-ended; !errors.Is(err, context.Canceled) && !errors.Is(err, client.ErrDisconnected) {
			t.Errorf("a call ended with %v", err)
		}
	}
}

package rpc

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"codebeaker/session"
)

// A client is dead after two and a half ping intervals, 75 s by default. The
// tests here run in synctest's time.

func TestClientThatAnswersPingsStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := startServerOnPipes(t, Options{}).dial(t)
		begin := time.Now()
		pings := 0
		answer := c.PingHandler()
		c.SetPingHandler(func(data string) error {
			if pings++; pings == 10 {
				c.send(listRequest)
			}
			return answer(data)
		})
		_ = c.SetReadDeadline(time.Now().Add(time.Hour))
		if _, _, err := c.ReadMessage(); err != nil {
			t.Errorf("after %v and %d pings: %v", time.Since(begin), pings, err)
		}
		if alive := time.Since(begin); alive < 5*time.Minute {
			t.Errorf("the test took %v, which a dead client might live", alive)
		}
	})
}

func TestClientThatTakesRepliesStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := startServerOnPipes(t, Options{Sessions: &fakeSessions{
			execute: func(_ context.Context, _ string, cmd session.Command) (*session.Outcome, error) {
				<-time.After(3 * time.Second)
				return fakeOutcome(cmd), nil
			},
		}})
		c := s.dial(t)
		c.SetPingHandler(func(string) error { return nil }) // as if it were far behind
		const number = 100
		for range number {
			c.send(shell("x", "A", "x"))
		}
		for range number {
			c.wantID("x")
		}
	})
}

func TestDeadClientVanishes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := startServerOnPipes(t, Options{})
		c := s.dial(t)
		c.SetPingHandler(func(string) error { return nil })
		begin := time.Now()
		_ = c.SetReadDeadline(begin.Add(time.Hour))
		if _, _, err := c.ReadMessage(); err == nil {
			t.Error("the server sent a message")
		}
		if lived := time.Since(begin); lived != 75*time.Second {
			t.Errorf("the client lived for %v, want 75s", lived)
		}
		synctest.Wait()
		if n := s.connections(); n != 0 {
			t.Errorf("%d connections are left", n)
		}
		if strings.Contains(s.logs.String(), "protocol") {
			t.Error("the log blames the protocol")
		}
	})
}

// TestSlowNetworkIsNoDeadClient proves that the deadlines are about progress:
// the message takes many times both of them as a whole.
func TestSlowNetworkIsNoDeadClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		l := &link{Conn: near, idle: 10 * time.Second, write: 10 * time.Second}
		readEnded, written := make(chan error, 1), make(chan error, 1)
		go func() {
			_, err := l.Read(make([]byte, 1))
			readEnded <- err
		}()
		const pieces = 20
		go func() {
			_, err := l.Write(make([]byte, pieces*writePiece))
			written <- err
		}()
		_ = far.SetReadDeadline(time.Now().Add(time.Hour))
		for range pieces {
			<-time.After(9 * time.Second)
			if _, err := io.ReadFull(far, make([]byte, writePiece)); err != nil {
				t.Fatal(err)
			}
		}
		if err := <-written; err != nil {
			t.Errorf("Write: %v", err)
		}
		select {
		case err := <-readEnded:
			t.Errorf("Read ended while writing went on: %v", err)
		default:
		}
		if err := <-readEnded; !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Read: got %v, want a timeout when nothing moves", err)
		}
		if _, err := l.Write(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Write: got %v, want a timeout when nobody reads", err)
		}
	})
}

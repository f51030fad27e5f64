package rpc

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"
	"time"
)

func TestMessagesAreReadWholeAndHoldNoMoreThanTheyNeed(t *testing.T) {
	c := &conn{srv: &Server{requests: newBudget(4 << 20), opts: Options{MessageTimeout: time.Minute}}, closing: make(chan struct{})}
	all := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	for _, size := range []int{0, 1, 4095, 4096, 4097, 1 << 20, 5000, 4096, 1<<20 - 1, 700_000, 1 << 14, 100_000} {
		text, held, err := c.readMessage(iotest.HalfReader(bytes.NewReader(all[:size])), 1<<20+1)
		if err != nil || !bytes.Equal(text, all[:size]) || cap(text) > 2*size+8 {
			t.Errorf("of %d bytes came %d in %d, %v", size, len(text), cap(text), err)
		}
		if want := int64(size); held != want && (held != 0 || want > shortMessage) {
			t.Errorf("a message of %d bytes holds %d", size, held)
		}
		if all, _ := c.srv.requests.stats(); all != held {
			t.Errorf("%d bytes are held for %d", all, held)
		}
		c.srv.requests.give(held)
	}
	if text, _, err := c.readMessage(bytes.NewReader(all), 9999); err != nil || len(text) != 9999 {
		t.Errorf("beyond the limit came %d bytes, %v", len(text), err)
	}
	broken := io.MultiReader(bytes.NewReader(all), iotest.ErrReader(errors.New("broken")))
	if _, _, err := c.readMessage(broken, 2<<20); err == nil {
		t.Error("a message that broke off was taken")
	}
	if held, _ := c.srv.requests.stats(); held != 0 {
		t.Errorf("%d bytes are held at the end", held)
	}
}

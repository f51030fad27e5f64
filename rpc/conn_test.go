package rpc

import (
	"bytes"
	"testing"
	"testing/iotest"
)

func TestMessagesAreReadWholeAndHoldNoMoreThanTheyNeed(t *testing.T) {
	c := &conn{}
	all := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	for _, size := range []int{0, 1, 4095, 4096, 4097, 1 << 20, 5000, 4096, 1<<20 - 1, 700_000, 1 << 14, 100_000} {
		text, err := c.readMessage(iotest.HalfReader(bytes.NewReader(all[:size])), 1<<20+1)
		if err != nil || !bytes.Equal(text, all[:size]) || cap(text) > 2*size+8 {
			t.Errorf("of %d bytes came %d in %d, %v", size, len(text), cap(text), err)
		}
	}
	if text, err := c.readMessage(bytes.NewReader(all), 9999); err != nil || len(text) != 9999 {
		t.Errorf("beyond the limit came %d bytes, %v", len(text), err)
	}
	if _, err := c.readMessage(iotest.TimeoutReader(bytes.NewReader(all)), 1<<20); err == nil {
		t.Error("a message that broke off was taken")
	}
}

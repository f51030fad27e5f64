package agent

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
)

// encode returns a packet.
func encode(tb testing.TB, id uint32, head any, data string) string {
	tb.Helper()
	var b bytes.Buffer
	if err := NewPackets(nil, &b).Send(id, head, []byte(data)); err != nil {
		tb.Fatal(err)
	}
	return b.String()
}

func TestPacketsComeAsTheyWereSent(t *testing.T) {
	large := strings.Repeat("x", MaxChunk)
	in := encode(t, 1, "head", "data") + encode(t, 1<<32-1, "", "") + encode(t, 7, 7, large) + encode(t, 8, true, "\x00")
	for name, reader := range map[string]io.Reader{"whole": strings.NewReader(in), "in bytes": iotest.OneByteReader(strings.NewReader(in))} {
		p := NewPackets(reader, nil)
		for _, want := range []struct {
			id         uint32
			head, data string
		}{{1, `"head"`, "data"}, {1<<32 - 1, `""`, ""}, {7, "7", large}, {8, "true", "\x00"}} {
			if id, head, data, err := p.Receive(); id != want.id || string(head) != want.head || string(data) != want.data || err != nil {
				t.Errorf("%s: received %d %.20q %.20q, %v; want %.50v", name, id, head, data, err, want)
			}
		}
		if _, _, _, err := p.Receive(); !errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%s: the end is %v", name, err)
		}
	}
}

func TestBrokenPacketsEndTheConnection(t *testing.T) {
	whole := encode(t, 1, "head", "data")
	for name, in := range map[string]string{
		"too long":              "\xff\xff\xff\xff\x00\x00\x00\x01\x00\x00\x00\x00",
		"too short":             "\x00\x00\x00\x07\x00\x00\x00\x01\x00\x00\x00\x00",
		"more data than packet": "\x00\x00\x00\x09\x00\x00\x00\x01\x00\x00\x00\x021",
		"too much data":         "\x00\x03\x00\x00\x00\x00\x00\x01\x00\x02\x00\x01" + strings.Repeat("x", 3<<16),
		"cut":                   whole[:len(whole)-1],
		"cut after its start":   whole[:12],
		"cut at its start":      whole[:3],
	} {
		if id, head, data, err := NewPackets(strings.NewReader(in), nil).Receive(); err == nil || errors.Is(err, io.EOF) {
			t.Errorf("%s: received %d %.20q %.20q, %v", name, id, head, data, err)
		}
	}
	for name, send := range map[string]func(*Packets) error{
		"data": func(p *Packets) error { return p.Send(1, "", make([]byte, MaxChunk+1)) },
		"head": func(p *Packets) error { return p.Send(1, strings.Repeat("x", 256<<10), nil) },
	} {
		var out bytes.Buffer
		if err := send(NewPackets(nil, &out)); err == nil || out.Len() > 0 {
			t.Errorf("too much %s: %v, and %d bytes were sent", name, err, out.Len())
		}
	}
}

// Whoever sends, a packet goes out in one piece.
func TestPacketsAreNotMixedOnTheWayOut(t *testing.T) {
	r, w := io.Pipe()
	p := NewPackets(nil, w)
	const senders, rounds = 3, 200
	var work sync.WaitGroup
	for range senders {
		work.Go(func() {
			for i := range rounds {
				if err := p.Send(uint32(i), i, []byte(strings.Repeat("r", i*50))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	go func() {
		work.Wait()
		w.Close()
	}()
	in := NewPackets(r, nil)
	for range senders * rounds {
		id, head, data, err := in.Receive()
		if err != nil || string(head) != fmt.Sprint(id) || string(data) != strings.Repeat("r", int(id)*50) {
			t.Fatalf("packet %d holds %.20q %.20q, %v", id, head, data, err)
		}
	}
	if _, _, _, err := in.Receive(); !errors.Is(err, io.EOF) {
		t.Errorf("after all there is %v", err)
	}
}

// FuzzPackets reads what a session may send. What is received is what came, up to
// where it is broken, and within its bounds.
func FuzzPackets(f *testing.F) {
	f.Add([]byte(encode(f, 1, "head", "data") + encode(f, 2, 3, "")))
	f.Add([]byte("\xff\xff\xff\xff\x02\x00\x00\x00\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, in []byte) {
		p, at := NewPackets(bytes.NewReader(in), nil), 0
		for {
			_, head, data, err := p.Receive()
			if err != nil {
				return
			}
			at += prefixBytes
			if len(data) > MaxChunk || len(data)+len(head) > maxRestBytes || !bytes.HasPrefix(in[at:], append(bytes.Clone(data), head...)) {
				t.Fatalf("of %x, %x and %x were read at %d", in, data, head, at)
			}
			at += len(data) + len(head)
		}
	})
}

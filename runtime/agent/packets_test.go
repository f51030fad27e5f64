package agent

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
)

// packet returns a packet of any type.
func packet(kind byte, body string) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(1+len(body)))
	return append(append(b, kind), body...)
}

func TestPacketsAreSortedByType(t *testing.T) {
	var in, sftp bytes.Buffer
	add := func(kind byte, body string) {
		p := packet(kind, body)
		in.Write(p)
		if PacketType(kind) != ReplyPacket {
			sftp.Write(p)
		}
	}
	add(2, "version")
	add(byte(ReplyPacket), "\x00\x00\x00\x07first")
	add(103, strings.Repeat("data", 50_000))
	add(byte(ReplyPacket), "\x00\x00\x01\x00")
	add(byte(RequestPacket), "not ours to take")
	for name, reader := range map[string]io.Reader{"whole": &in, "in bytes": iotest.OneByteReader(bytes.NewReader(in.Bytes()))} {
		var ours []string
		p := NewPackets(reader, io.Discard, ReplyPacket, func(id uint32, payload []byte) error {
			ours = append(ours, fmt.Sprint(id, " ", string(payload)))
			return nil
		})
		got, err := io.ReadAll(p)
		if err != nil || !bytes.Equal(got, sftp.Bytes()) {
			t.Errorf("%s: SFTP reads %d bytes, %v; want %d", name, len(got), err, sftp.Len())
		}
		if want := "[7 first 256 ]"; fmt.Sprint(ours) != want {
			t.Errorf("%s: received %v, want %s", name, ours, want)
		}
	}
}

func TestBrokenPacketsEndTheConnection(t *testing.T) {
	for name, in := range map[string]string{
		"too long":   "\xff\xff\xff\xff\x02",
		"empty":      "\x00\x00\x00\x00\x02",
		"without id": string(packet(byte(ReplyPacket), "abc")),
		"cut":        string(packet(byte(ReplyPacket), "\x00\x00\x00\x01abc")[:9]),
		"cut header": "\x00\x00",
	} {
		p := NewPackets(strings.NewReader(in), io.Discard, ReplyPacket, func(uint32, []byte) error {
			t.Errorf("%s: was received", name)
			return nil
		})
		if b, err := io.ReadAll(p); err == nil || len(b) > 0 {
			t.Errorf("%s: read %q, %v", name, b, err)
		}
	}
	refuse := errors.New("refuse")
	in := packet(byte(ReplyPacket), "\x00\x00\x00\x01")
	p := NewPackets(bytes.NewReader(in), io.Discard, ReplyPacket, func(uint32, []byte) error { return refuse })
	if _, err := io.ReadAll(p); !errors.Is(err, refuse) {
		t.Errorf("a refused packet gives %v", err)
	}
}

// Whoever writes, a packet goes out in one piece.
func TestPacketsAreNotMixedOnTheWayOut(t *testing.T) {
	r, w := io.Pipe()
	p := NewPackets(nil, w, ReplyPacket, nil)
	const rounds = 200
	var work sync.WaitGroup
	work.Go(func() {
		for i := range rounds {
			whole := packet(6, strings.Repeat("s", i*100))
			for _, piece := range [][]byte{whole[:2], whole[2:5], whole[5:]} { // as pkg/sftp never would
				if _, err := p.Write(piece); err != nil {
					t.Error(err)
				}
			}
		}
	})
	for range 2 {
		work.Go(func() {
			for i := range rounds {
				if err := p.Send(RequestPacket, uint32(i), []byte(strings.Repeat("r", i*50))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	go func() {
		work.Wait()
		w.Close()
	}()
	var ours int
	in := NewPackets(r, nil, RequestPacket, func(id uint32, payload []byte) error {
		ours++
		if string(payload) != strings.Repeat("r", int(id)*50) {
			return fmt.Errorf("packet %d holds %.20q", id, payload)
		}
		return nil
	})
	sftp, err := io.ReadAll(in)
	if err != nil || ours != 2*rounds {
		t.Fatalf("%d packets of ours, %v", ours, err)
	}
	for i := range rounds {
		want := packet(6, strings.Repeat("s", i*100))
		if !bytes.HasPrefix(sftp, want) {
			t.Fatalf("packet %d of SFTP was changed", i)
		}
		sftp = sftp[len(want):]
	}
}

// FuzzPackets reads what a session may send. What is passed on and what is
// received together are what came, up to where it is broken.
func FuzzPackets(f *testing.F) {
	f.Add(append(packet(2, "version"), packet(byte(ReplyPacket), "\x00\x00\x00\x07first")...))
	f.Add([]byte("\xff\xff\xff\xff\x02"))
	f.Fuzz(func(t *testing.T, in []byte) {
		var again []byte
		p := NewPackets(bytes.NewReader(in), io.Discard, ReplyPacket, func(id uint32, payload []byte) error {
			again = append(again, packet(byte(ReplyPacket), string(binary.BigEndian.AppendUint32(nil, id))+string(payload))...)
			return nil
		})
		buf := make([]byte, 7)
		for {
			n, err := p.Read(buf)
			again = append(again, buf[:n]...)
			if err != nil {
				break
			}
		}
		if !bytes.HasPrefix(in, again) {
			t.Fatalf("of %x, %x was read", in, again)
		}
	})
}

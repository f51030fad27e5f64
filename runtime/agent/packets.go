package agent

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
)

// PacketType is the type of a packet that stands beside those of SFTP, whose
// types are 1 to 20, 101 to 105, 200 and 201.
type PacketType byte

const (
	// RequestPacket carries a FileRequest.
	RequestPacket PacketType = 240 + iota
	// ReplyPacket carries a FileReply.
	ReplyPacket
)

// Sizes of a packet of SFTP: the length of the rest, its type and an id.
const (
	lengthBytes  = 4
	headerBytes  = lengthBytes + 1
	idBytes      = 4
	maxRestBytes = 256 << 10 // as pkg/sftp has it
)

// Packets is a connection of SFTP that carries packets of ours between those of
// SFTP. They have the same frame and differ in their type: Read passes SFTP's
// on and hands ours over, Write and Send keep them apart on the way out.
//
// Read and Write are for pkg/sftp, each for one caller at a time; Send is for
// everyone.
type Packets struct {
	reader  io.Reader
	writer  io.Writer
	ours    PacketType
	receive func(id uint32, payload []byte) error

	header [headerBytes]byte // of Read
	passed []byte            // of the header, still to be read
	left   int               // of SFTP's packet, still to be read

	held []byte // of Write, the start of a packet

	mu sync.Mutex // one packet at a time to writer
}

// NewPackets returns the connection that reads from r and writes to w. Packets
// of the type ours go to receive, in the goroutine of Read; it owns the payload,
// and its error ends the connection. Nothing else is known of what is read from
// r, but that no packet is larger than 256 KiB.
func NewPackets(r io.Reader, w io.Writer, ours PacketType, receive func(id uint32, payload []byte) error) *Packets {
	return &Packets{reader: r, writer: w, ours: ours, receive: receive}
}

func (p *Packets) Read(b []byte) (int, error) {
	for p.left == 0 {
		if err := p.next(); err != nil {
			return 0, err
		}
	}
	if len(p.passed) > 0 {
		n := copy(b, p.passed)
		p.passed = p.passed[n:]
		p.left -= n
		return n, nil
	}
	n, err := p.reader.Read(b[:min(len(b), p.left)])
	p.left -= n
	return n, err
}

// next reads the header of a packet, and the rest where it is one of ours.
func (p *Packets) next() error {
	if _, err := io.ReadFull(p.reader, p.header[:]); err != nil {
		return err // io.EOF between packets
	}
	rest := binary.BigEndian.Uint32(p.header[:])
	if rest == 0 || rest > maxRestBytes {
		return fmt.Errorf("read packet: it claims a length of %d bytes", rest)
	}
	if PacketType(p.header[lengthBytes]) != p.ours {
		p.passed, p.left = p.header[:], lengthBytes+int(rest)
		return nil
	}
	if rest < 1+idBytes {
		return fmt.Errorf("read packet: %d bytes hold no id", rest)
	}
	body := make([]byte, rest-1)
	if _, err := io.ReadFull(p.reader, body); err != nil {
		return unexpected(err)
	}
	return p.receive(binary.BigEndian.Uint32(body), body[idBytes:])
}

// Write takes packets in whatever pieces they come, and holds them back up to
// the last piece, which is the large one.
func (p *Packets) Write(b []byte) (int, error) {
	for rest := b; len(rest) > 0; {
		piece := rest[:min(len(rest), p.missing())]
		rest = rest[len(piece):]
		if len(p.held) < lengthBytes || len(piece) < p.missing() {
			p.held = append(p.held, piece...)
			continue
		}
		err := p.flush(p.held, piece)
		p.held = p.held[:0]
		if err != nil {
			return 0, err
		}
	}
	return len(b), nil
}

// missing says how many bytes make the packet that is held back whole, or its
// length where that is not known.
func (p *Packets) missing() int {
	if len(p.held) < lengthBytes {
		return lengthBytes - len(p.held)
	}
	return lengthBytes + int(binary.BigEndian.Uint32(p.held)) - len(p.held)
}

// flush writes a packet.
func (p *Packets) flush(start, rest []byte) error {
	const small = 4096 // one system call costs more than the copy
	if len(rest) <= small {
		start, rest = append(start, rest...), nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, err := p.writer.Write(start); err != nil {
		return err
	}
	if len(rest) == 0 {
		return nil
	}
	_, err := p.writer.Write(rest)
	return err
}

// Send writes a packet of ours.
func (p *Packets) Send(kind PacketType, id uint32, payload []byte) error {
	rest := 1 + idBytes + len(payload)
	if rest > maxRestBytes {
		return fmt.Errorf("send packet: %d bytes are more than %d", rest, maxRestBytes)
	}
	packet := make([]byte, 0, lengthBytes+rest)
	packet = binary.BigEndian.AppendUint32(packet, uint32(rest))
	packet = append(packet, byte(kind))
	packet = binary.BigEndian.AppendUint32(packet, id)
	return p.flush(append(packet, payload...), nil)
}

// unexpected is an end within a packet.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

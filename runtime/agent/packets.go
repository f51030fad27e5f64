package agent

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
)

// MaxChunk is the most data of a file in one packet, in bytes.
const MaxChunk = 128 << 10

// A packet is
//
//	length of the rest u32, id u32, length of the data u32; big endian
//	data
//	head
//
// where data is a piece of a file, or nothing, and head a FileRequest or a
// FileReply in JSON. The data comes first since what the head says of it is known
// last.
const (
	lengthBytes  = 4
	prefixBytes  = lengthBytes + 8
	maxRestBytes = 256 << 10
)

// Packets is a connection between the host and the helper for files in a
// session. Receive is for one caller at a time, Send for everyone.
type Packets struct {
	reader *bufio.Reader
	in     []byte // of Receive

	mu     sync.Mutex // one packet at a time to writer
	writer io.Writer
	out    []byte // of Send
}

// NewPackets returns the connection that reads from r and writes to w. Nothing is
// known of what is read, but that no packet is larger than 256 KiB.
func NewPackets(r io.Reader, w io.Writer) *Packets {
	return &Packets{reader: bufio.NewReader(r), writer: w}
}

// Receive returns the next packet. Its parts are the caller's until the next
// call. io.EOF is an end between two packets.
func (p *Packets) Receive() (id uint32, head, data []byte, err error) {
	var prefix [prefixBytes]byte
	if _, err := io.ReadFull(p.reader, prefix[:]); err != nil {
		return 0, nil, nil, err
	}
	rest := binary.BigEndian.Uint32(prefix[:])
	if rest < prefixBytes-lengthBytes || rest > maxRestBytes {
		return 0, nil, nil, fmt.Errorf("read packet: it claims a length of %d bytes", rest)
	}
	id = binary.BigEndian.Uint32(prefix[lengthBytes:])
	size := binary.BigEndian.Uint32(prefix[lengthBytes+4:])
	body := int(rest - (prefixBytes - lengthBytes))
	if size > MaxChunk || int(size) > body {
		return 0, nil, nil, fmt.Errorf("read packet: it claims %d bytes of data", size)
	}
	if cap(p.in) < body {
		p.in = make([]byte, body)
	}
	p.in = p.in[:body]
	if _, err := io.ReadFull(p.reader, p.in); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return 0, nil, nil, err
	}
	return id, p.in[size:], p.in[:size], nil
}

// Send sends a packet of at most MaxChunk bytes of data.
func (p *Packets) Send(id uint32, head any, data []byte) error {
	text, err := json.Marshal(head)
	if err != nil {
		return fmt.Errorf("send packet: %w", err)
	}
	rest := prefixBytes - lengthBytes + len(data) + len(text)
	if len(data) > MaxChunk || rest > maxRestBytes {
		return fmt.Errorf("send packet: %d bytes are more than %d", rest, maxRestBytes)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	out := binary.BigEndian.AppendUint32(p.out[:0], uint32(rest))
	out = binary.BigEndian.AppendUint32(out, id)
	out = binary.BigEndian.AppendUint32(out, uint32(len(data)))
	p.out = append(append(out, data...), text...)
	_, err = p.writer.Write(p.out)
	return err
}

package frame

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// HeaderLen is how many bytes a header has.
const HeaderLen = 13

// ErrProtocol is a packet that breaks its protocol.
var ErrProtocol = errors.New("protocol error")

// Header is what a packet begins with.
type Header struct {
	Kind                 uint8
	ID, Argument, Detail uint32
}

// Append appends the header to b.
func (h Header) Append(b []byte) []byte {
	b = append(b, h.Kind)
	b = binary.LittleEndian.AppendUint32(b, h.ID)
	b = binary.LittleEndian.AppendUint32(b, h.Argument)
	return binary.LittleEndian.AppendUint32(b, h.Detail)
}

// Parse takes apart a packet that may have up to most bytes. The body is part of the
// packet, and nil if there is none. An error wraps ErrProtocol.
func Parse(packet []byte, most int) (Header, []byte, error) {
	if len(packet) < HeaderLen || len(packet) > most {
		return Header{}, nil, fmt.Errorf("packet of %d bytes: %w", len(packet), ErrProtocol)
	}
	h := Header{
		Kind:     packet[0],
		ID:       binary.LittleEndian.Uint32(packet[1:]),
		Argument: binary.LittleEndian.Uint32(packet[5:]),
		Detail:   binary.LittleEndian.Uint32(packet[9:]),
	}
	if len(packet) == HeaderLen {
		return h, nil, nil
	}
	return h, packet[HeaderLen:], nil
}

package direct

import (
	"fmt"

	"codebeaker/runtime/agent/wire"
	"codebeaker/runtime/frame"
)

const (
	// MaxMessage bounds a packet, in bytes.
	MaxMessage = 32 << 10
	// MaxFDs bounds the descriptors of a packet.
	MaxFDs = 7
	// MaxRequest bounds a Request, in bytes.
	MaxRequest = wire.MaxStart + 4<<10
	// maxText bounds what Failed says, in bytes.
	maxText = 4 << 10
)

// Kind says what a message is.
type Kind uint8

// The kinds of messages.
const (
	Start Kind = iota + 1
	Started
	Failed
	Exited
	Forget
	Event
)

// InFile is Start's detail where the Request is in a file.
const InFile = 1

// Forked is Started's detail if the container's zygote forked the program.
const Forked = 1

// Message is a packet without its descriptors.
type Message struct {
	Kind     Kind
	ID       uint32
	Argument uint32
	Detail   uint32
	Body     []byte
}

// Fits says whether the message fits a packet.
func (m Message) Fits() bool { return frame.HeaderLen+len(m.Body) <= MaxMessage }

// Append appends the packet. What Failed says is cut where it is too long.
func (m Message) Append(b []byte) []byte {
	if m.Kind == Failed {
		m.Body = m.Body[:min(len(m.Body), maxText)]
	}
	b = frame.Header{Kind: uint8(m.Kind), ID: m.ID, Argument: m.Argument, Detail: m.Detail}.Append(b)
	return append(b, m.Body...)
}

// Parse takes a packet apart. The body is part of the packet. An error wraps
// frame.ErrProtocol.
func Parse(packet []byte) (Message, error) {
	h, body, err := frame.Parse(packet, MaxMessage)
	if err != nil {
		return Message{}, err
	}
	m := Message{Kind: Kind(h.Kind), ID: h.ID, Argument: h.Argument, Detail: h.Detail, Body: body}
	if !m.valid() {
		return Message{}, fmt.Errorf("message %d of program %d with %d, %d and %d bytes: %w",
			m.Kind, m.ID, m.Argument, m.Detail, len(m.Body), frame.ErrProtocol)
	}
	return m, nil
}

func (m Message) valid() bool {
	bare := m.Body == nil && m.Detail == 0
	switch m.Kind {
	case Start:
		if m.Detail == InFile {
			return m.Body == nil && m.Argument > 0 && m.Argument <= MaxRequest
		}
		return m.Detail == 0 && m.Argument > 0 && m.Argument == uint32(len(m.Body))
	case Started:
		return m.Body == nil && m.Detail <= Forked && m.Argument > 0
	case Failed:
		return m.Detail == 0 && len(m.Body) <= maxText
	case Exited:
		return m.Body == nil
	case Forget:
		return bare && m.Argument == 0
	case Event:
		return m.ID == 0 && m.Argument == 0 && m.Detail == 0 && m.Body != nil
	}
	return false
}

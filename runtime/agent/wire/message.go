package wire

import (
	"fmt"

	"codebeaker/runtime/frame"
)

const (
	// Version is what Hello says.
	Version = 4
	// MaxMessage bounds a packet, in bytes.
	MaxMessage = 32 << 10
	// MaxFDs bounds the descriptors of a packet.
	MaxFDs = 8
	// MaxStart bounds the body of Start, in bytes: twice what Linux takes for
	// arguments and environment.
	MaxStart = 4 << 20
)

// Kind says what a message is.
type Kind uint8

// The kinds of messages.
const (
	Hello Kind = iota + 1
	Start
	Ready
	Failed
	Exited
)

// Stage says what of starting a program failed.
type Stage uint32

// The stages, in their order. The last two come after the word to go.
const (
	StagePrepare Stage = iota + 1
	StageTerminal
	StageFork
	StageCgroup
	StageStreams
	StageLimits
	StageUser
	StageFilter
	StageDirectory
	StageExec
	lastStage = StageExec
)

// InFile is Start's detail where the body is in a file.
const InFile = 1

// Forked is Ready's detail where the program was forked from the zygote.
const Forked = 1

// Message is a packet without its body and descriptors.
type Message struct {
	Kind     Kind
	ID       uint32
	Argument uint32
	Detail   uint32
}

// Append appends the message's header.
func (m Message) Append(b []byte) []byte {
	return frame.Header{Kind: uint8(m.Kind), ID: m.ID, Argument: m.Argument, Detail: m.Detail}.Append(b)
}

// Parse takes a packet apart. The body is part of the packet, and nil where
// there is none. An error wraps frame.ErrProtocol.
func Parse(packet []byte) (Message, []byte, error) {
	h, body, err := frame.Parse(packet, MaxMessage)
	if err != nil {
		return Message{}, nil, err
	}
	m := Message{Kind: Kind(h.Kind), ID: h.ID, Argument: h.Argument, Detail: h.Detail}
	if err := m.check(len(body)); err != nil {
		return Message{}, nil, err
	}
	return m, body, nil
}

func (m Message) check(body int) error {
	wrong := func() error {
		return fmt.Errorf("message %d of program %d with %d, %d and %d bytes: %w", m.Kind, m.ID, m.Argument, m.Detail, body, frame.ErrProtocol)
	}
	if m.Kind == Start {
		inline := m.Detail == 0 && m.Argument > 0 && m.Argument == uint32(body)
		inFile := m.Detail == InFile && m.Argument > 0 && m.Argument <= MaxStart && body == 0
		if m.ID == 0 || !inline && !inFile {
			return wrong()
		}
		return nil
	}
	var ok bool
	switch m.Kind {
	case Hello:
		ok = m.ID == 0 && m.Detail == 0
	case Ready:
		ok = m.ID != 0 && m.Argument == 0 && m.Detail <= Forked
	case Failed:
		ok = m.ID != 0 && isFailure(m.Argument, m.Detail)
	case Start: // above
	case Exited:
		ok = m.ID != 0 && m.Argument <= 0xffff
	}
	if !ok || body != 0 {
		return wrong()
	}
	return nil
}

func isFailure(stage, errno uint32) bool {
	return stage >= uint32(StagePrepare) && stage <= uint32(lastStage) && errno > 0 && errno < 4096
}

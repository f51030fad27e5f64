package direct

import (
	"encoding/binary"
	"fmt"

	"codebeaker/runtime/agent/wire"
	"codebeaker/runtime/frame"
)

// maxID bounds the id of a container and that of an exec, in bytes.
const maxID = 256

// Request is what Start asks for.
type Request struct {
	// Container is the container's id, and ID that of the exec, of which there is
	// none with this id in the container.
	Container, ID string
	// OOMScore is the score of the program for the OOM killer.
	OOMScore int16
	// Raw asks for the status as wait(2) gives it, and not as shells do.
	Raw bool
	// Program is the program. The shim sees to its cgroup.
	Program wire.Program
}

// Append appends the request, or returns an error that wraps frame.ErrProtocol where it
// is none that ParseRequest takes.
func (r *Request) Append(b []byte) ([]byte, error) {
	for _, id := range []string{r.Container, r.ID} {
		if len(id) == 0 || len(id) > maxID {
			return nil, fmt.Errorf("request with an id of %d bytes: %w", len(id), frame.ErrProtocol)
		}
		b = binary.LittleEndian.AppendUint16(b, uint16(len(id)))
		b = append(b, id...)
	}
	b = binary.LittleEndian.AppendUint16(b, uint16(r.OOMScore))
	raw := byte(0)
	if r.Raw {
		raw = 1
	}
	return r.Program.Append(append(b, raw))
}

// ParseRequest reads a request. An error wraps frame.ErrProtocol.
func ParseRequest(b []byte) (*Request, error) {
	r := &Request{}
	for _, id := range []*string{&r.Container, &r.ID} {
		if len(b) < 2 {
			return nil, fmt.Errorf("request without its ids: %w", frame.ErrProtocol)
		}
		n := int(binary.LittleEndian.Uint16(b))
		if b = b[2:]; n == 0 || n > maxID || n > len(b) {
			return nil, fmt.Errorf("request with an id of %d bytes: %w", n, frame.ErrProtocol)
		}
		*id, b = string(b[:n]), b[n:]
	}
	if len(b) < 3 || b[2] > 1 {
		return nil, fmt.Errorf("request without its program: %w", frame.ErrProtocol)
	}
	r.OOMScore, r.Raw = int16(binary.LittleEndian.Uint16(b)), b[2] == 1
	p, err := wire.ParseProgram(b[3:])
	if err != nil {
		return nil, err
	}
	r.Program = *p
	return r, nil
}

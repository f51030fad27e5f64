package wire

import (
	"encoding/binary"
	"fmt"
	"strings"

	"codebeaker/runtime/frame"
)

const (
	maxStrings = 1 << 16
	maxGroups  = 1 << 10
	maxRlimits = 32
	maxTasks   = 2
)

// Program is the body of Start: what to start.
type Program struct {
	// Terminal says that the agent opens a terminal for the program and sends
	// its other side with Ready; there are no streams in Start then. Otherwise
	// they are the first three descriptors.
	Terminal bool
	// Rows and Columns are the terminal's size, in characters.
	Rows, Columns uint16
	// Line says that a program that is not found and has no arguments may be a
	// line of shell, which a shell of the image then runs.
	Line bool
	// Soft says that a program that cannot be started is one that exits.
	Soft bool
	// Cgroup says that the next descriptor is a directory of the version 2 tree
	// in which the process is made.
	Cgroup bool
	// Zygote says that the program becomes the container's zygote: Args are an
	// interpreter and the modules that it loads, and the agent tells it the rest.
	// It is root.
	Zygote bool
	// Fork says that the zygote may make the program's process, where that comes
	// to the same.
	Fork bool
	// Tasks is how many descriptors follow that are open files "tasks" of
	// version 1 hierarchies, which the process enters.
	Tasks uint8

	UID, GID uint32
	Groups   []uint32
	Umask    uint32
	Rlimits  []Rlimit
	// Dir is the working directory.
	Dir string
	// Args are the program, looked up in the PATH of Env where it has no slash,
	// and its arguments. Env is the environment, as KEY=value; where it has
	// no HOME, the agent adds that of the container's /etc/passwd.
	Args, Env []string
}

// Rlimit is a limit of setrlimit(2).
type Rlimit struct {
	Resource   uint32
	Soft, Hard uint64
}

// FDs returns how many descriptors a Start has beside its file, the gate
// included.
func (p *Program) FDs() int {
	n := int(p.Tasks) + 1
	if !p.Terminal {
		n += 3
	}
	if p.Cgroup {
		n++
	}
	return n
}

const (
	flagTerminal = 1 << iota
	flagLine
	flagSoft
	flagCgroup
	flagZygote
	flagFork
	allFlags = flagTerminal | flagLine | flagSoft | flagCgroup | flagZygote | flagFork
)

// Append appends the body, or returns an error that wraps frame.ErrProtocol where it
// is none that ParseProgram takes.
func (p *Program) Append(b []byte) ([]byte, error) {
	var flags byte
	for bit, set := range map[byte]bool{
		flagTerminal: p.Terminal, flagLine: p.Line, flagSoft: p.Soft, flagCgroup: p.Cgroup, flagZygote: p.Zygote, flagFork: p.Fork,
	} {
		if set {
			flags |= bit
		}
	}
	start := len(b)
	le := binary.LittleEndian
	b = append(b, flags, p.Tasks)
	b = le.AppendUint16(b, p.Rows)
	b = le.AppendUint16(b, p.Columns)
	b = le.AppendUint32(b, p.UID)
	b = le.AppendUint32(b, p.GID)
	b = le.AppendUint32(b, p.Umask)
	b = le.AppendUint32(b, uint32(len(p.Groups)))
	for _, g := range p.Groups {
		b = le.AppendUint32(b, g)
	}
	b = le.AppendUint32(b, uint32(len(p.Rlimits)))
	for _, l := range p.Rlimits {
		b = le.AppendUint32(b, l.Resource)
		b = le.AppendUint64(b, l.Soft)
		b = le.AppendUint64(b, l.Hard)
	}
	b = appendString(b, p.Dir)
	for _, list := range [][]string{p.Args, p.Env} {
		b = le.AppendUint32(b, uint32(len(list)))
		for _, s := range list {
			b = appendString(b, s)
		}
	}
	if err := p.check(len(b) - start); err != nil {
		return nil, err
	}
	return b, nil
}

func appendString(b []byte, s string) []byte {
	b = binary.LittleEndian.AppendUint32(b, uint32(len(s)))
	return append(b, s...)
}

// ParseProgram reads a body. An error wraps frame.ErrProtocol.
func ParseProgram(b []byte) (*Program, error) {
	r := reader{b: b}
	p := &Program{}
	flags := r.u8()
	p.Terminal, p.Line, p.Soft, p.Cgroup = flags&flagTerminal != 0, flags&flagLine != 0, flags&flagSoft != 0, flags&flagCgroup != 0
	p.Zygote, p.Fork = flags&flagZygote != 0, flags&flagFork != 0
	p.Tasks, p.Rows, p.Columns = r.u8(), r.u16(), r.u16()
	p.UID, p.GID, p.Umask = r.u32(), r.u32(), r.u32()
	for range r.count(maxGroups, 4) {
		p.Groups = append(p.Groups, r.u32())
	}
	for range r.count(maxRlimits, 20) {
		p.Rlimits = append(p.Rlimits, Rlimit{Resource: r.u32(), Soft: r.u64(), Hard: r.u64()})
	}
	p.Dir = r.str()
	p.Args = r.list()
	p.Env = r.list()
	if r.bad || len(r.b) > 0 || flags&^allFlags != 0 {
		return nil, fmt.Errorf("program of %d bytes: %w", len(b), frame.ErrProtocol)
	}
	if err := p.check(len(b)); err != nil {
		return nil, err
	}
	return p, nil
}

// check says whether a program of this many bytes is within all bounds.
func (p *Program) check(size int) error {
	fail := func(what string) error { return fmt.Errorf("program with %s: %w", what, frame.ErrProtocol) }
	switch {
	case size > MaxStart:
		return fail(fmt.Sprintf("%d bytes of arguments and environment; at most %d can be", size, MaxStart))
	case len(p.Groups) > maxGroups || len(p.Rlimits) > maxRlimits || p.Tasks > maxTasks || p.Umask > 0o777:
		return fail("attributes out of bounds")
	case len(p.Args) == 0:
		return fail("no name")
	case p.Zygote && (p.Fork || p.Terminal || p.Soft || p.Line || p.UID != 0):
		return fail("what a zygote has not")
	case len(p.Args) > maxStrings || len(p.Env) > maxStrings:
		return fail("too many arguments or variables")
	}
	for _, list := range [][]string{p.Args, p.Env, {p.Dir}} {
		for _, s := range list {
			if strings.IndexByte(s, 0) >= 0 {
				return fail("a NUL in a text")
			}
		}
	}
	return nil
}

// reader reads values off a slice. Past its end it is bad, and gives zeros.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) take(n int) []byte {
	if r.bad || len(r.b) < n {
		r.bad = true
		return make([]byte, min(n, 8))
	}
	taken := r.b[:n]
	r.b = r.b[n:]
	return taken
}

func (r *reader) u8() uint8   { return r.take(1)[0] }
func (r *reader) u16() uint16 { return binary.LittleEndian.Uint16(r.take(2)) }
func (r *reader) u32() uint32 { return binary.LittleEndian.Uint32(r.take(4)) }
func (r *reader) u64() uint64 { return binary.LittleEndian.Uint64(r.take(8)) }

// count reads how many elements follow, of at least size bytes each.
func (r *reader) count(most, size int) int {
	n := r.u32()
	if uint64(n) > uint64(most) || uint64(n)*uint64(size) > uint64(len(r.b)) {
		r.bad = true
		return 0
	}
	return int(n)
}

func (r *reader) str() string {
	n := r.count(MaxStart, 1)
	if r.bad {
		return ""
	}
	return string(r.take(n))
}

func (r *reader) list() []string {
	n := r.count(maxStrings, 4)
	if n == 0 {
		return nil
	}
	list := make([]string, 0, n)
	for range n {
		list = append(list, r.str())
	}
	return list
}

package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"codebeaker/runtime/frame"
)

func full() *Program {
	return &Program{
		Terminal: true, Rows: 24, Columns: 80, Line: true, Soft: true, Cgroup: true, Tasks: 1,
		UID: 1000, GID: 1001, Groups: []uint32{5, 1001}, Umask: 0o22,
		Rlimits: []Rlimit{{Resource: 7, Soft: 1024, Hard: 1 << 40}},
		Dir:     "/workspace", Args: []string{"echo", "", "ü"}, Env: []string{"A=b"},
	}
}

func TestProgramComesBackAsItWasSent(t *testing.T) {
	for _, p := range []*Program{full(), {Args: []string{"x"}}, {Args: []string{"x"}, Fork: true}, {Args: []string{"x"}, Zygote: true}} {
		b, err := p.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		got, err := ParseProgram(b)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, p) {
			t.Errorf("got %+v; sent %+v", got, p)
		}
	}
}

func TestMessagesComeBackAsTheyWereSent(t *testing.T) {
	for _, m := range []Message{
		{Kind: Hello, Argument: Version},
		{Kind: Start, ID: 1, Argument: 2},
		{Kind: Start, ID: 1, Argument: MaxStart, Detail: InFile},
		{Kind: Ready, ID: 1 << 31},
		{Kind: Ready, ID: 3, Detail: Forked},
		{Kind: Failed, ID: 3, Argument: uint32(StageExec), Detail: 2},
		{Kind: Exited, ID: 4, Argument: 0x8b, Detail: 4096},
	} {
		packet := m.Append(nil)
		if m.Kind == Start && m.Detail == 0 {
			packet = append(packet, "ab"...)
		}
		got, body, err := Parse(packet)
		if err != nil || got != m || (body != nil) != (len(packet) > frame.HeaderLen) {
			t.Errorf("got %+v, %q, %v; sent %+v", got, body, err, m)
		}
	}
}

func TestWhatBreaksTheProtocolIsRefused(t *testing.T) {
	for name, packet := range map[string][]byte{
		"nothing":                  nil,
		"half a header":            make([]byte, frame.HeaderLen-1),
		"an unknown kind":          Message{Kind: Exited + 1, ID: 1}.Append(nil),
		"kind 0":                   Message{ID: 1}.Append(nil),
		"a body where none is":     append(Message{Kind: Ready, ID: 1}.Append(nil), 1),
		"no id":                    Message{Kind: Ready}.Append(nil),
		"a length that is another": append(Message{Kind: Start, ID: 1, Argument: 9}.Append(nil), 1),
		"a file that is too large": Message{Kind: Start, ID: 1, Argument: MaxStart + 1, Detail: InFile}.Append(nil),
		"a body and a file":        append(Message{Kind: Start, ID: 1, Argument: 1, Detail: InFile}.Append(nil), 1),
		"more than forked":         Message{Kind: Ready, ID: 1, Detail: Forked + 1}.Append(nil),
		"no such stage":            Message{Kind: Failed, ID: 1, Argument: uint32(lastStage) + 1, Detail: 2}.Append(nil),
		"a failure without errno":  Message{Kind: Failed, ID: 1, Argument: uint32(StageFork)}.Append(nil),
		"a status of 17 bits":      Message{Kind: Exited, ID: 1, Argument: 1 << 16}.Append(nil),
		"a packet too large":       append(Message{Kind: Start, ID: 1, Argument: MaxMessage}.Append(nil), make([]byte, MaxMessage)...),
	} {
		if m, _, err := Parse(packet); !errors.Is(err, frame.ErrProtocol) {
			t.Errorf("%s: got %+v, %v", name, m, err)
		}
	}
}

func TestProgramOutOfBoundsIsRefusedOnBothSides(t *testing.T) {
	for name, change := range map[string]func(*Program){
		"no name":            func(p *Program) { p.Args = nil },
		"a NUL":              func(p *Program) { p.Env = []string{"A=\x00"} },
		"too many variables": func(p *Program) { p.Env = make([]string, maxStrings+1) },
		"too many groups":    func(p *Program) { p.Groups = make([]uint32, maxGroups+1) },
		"too many limits":    func(p *Program) { p.Rlimits = make([]Rlimit, maxRlimits+1) },
		"too many cgroups":   func(p *Program) { p.Tasks = maxTasks + 1 },
		"a zygote of a user": func(p *Program) { *p = Program{Args: []string{"x"}, Zygote: true, UID: 1} },
		"a forked zygote":    func(p *Program) { *p = Program{Args: []string{"x"}, Zygote: true, Fork: true} },
		"a mask of more":     func(p *Program) { p.Umask = 0o1000 },
		"too many bytes":     func(p *Program) { p.Args = []string{strings.Repeat("x", MaxStart)} },
	} {
		p := full()
		change(p)
		if _, err := p.Append(nil); !errors.Is(err, frame.ErrProtocol) {
			t.Errorf("%s: sent, %v", name, err)
		}
	}
	b, err := full().Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	for n := range b {
		if _, err := ParseProgram(b[:n]); !errors.Is(err, frame.ErrProtocol) {
			t.Fatalf("the first %d bytes of %d were taken: %v", n, len(b), err)
		}
	}
	if _, err := ParseProgram(append(slices.Clone(b), 0)); !errors.Is(err, frame.ErrProtocol) {
		t.Errorf("a byte too many was taken: %v", err)
	}
	flags := slices.Clone(b)
	flags[0] |= 1 << 7
	if _, err := ParseProgram(flags); !errors.Is(err, frame.ErrProtocol) {
		t.Errorf("an unknown flag was taken: %v", err)
	}
}

// The agent reads these.
func FuzzProgram(f *testing.F) {
	b, err := full().Append(nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := ParseProgram(b)
		if err != nil {
			return
		}
		again, err := p.Append(nil)
		if err != nil || !bytes.Equal(again, b) {
			t.Errorf("%x reads as %+v, which is %x, %v", b, p, again, err)
		}
	})
}

func TestReportsAreReadAsTheyAre(t *testing.T) {
	packet := func(stage, errno uint32) []byte {
		return binary.NativeEndian.AppendUint32(binary.NativeEndian.AppendUint32(nil, stage), errno)
	}
	for name, tc := range map[string]struct {
		packet []byte
		want   Report
		wrong  bool
	}{
		"waits":         {packet: packet(0, 0)},
		"failed":        {packet: packet(uint32(StageExec), 2), want: Report{StageExec, unix.ENOENT}},
		"nothing":       {wrong: true},
		"too short":     {packet: make([]byte, ReportLen-1), wrong: true},
		"too long":      {packet: make([]byte, ReportLen+1), wrong: true},
		"no such stage": {packet: packet(uint32(lastStage)+1, 2), wrong: true},
		"no error":      {packet: packet(uint32(StageExec), 0), wrong: true},
		"no such error": {packet: packet(uint32(StageExec), 4096), wrong: true},
		"of no stage":   {packet: packet(0, 2), wrong: true},
	} {
		got, err := ParseReport(tc.packet)
		if got != tc.want || tc.wrong != errors.Is(err, frame.ErrProtocol) {
			t.Errorf("%s: got %+v, %v", name, got, err)
		}
	}
}

// Both sides read these.
func FuzzMessage(f *testing.F) {
	f.Add(Message{Kind: Exited, ID: 4, Argument: 0x8b}.Append(nil))
	f.Add(append(Message{Kind: Start, ID: 1, Argument: 2}.Append(nil), 1, 2))
	f.Fuzz(func(t *testing.T, packet []byte) {
		m, body, err := Parse(packet)
		if err == nil && !bytes.Equal(append(m.Append(nil), body...), packet) {
			t.Errorf("%x reads as %+v, %x", packet, m, body)
		}
	})
}

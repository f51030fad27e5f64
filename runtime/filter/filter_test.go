package filter

import (
	"bytes"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
)

func TestProgramsComeBackFromTheirText(t *testing.T) {
	for _, n := range []int{1, 1263, maxInstructions} {
		p := Program(bytes.Repeat([]byte{1, 2, 3, 4, 5, 6, 7, 8}, n))
		text, err := p.Text()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := Parse(text); err != nil || !bytes.Equal(got, p) {
			t.Errorf("%d instructions: %d bytes, %v", n, len(got), err)
		}
	}
}

func TestWhatIsNoProgramIsRefused(t *testing.T) {
	for name, p := range map[string]Program{
		"empty": {}, "half an instruction": make(Program, 12), "too long": make(Program, (maxInstructions+1)*instructionLen), "a bomb": make(Program, 64<<20),
	} {
		text, err := p.Text()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Parse(text); !errdefs.IsInvalidArgument(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, text := range []string{"", "%", "AAAA", strings.Repeat("A", 1000)} {
		if _, err := Parse(text); !errdefs.IsInvalidArgument(err) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

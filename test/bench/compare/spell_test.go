package compare

import (
	"testing"
	"time"
)

func TestIdleTimeIsThatOfTheKernel(t *testing.T) {
	if d, err := parseIdle("cpu  10 20 30 400 5 6 7 8 0 0"); err != nil || d != 4050*time.Millisecond {
		t.Errorf("got %s, %v", d, err)
	}
	for _, line := range []string{"", "cpu 1 2 3", "cpu0 1 2 3 4 5 6", "cpu 1 2 3 x 5 6"} {
		if d, err := parseIdle(line); err == nil {
			t.Errorf("%q is %s", line, d)
		}
	}
	s, err := spelled(func() { <-time.After(50 * time.Millisecond) })
	if err != nil || s.took < 50*time.Millisecond || s.idle < 0 || s.idle > s.took+20*time.Millisecond {
		t.Errorf("a wait of 50 ms: %+v, %v", s, err)
	}
}

func TestMeanOfSpells(t *testing.T) {
	took, idle := meanSpell([]spell{{10 * time.Millisecond, 0}, {30 * time.Millisecond, 10 * time.Millisecond}})
	if took != 20 || idle != 5 {
		t.Errorf("got %g and %g ms", took, idle)
	}
	if took, idle := meanSpell(nil); took != 0 || idle != 0 {
		t.Errorf("of none: %g and %g ms", took, idle)
	}
}

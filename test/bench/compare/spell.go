package compare

import (
	"fmt"
	"os"
	goruntime "runtime"
	"strconv"
	"strings"
	"time"
)

// spell is how long a burst took, and for how long of that the processors of the
// machine had nothing to do, on average of them.
type spell struct{ took, idle time.Duration }

// spelled measures f so. The kernel counts idle time in steps of 10 ms, so that
// only many spells together tell something.
func spelled(f func()) (spell, error) {
	before, err := idleTime()
	if err != nil {
		return spell{}, err
	}
	began := time.Now()
	f()
	took := time.Since(began)
	after, err := idleTime()
	return spell{took, (after - before) / time.Duration(goruntime.NumCPU())}, err
}

// idleTime is how long all processors together had nothing to do since the
// machine was started.
func idleTime() (time.Duration, error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	line, _, _ := strings.Cut(string(text), "\n")
	return parseIdle(line)
}

// parseIdle reads the first line of /proc/stat (proc_stat(5)), whose unit is a
// hundredth of a second.
func parseIdle(line string) (time.Duration, error) {
	fields := strings.Fields(line)
	if len(fields) < 6 || fields[0] != "cpu" {
		return 0, fmt.Errorf("read idle time: /proc/stat begins with %.80q", line)
	}
	var sum int64
	for _, field := range fields[4:6] { // idle, iowait
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("read idle time: %w", err)
		}
		sum += n
	}
	return time.Duration(sum) * 10 * time.Millisecond, nil
}

// meanSpell returns the mean of spells, in milliseconds; zeros where there are none.
func meanSpell(spells []spell) (took, idle float64) {
	for _, s := range spells {
		took += milliseconds(s.took) / float64(len(spells))
		idle += milliseconds(s.idle) / float64(len(spells))
	}
	return took, idle
}

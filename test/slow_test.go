package test

import (
	"os"
	"strconv"
	"time"
)

// slowdown is how many times slower than on an ordinary machine programs run
// here: $CODEBEAKER_TEST_SLOWDOWN, which the virtual machine sets.
var slowdown = func() int {
	if n, err := strconv.Atoi(os.Getenv("CODEBEAKER_TEST_SLOWDOWN")); err == nil && n > 0 {
		return n
	}
	return 1
}()

// patience is how long a test waits for what should happen soon. It is long,
// because it is only waited for by tests that fail.
var patience = time.Duration(slowdown) * 30 * time.Second

// scaled returns the seconds that what takes d on an ordinary machine may take
// here.
func scaled(d time.Duration) float64 { return d.Seconds() * float64(slowdown) }

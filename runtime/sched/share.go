package sched

import (
	"errors"
	"os"
	"time"
)

// slack is how much later the monitor of a server or a shim may be.
const slack = 500 * time.Microsecond

// Share does all that package sched has for a server or a shim. It goes on past
// what fails, and returns that.
func Share() error {
	LeaveProcessors()
	_, err := ShortenSlices()
	return errors.Join(err, SlowMonitor(os.Getpid(), slack))
}

package session

import "time"

// Observer learns what a Manager does, for metrics. Many goroutines call its methods
// at the same time. The methods return at once and do not call the Manager.
type Observer interface {
	// SessionCreated reports a session that takes commands. pooled says that it came
	// from the warm pool and was not started for the request.
	SessionCreated(language string, pooled bool, t Timings)
	// SessionClosed reports a session that is removed. answered is the time from the
	// decision to close it until all programs had ended, when Close answers. gone is
	// the time from that decision until everything was removed.
	SessionClosed(language string, reason Reason, answered, gone time.Duration)
	// ExecutionEnded reports an execution that is done. Its reason is EndFailed if the
	// program never ran or could not be followed.
	ExecutionEnded(language string, reason EndReason, duration time.Duration)
	// ProgramRan reports the end of a program that its session's zygote could have
	// forked. forked says that the zygote did.
	ProgramRan(language string, forked bool)
}

// EndFailed is the reason of an execution that has no result. Only an Observer sees
// it; the wire does not have it.
const EndFailed EndReason = "failed"

// nobody is the Observer of a Manager that has none.
type nobody struct{}

func (nobody) SessionCreated(string, bool, Timings)                       {}
func (nobody) SessionClosed(string, Reason, time.Duration, time.Duration) {}
func (nobody) ExecutionEnded(string, EndReason, time.Duration)            {}
func (nobody) ProgramRan(string, bool)                                    {}

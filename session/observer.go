package session

import "time"

// Observer is told what a Manager does, for metrics. Its methods are called
// where things happen, at the same time from many goroutines; they return at
// once and do not call the Manager.
type Observer interface {
	// SessionCreated tells of a session that takes commands. pooled says that
	// it was claimed from the warm pool and not started for the request.
	SessionCreated(language string, pooled bool, t Timings)
	// SessionClosed tells of one of which nothing is left: answered is from the
	// decision to close it until what ran in it had ended, which is when Close
	// answers, gone until all of it was removed.
	SessionClosed(language string, reason Reason, answered, gone time.Duration)
	// ExecutionEnded tells of an execution that is done. One whose program never
	// ran or could not be followed has EndFailed for a reason.
	ExecutionEnded(language string, reason EndReason, duration time.Duration)
	// ProgramRan tells of the end of a program that its session's zygote could
	// have forked: forked says that it did, and the program was not started.
	ProgramRan(language string, forked bool)
}

// EndFailed is told to an Observer of an execution that has no result. It is
// not on the wire.
const EndFailed EndReason = "failed"

// Stage is one of the things that creating a session takes. The texts are those
// of the wire.
type Stage string

const (
	// StageResolve finds the language's image.
	StageResolve Stage = "resolve"
	// StageClaim takes a member from the warm pool.
	StageClaim Stage = "claim"
	// StageSnapshot makes the root filesystem.
	StageSnapshot Stage = "snapshot"
	// StageRecord writes the container's record, or the claim into it.
	StageRecord Stage = "record"
	// StageMount mounts the root filesystem. It and the next two are in StageTask
	// where another runtime than our own does them.
	StageMount Stage = "mount"
	// StageRunc makes namespaces, mounts and cgroups, and starts pid 1 in them.
	StageRunc Stage = "runc"
	// StageAgent has pid 1 ready to start programs.
	StageAgent Stage = "agent"
	// StageTask has a shim, and what else of the container is made by containerd.
	StageTask Stage = "task"
	// StageLimits writes the limits that were asked for.
	StageLimits Stage = "limits"
	// StageVerify reads the limits back from the kernel.
	StageVerify Stage = "verify"
	// StageDivide makes the cgroup ready for executions.
	StageDivide Stage = "divide"
	// StageStart starts pid 1.
	StageStart Stage = "start"
)

// Timings say what creating a session took.
type Timings struct {
	// Pooled says that the session was claimed from the warm pool.
	Pooled bool
	Total  time.Duration
	// Stages are in the order in which they were done. What is between them is
	// in Total alone.
	Stages []StageTime
}

// StageTime is what one stage took.
type StageTime struct {
	Stage Stage
	Took  time.Duration
}

// Stats count what a Manager has at one moment, and what its pool did so far.
type Stats struct {
	// Sessions counts those that List shows, by state.
	Sessions map[State]int
	// MaxSessions is how many there may be.
	MaxSessions int
	// Queued is how many executions wait for a session of their own.
	Queued int
	// Removing is how many containers are being removed behind an answer, for the
	// first time.
	Removing int
	// RemovalsWaiting is how many could not be removed and are tried again, and
	// RemovalFailures counts the tries that failed so far.
	RemovalsWaiting int
	RemovalFailures uint64
	// Pool has the languages that have or had members, by name.
	Pool []PoolStats
}

// PoolStats count the members of the warm pool of one language.
type PoolStats struct {
	Language string
	// Ready members can be claimed; Starting ones cannot yet.
	Ready, Starting int
	// Target is how many there should be.
	Target int
	// Claims and Misses count creates that found a member, and those that found
	// none, since the start.
	Claims, Misses uint64
}

// nobody is the Observer where there is none.
type nobody struct{}

func (nobody) SessionCreated(string, bool, Timings)                       {}
func (nobody) SessionClosed(string, Reason, time.Duration, time.Duration) {}
func (nobody) ExecutionEnded(string, EndReason, time.Duration)            {}
func (nobody) ProgramRan(string, bool)                                    {}

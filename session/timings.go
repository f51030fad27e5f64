package session

import "time"

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
	// StageMount mounts the root filesystem. It and the next two are part of StageTask
	// if the runtime is not our own.
	StageMount Stage = "mount"
	// StageRunc makes namespaces, mounts and cgroups, and starts pid 1 in them.
	StageRunc Stage = "runc"
	// StageAgent lasts until pid 1 can start programs.
	StageAgent Stage = "agent"
	// StageTask starts the shim and does the rest of what containerd does for a task.
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

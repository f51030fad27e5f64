package compare

import "time"

// Measure is what is timed.
type Measure string

// The measures, in the order of reports. A sandbox is created until it runs
// programs; Close is until that is answered, Gone until its processes, cgroups,
// mounts and bookkeeping are gone, both from when it is asked to close.
const (
	Create     Measure = "create"
	Echo       Measure = "echo"
	Print      Measure = "python print"
	WriteSmall Measure = "write 1 KiB"
	ReadSmall  Measure = "read 1 KiB"
	WriteLarge Measure = "write 64 MiB"
	ReadLarge  Measure = "read 64 MiB"
	Close      Measure = "close"
	Gone       Measure = "gone"
)

func measures() []Measure {
	return []Measure{Create, Echo, Print, WriteSmall, ReadSmall, WriteLarge, ReadLarge, Close, Gone}
}

const (
	smallBytes = 1 << 10
	largeBytes = 64 << 20
)

// Plan says how much is measured.
type Plan struct {
	// Rounds is how often everything is gone through.
	Rounds int
	// AtOnce are how many are asked for at one time in bursts. The largest is also
	// how many are staggered.
	AtOnce []int
	// Gap is between two that are staggered.
	Gap time.Duration
	// Burst is how many sandboxes are created in one burst at the end; none
	// where 0.
	Burst int
	// Idle is how many sandboxes are left idle to measure their memory; none
	// where 0. IdleOthers bounds it for subjects that are not ours.
	Idle, IdleOthers int
	// Creates, Programs and Files are how many of each a round has one after
	// another. Large files are one a round.
	Creates, Programs, Files int
	// Bursts is how many bursts of programs and files a round has of each size.
	Bursts int
}

// most returns the largest of AtOnce, 1 where there is none.
func (p Plan) most() int {
	most := 1
	for _, n := range p.AtOnce {
		most = max(most, n)
	}
	return most
}

// DefaultPlan takes about five minutes on two processors.
func DefaultPlan() Plan {
	return Plan{
		Rounds: 3, AtOnce: []int{4, 16, 30}, Gap: 20 * time.Millisecond, Burst: 100, Idle: 100, IdleOthers: 30,
		Creates: 8, Programs: 25, Files: 25, Bursts: 3,
	}
}

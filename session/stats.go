package session

// Stats count what a Manager has now, and what its pool has done so far.
type Stats struct {
	// Sessions counts those that List shows, by state.
	Sessions map[State]int
	// MaxSessions is how many there may be.
	MaxSessions int
	// Queued is how many executions wait for a session of their own.
	Queued int
	// Removing is how many containers are being removed for the first time, after their
	// close was answered.
	Removing int
	// RemovalsWaiting is how many could not be removed and will be tried again.
	// RemovalFailures counts the tries that have failed.
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

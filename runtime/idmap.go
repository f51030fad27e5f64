package runtime

import (
	"fmt"
	"sync"

	"github.com/containerd/errdefs"
)

const (
	// IDRangeSize is how many user and group ids a container has.
	IDRangeSize = 1 << 16
	// idRangeBase lies in the range that systemd leaves to container managers
	// (524288 to 1879048191), above what distributions hand out in /etc/subuid.
	// https://systemd.io/UIDS-GIDS/
	idRangeBase = 1 << 30
	idRanges    = 8192
)

// IDRange is a range of host ids that a container's user namespace maps to its
// own ids, from 0 on.
type IDRange struct {
	// HostID is the first id on the host.
	HostID uint32
	// Size is how many ids the range has.
	Size uint32
}

// IDPool hands out ranges that no two containers share at one time. It is safe
// for concurrent use.
type IDPool struct {
	mu   sync.Mutex
	used [idRanges]bool
	next int
}

// Take returns a range that nobody has, or errdefs.ErrResourceExhausted. Ranges
// are handed out in turn, so that one that was given back rests the longest.
func (p *IDPool) Take() (IDRange, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range idRanges {
		n := (p.next + i) % idRanges
		if !p.used[n] {
			p.used[n] = true
			p.next = n + 1
			return IDRange{HostID: uint32(idRangeBase + n*IDRangeSize), Size: IDRangeSize}, nil
		}
	}
	return IDRange{}, fmt.Errorf("take user id range: all %d are in use: %w", idRanges, errdefs.ErrResourceExhausted)
}

// Return gives a range back, once nothing of its container is left.
func (p *IDPool) Return(r IDRange) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.used[(int(r.HostID)-idRangeBase)/IDRangeSize] = false
}

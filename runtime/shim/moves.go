package shim

import (
	"sync"
	"time"
)

// readyEvery is how often the kernel is made ready for moves, in less time than
// it stays so.
const readyEvery = 8 * time.Millisecond

// moves keeps the kernel ready to move processes between cgroups while any
// container is being made, beside all that comes before runc moves its pid 1.
// There is one for all of a shim, as every try keeps the host's forks waiting for
// a moment.
type moves struct {
	// ready makes the kernel ready for a while. An error costs time alone.
	ready func() error

	mu    sync.Mutex
	users int
	stop  chan struct{} // where there are users
	loop  sync.WaitGroup
}

// keep begins to keep the kernel ready, and goes on until done is called.
func (m *moves) keep() (done func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.users++; m.users == 1 {
		stop := make(chan struct{})
		m.stop = stop
		m.loop.Go(func() { m.run(stop) })
	}
	return m.end
}

func (m *moves) end() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.users--; m.users == 0 {
		close(m.stop)
	}
}

func (m *moves) run(stop <-chan struct{}) {
	tick := time.NewTicker(readyEvery)
	defer tick.Stop()
	for {
		_ = m.ready()
		select {
		case <-tick.C:
		case <-stop:
			return
		}
	}
}

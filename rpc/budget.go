package rpc

import "sync"

// budget bounds what the connections of a server hold in memory together. There are
// two of them, each with half of Options.MaxHeldBytes:
//
//   - that of requests has messages that are being read or carried out. A message that
//     is not short takes what the longest may need before more of it is read, and gives
//     back what it does not need once it is read.
//   - that of replies has replies from before they are made until the client has read
//     them. A call whose reply may be long takes what that may need first.
//
// Who finds too little waits for its turn, and so does the client: nothing is refused.
// Short messages and short replies never wait, so that a client can always cancel what
// it waits for. There are two budgets because a call holds its request while it waits
// for its reply: in one budget, requests could keep all replies from being made.
type budget struct {
	size int64

	mu   sync.Mutex
	held int64
	// queue are those who wait, the first one first.
	queue []*claim
}

// claim is a part of a budget that somebody waits for.
type claim struct {
	bytes   int64
	granted chan struct{} // closed when it is held
}

func newBudget(size int64) *budget { return &budget{size: size} }

// take waits until so many bytes are free, and returns how many it took: at most half
// of the budget, so that one claim cannot wait for all others to end. It returns false
// when done is closed before. The caller owes give.
func (b *budget) take(bytes int64, done <-chan struct{}) (taken int64, ok bool) {
	c := &claim{bytes: min(bytes, b.size/2), granted: make(chan struct{})}
	b.mu.Lock()
	b.queue = append(b.queue, c)
	b.grant()
	b.mu.Unlock()
	select {
	case <-c.granted:
		return c.bytes, true
	case <-done:
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, other := range b.queue {
		if other == c {
			b.queue = append(b.queue[:i:i], b.queue[i+1:]...)
			b.grant() // those behind
			return 0, false
		}
	}
	return c.bytes, true // both came
}

// add takes bytes that there already are, and gives them back if there are fewer than
// none. It never waits: the budget may be exceeded by what was not known before.
func (b *budget) add(bytes int64) {
	if bytes == 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.held += bytes
	b.grant()
}

// give gives back what was taken or added.
func (b *budget) give(bytes int64) { b.add(-bytes) }

// grant lets those take their part whose turn it is. The caller holds mu.
func (b *budget) grant() {
	for len(b.queue) > 0 && b.held+b.queue[0].bytes <= b.size {
		b.held += b.queue[0].bytes
		close(b.queue[0].granted)
		b.queue[0] = nil
		b.queue = b.queue[1:]
	}
}

// stats says how much is held, and how many wait.
func (b *budget) stats() (held int64, waiting int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.held, len(b.queue)
}

package session

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// recoverTries is how often the removal of what an earlier Manager left is
// tried.
const recoverTries = 3

// Recover removes the containers and snapshots that an earlier Manager left,
// sessions and members of its pool, and says how many those were. What cannot
// be removed is an error: the ids of its processes would be handed out again.
func (m *Manager) Recover(ctx context.Context) (int, error) {
	ids, err := m.opts.Containers.Leftovers(ctx, labelLanguage)
	if err != nil {
		return 0, err
	}
	var errs []error
	for _, id := range ids {
		errs = append(errs, m.recoverBody(ctx, m.remains(&body{containerID: id})))
	}
	keys, err := m.opts.Snapshots.Leftovers(ctx)
	errs = append(errs, err)
	for _, key := range keys {
		errs = append(errs, m.remains(&body{containerID: key}).snapshot.try(ctx))
	}
	return len(ids), errors.Join(errs...)
}

func (m *Manager) recoverBody(ctx context.Context, r *remains) error {
	err := r.try(ctx)
	pause := firstPause
	for tries := 1; err != nil && tries < recoverTries; tries++ {
		m.opts.Log.WarnContext(ctx, "remove what an earlier server left: trying again", "container", r.body.containerID, "in", pause, "error", err)
		timer := time.NewTimer(pause)
		<-timer.C
		pause *= 5
		err = r.try(ctx)
	}
	if err != nil {
		return fmt.Errorf("container %s: %w", r.body.containerID, err)
	}
	return nil
}

// Shutdown refuses new work, ends what is being created, waits for what else is
// under way until ctx ends, and then closes every session. It returns when
// nothing is left, or soon after, with the rest in the log, which the next
// Manager's Recover removes.
func (m *Manager) Shutdown(ctx context.Context) error {
	m.mu.Lock()
	m.shutdown = true
	for _, cancel := range m.creating {
		cancel(ErrShutdown)
	}
	m.grant()
	m.mu.Unlock()
	m.pool.shut()
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		m.work.Wait()
	}()
	select {
	case <-drained:
	case <-ctx.Done():
		m.opts.Log.WarnContext(ctx, "commands still run at the end of the drain and are ended")
	}
	for _, s := range m.all() {
		s.beginClose(ReasonShutdown)
	}
	m.removal.hasten()
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		<-drained // killed programs end, and what was under way with them
		m.watchers.Wait()
		m.pool.wait()
		m.behind.Wait()
	}()
	timer := time.NewTimer(shutdownTimeout)
	defer timer.Stop()
	select {
	case <-gone:
	case <-timer.C:
		m.removal.giveUp()
		m.opts.Log.ErrorContext(ctx, "containers could not be removed in time: the next start removes them",
			"containers", int64(len(m.all()))+m.removal.pending.Load(), "waited", shutdownTimeout)
	}
	return nil
}

// all returns the sessions that there are.
func (m *Manager) all() []*session {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Collect(maps.Values(m.sessions))
}

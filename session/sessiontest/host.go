// Package sessiontest lets a session.Manager run without containers, for tests
// of it and of what is above it. A Host stands for images, snapshots and
// containers in memory. Its programs are Go functions with streams, signals and
// an end as those of a container have; its files are in memory, too. All of it
// works in a bubble of testing/synctest.
package sessiontest

import (
	"context"
	"sync"
	"time"

	"github.com/containerd/errdefs"

	"codebeaker/images"
	"codebeaker/runtime"
	"codebeaker/session"
)

// Host is what a Manager works with. It has an image for Python alone.
type Host struct {
	// Programs are found by their names, beside those of StandardPrograms.
	Programs map[string]Program

	mu         sync.Mutex
	snapshots  map[string]string // key to parent
	containers map[string]*Container
	calls      []string
	createErr  error
	claimErrs  []error // one for each call, then none
	deleteErrs []error // likewise
	creating   chan struct{}
	deleting   chan struct{}
	releasing  chan struct{}
	removing   chan struct{}
	chain      string // of the image; empty for no image
	createTime time.Duration
	deleteTime time.Duration
	execErr    error
	hanging    chan struct{} // creates, whatever their context
	// active counts calls of Delete that are under way, and mostActive is the
	// most there were.
	active, mostActive int
}

// NewHost returns a host with nothing on it.
func NewHost() *Host {
	return &Host{snapshots: map[string]string{}, containers: map[string]*Container{}, chain: "chain"}
}

// Manager returns a manager on the host, with options that change has had a
// look at where it is not nil.
func (h *Host) Manager(change func(*session.Options)) *session.Manager {
	opts := session.Options{Images: h, Snapshots: (*snapshots)(h), Containers: h}
	if change != nil {
		change(&opts)
	}
	return session.New(opts)
}

// FailCreates has every container fail to be created, with err.
func (h *Host) FailCreates(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.createErr = err
}

// HoldCreates has the creation of containers wait until release is called.
func (h *Host) HoldCreates() (release func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	held := make(chan struct{})
	h.creating = held
	return func() { close(held) }
}

// HangCreates has the creation of containers wait until release is called, also
// where its context has ended.
func (h *Host) HangCreates() (release func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	held := make(chan struct{})
	h.hanging = held
	return func() {
		close(held)
		h.mu.Lock()
		defer h.mu.Unlock()
		h.hanging = nil
	}
}

// FailExecs has every program fail to be started, with err.
func (h *Host) FailExecs(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.execErr = err
}

// SlowDeletes has the deletion of each container take a time.
func (h *Host) SlowDeletes(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.deleteTime = d
}

// HoldDeletes has the deletion of containers wait until release is called.
func (h *Host) HoldDeletes() (release func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	held := make(chan struct{})
	h.deleting = held
	return func() { close(held) }
}

// HoldReleases has processes that are given back wait until release is called.
func (h *Host) HoldReleases() (release func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	held := make(chan struct{})
	h.releasing = held
	return func() { close(held) }
}

// HoldRemovals has file helpers wait with the removal of a file until release is
// called.
func (h *Host) HoldRemovals() (release func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	held := make(chan struct{})
	h.removing = held
	return func() { close(held) }
}

// awaitRemoval returns when a file may be removed.
func (h *Host) awaitRemoval() {
	h.mu.Lock()
	held := h.removing
	h.mu.Unlock()
	if held != nil {
		<-held
	}
}

// awaitRelease returns when a process may be given back.
func (h *Host) awaitRelease() {
	h.mu.Lock()
	held := h.releasing
	h.mu.Unlock()
	if held != nil {
		<-held
	}
}

// FailClaims has the next claims of containers fail, one with each error.
func (h *Host) FailClaims(errs ...error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.claimErrs = errs
}

func (h *Host) claimErr() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.claimErrs) == 0 {
		return nil
	}
	err := h.claimErrs[0]
	h.claimErrs = h.claimErrs[1:]
	return err
}

// SlowCreates has the creation of each container take a time.
func (h *Host) SlowCreates(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.createTime = d
}

// MostDeletes returns how many containers were deleted at one time.
func (h *Host) MostDeletes() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.mostActive
}

// SetImage changes the chain id of the image; an empty one is no image.
func (h *Host) SetImage(chain string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.chain = chain
}

// FailDeletes has the next deletions of containers fail, one with each error.
func (h *Host) FailDeletes(errs ...error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.deleteErrs = errs
}

// Calls returns what was asked of the host, in order, as far as that matters.
func (h *Host) Calls() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]string(nil), h.calls...)
}

// Left counts snapshots and containers.
func (h *Host) Left() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.snapshots) + len(h.containers)
}

// Containers returns the containers that there are.
func (h *Host) Containers() []*Container {
	h.mu.Lock()
	defer h.mu.Unlock()
	var all []*Container
	for _, c := range h.containers {
		all = append(all, c)
	}
	return all
}

// Leave puts a container with labels and a snapshot on the host as an earlier
// manager may have left them.
func (h *Host) Leave(id string, labels map[string]string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.snapshots[id], h.containers[id] = "chain", &Container{opts: runtime.ContainerOptions{Labels: labels}}
}

// Resolve implements session.Images.
func (h *Host) Resolve(_ context.Context, language string) (images.Image, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if language != "python" || h.chain == "" {
		return images.Image{}, errdefs.ErrNotFound
	}
	return images.Image{Name: "image", Version: "3.13", ChainID: h.chain, Env: []string{"PATH=/image", "A=image"}}, nil
}

// Create implements session.Containers.
func (h *Host) Create(ctx context.Context, opts runtime.ContainerOptions) (session.Container, error) {
	h.mu.Lock()
	c := &Container{host: h, opts: opts, ended: make(chan struct{}), files: &files{remove: h.awaitRemoval, content: map[string][]byte{}}}
	h.containers[opts.ID] = c // a failed create leaves something too
	err, held, takes, hanging := h.createErr, h.creating, h.createTime, h.hanging
	h.mu.Unlock()
	if hanging != nil {
		<-hanging
	}
	if takes > 0 {
		timer := time.NewTimer(takes)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if err != nil {
		return nil, err
	}
	if held != nil {
		select {
		case <-held:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return c, nil
}

// Delete implements session.Containers.
func (h *Host) Delete(ctx context.Context, id string) error {
	h.mu.Lock()
	held, takes := h.deleting, h.deleteTime
	h.active++
	h.mostActive = max(h.mostActive, h.active)
	h.mu.Unlock()
	defer func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.active--
	}()
	if takes > 0 {
		timer := time.NewTimer(takes)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if held != nil {
		select {
		case <-held:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.calls = append(h.calls, "delete container")
	if len(h.deleteErrs) > 0 {
		err := h.deleteErrs[0]
		h.deleteErrs = h.deleteErrs[1:]
		return err
	}
	delete(h.containers, id)
	return nil
}

// Leftovers implements session.Containers.
func (h *Host) Leftovers(_ context.Context, label string) ([]string, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var ids []string
	for id, c := range h.containers {
		if _, ok := c.Labels()[label]; ok {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

type snapshots Host

func (h *snapshots) Prepare(_ context.Context, key, parent string, _, _ uint32) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.snapshots[key] = parent
	return nil
}

func (h *snapshots) Remove(_ context.Context, key string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.calls = append(h.calls, "remove snapshot")
	delete(h.snapshots, key)
	return nil
}

func (h *snapshots) Leftovers(context.Context) ([]string, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var keys []string
	for key := range h.snapshots {
		keys = append(keys, key)
	}
	return keys, nil
}

package session

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"

	"github.com/containerd/errdefs"

	"codebeaker/images"
	"codebeaker/runtime"
	"codebeaker/runtime/cgroup"
)

// fakeHost stands for images, snapshots and containers, in memory.
type fakeHost struct {
	mu         sync.Mutex
	snapshots  map[string]string // key to parent
	containers map[string]*fakeContainer
	calls      []string

	createErr  error
	deleteErrs []error // one for each call, then none
}

func newFakeHost() *fakeHost {
	return &fakeHost{snapshots: map[string]string{}, containers: map[string]*fakeContainer{}}
}

func (h *fakeHost) manager(change func(*Options)) *Manager {
	opts := Options{Images: h, Snapshots: (*fakeSnapshots)(h), Containers: h}
	if change != nil {
		change(&opts)
	}
	return New(opts)
}

func (h *fakeHost) left() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.snapshots) + len(h.containers)
}

func (h *fakeHost) Resolve(_ context.Context, language string) (images.Image, error) {
	if language != "python" {
		return images.Image{}, errdefs.ErrNotFound
	}
	return images.Image{Name: "image", ChainID: "chain", Env: []string{"PATH=/image", "A=image"}}, nil
}

func (h *fakeHost) Create(_ context.Context, opts runtime.ContainerOptions) (Container, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := &fakeContainer{host: h, opts: opts, ended: make(chan struct{})}
	h.containers[opts.ID] = c // a failed create leaves something too
	if h.createErr != nil {
		return nil, h.createErr
	}
	return c, nil
}

func (h *fakeHost) Delete(_ context.Context, id string) error {
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

func (h *fakeHost) Leftovers(context.Context, string) ([]string, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var ids []string
	for id := range h.containers {
		ids = append(ids, id)
	}
	return ids, nil
}

type fakeSnapshots fakeHost

func (h *fakeSnapshots) Prepare(_ context.Context, key, parent string, _, _ uint32) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.snapshots[key] = parent
	return nil
}

func (h *fakeSnapshots) Remove(_ context.Context, key string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.calls = append(h.calls, "remove snapshot")
	delete(h.snapshots, key)
	return nil
}

func (h *fakeSnapshots) Leftovers(context.Context) ([]string, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var keys []string
	for key := range h.snapshots {
		keys = append(keys, key)
	}
	return keys, nil
}

// fakeContainer runs "programs": "exit N" ends at once with N, "block" when it
// is killed.
type fakeContainer struct {
	host *fakeHost
	opts runtime.ContainerOptions

	mu       sync.Mutex
	once     sync.Once
	ended    chan struct{} // closed by Kill
	started  []runtime.ExecOptions
	oomKills uint64
}

func (c *fakeContainer) Limits() runtime.Limits { return c.opts.Limits }

func (c *fakeContainer) Exec(_ context.Context, opts runtime.ExecOptions) (Process, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.started = append(c.started, opts)
	p := &fakeProcess{container: c, killed: make(chan struct{})}
	if opts.Args[0] != "block" {
		p.kill()
	}
	switch opts.Args[0] {
	case "block", "kill -9":
		p.code = 137
	case "fail":
		p.code = 3
	case "term":
		p.code = 143
	case "lost":
		p.err = errdefs.ErrUnavailable
	}
	return p, nil
}

func (c *fakeContainer) ServeFiles(context.Context, string) (Process, error) {
	return nil, errors.New("the fake has no files")
}

func (c *fakeContainer) Wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-c.ended:
		return nil
	}
}

func (c *fakeContainer) Kill() error {
	c.once.Do(func() { close(c.ended) })
	return nil
}

type fakeProcess struct {
	container *fakeContainer
	once      sync.Once
	killed    chan struct{}
	code      int
	err       error
}

func (p *fakeProcess) kill() { p.once.Do(func() { close(p.killed) }) }

func (p *fakeProcess) Streams() runtime.Streams {
	return runtime.Streams{Stdin: nopCloser{io.Discard}, Stdout: strings.NewReader("out"), Stderr: strings.NewReader("err")}
}

func (p *fakeProcess) Wait(ctx context.Context) (runtime.ExitStatus, error) {
	select {
	case <-ctx.Done():
		return runtime.ExitStatus{}, ctx.Err()
	case <-p.killed:
		return runtime.ExitStatus{Code: p.code}, p.err
	}
}

func (p *fakeProcess) Kill() error {
	p.kill()
	return nil
}

func (p *fakeProcess) Usage() (cgroup.Usage, error) {
	p.container.mu.Lock()
	defer p.container.mu.Unlock()
	return cgroup.Usage{OOMKills: p.container.oomKills}, nil
}

func (p *fakeProcess) Close(context.Context) error { return nil }

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

// create makes a session of the fake host.
func create(t *testing.T, m *Manager, req CreateRequest) Info {
	t.Helper()
	if req.Language == "" {
		req.Language = "python"
	}
	info, err := m.Create(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	return info
}

package session

import (
	"bufio"
	"context"
	"io"
	"sync"
	"time"

	"github.com/containerd/errdefs"

	"codebeaker/images"
)

const (
	// minZygoteMemory is the least memory of a session that has a zygote, which
	// takes 7 MiB of it (PSS, measured with the default modules; 6 with none).
	minZygoteMemory = 64 << 20
	// maxZygoteSays bounds what of its words are logged, in bytes.
	maxZygoteSays = 4 << 10
	// steadyZygote is how long one has to live so that its end counts as the
	// first.
	steadyZygote = time.Minute
)

// zygote keeps a container's zygote running (package agent), from which the
// code of its language is forked. Nobody waits for it: while there is none,
// programs are started. One that ends is started again by the next program, but
// not at once where that happens often. A nil one is that of a container that is
// to have none.
type zygote struct {
	opts        *Options
	containerID string
	container   Container
	interpreter string
	modules     []string
	env         []string

	work sync.WaitGroup

	mu       sync.Mutex
	stopped  bool
	running  bool
	process  Process            // while it runs
	cancel   context.CancelFunc // of waiting for it
	failures int
	retryAt  time.Time
}

// newZygote returns the zygote of a body, which does not run yet.
func (m *Manager) newZygote(b *body, lang images.Language, limits Limits) *zygote {
	modules, ok := m.opts.Zygotes[lang.Name]
	if !ok || limits.MemoryBytes < minZygoteMemory {
		return nil
	}
	return &zygote{
		opts: &m.opts, containerID: b.containerID, container: b.container,
		interpreter: lang.Program.Run[0], modules: modules, env: environ(processorEnv(limits.CPUs, "OMP_NUM_THREADS", "PYTHON_CPU_COUNT"), nil),
	}
}

// ensure has the zygote run before long, if it does not. What it starts goes on
// when ctx ends.
func (z *zygote) ensure(ctx context.Context) {
	if z == nil {
		return
	}
	z.mu.Lock()
	defer z.mu.Unlock()
	if z.stopped || z.running || time.Now().Before(z.retryAt) {
		return
	}
	z.running = true
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	z.cancel = cancel
	z.work.Go(func() {
		defer cancel()
		z.run(ctx)
	})
}

// run starts the zygote and sees it to its end.
func (z *zygote) run(ctx context.Context) {
	started := time.Now()
	status, err := z.live(ctx)
	z.mu.Lock()
	defer z.mu.Unlock()
	z.running = false
	if z.stopped {
		return
	}
	if errdefs.IsNotFound(err) {
		z.stopped = true
		z.opts.Log.InfoContext(ctx, "a session has no zygote, as its image has no interpreter for one", "container", z.containerID, "error", err)
		return
	}
	if time.Since(started) > steadyZygote {
		z.failures = 0
	}
	z.retryAt = time.Now().Add(min(time.Second<<min(z.failures, 10), longestPause))
	z.failures++
	z.opts.Log.WarnContext(ctx, "a session's zygote ended", "container", z.containerID, "status", status, "error", err, "retry", z.retryAt)
}

// live returns the exit code of a zygote that has ended.
func (z *zygote) live(ctx context.Context) (int, error) {
	p, err := z.container.StartZygote(ctx, z.interpreter, z.modules, z.env)
	if err != nil {
		return 0, err
	}
	var said sync.WaitGroup
	said.Go(func() { z.log(ctx, p.Streams().Stderr) })
	said.Go(func() { _, _ = io.Copy(io.Discard, p.Streams().Stdout) })
	z.mu.Lock()
	z.process = p
	if z.stopped {
		_ = p.Kill() // which ends with its container otherwise
	}
	z.mu.Unlock()
	status, err := p.Wait(ctx)
	z.mu.Lock()
	z.process = nil
	z.mu.Unlock()
	closeCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeTimeout)
	defer cancel()
	if closeErr := p.Close(closeCtx); err == nil {
		err = closeErr
	}
	said.Wait()
	return status.Code, err
}

// log logs what it says, such as which modules it has not.
func (z *zygote) log(ctx context.Context, r io.Reader) {
	lines := bufio.NewScanner(io.LimitReader(r, maxZygoteSays))
	for lines.Scan() {
		z.opts.Log.WarnContext(ctx, "a session's zygote says", "container", z.containerID, "text", lines.Text())
	}
	_, _ = io.Copy(io.Discard, r)
}

// retire says that the zygote ends with its container, and none is started any
// more.
func (z *zygote) retire() {
	if z == nil {
		return
	}
	z.mu.Lock()
	defer z.mu.Unlock()
	z.stopped = true
}

// stop ends the zygote for good and returns when it has ended.
func (z *zygote) stop() {
	if z == nil {
		return
	}
	z.retire()
	z.mu.Lock()
	if z.process != nil {
		_ = z.process.Kill() // as in live
	}
	if z.cancel != nil {
		late := time.AfterFunc(killTimeout, z.cancel)
		defer late.Stop()
	}
	z.mu.Unlock()
	z.work.Wait()
}

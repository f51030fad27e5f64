package sessiontest

import (
	"context"
	"io"
	"maps"
	"net"
	"slices"
	"sync"
	"syscall"

	"github.com/containerd/errdefs"

	"codebeaker/runtime"
	"codebeaker/runtime/cgroup"
	"codebeaker/session"
)

// Container is a sandbox of a Host.
type Container struct {
	host  *Host
	opts  runtime.ContainerOptions
	files *files
	once  sync.Once
	ended chan struct{} // closed by Kill

	mu       sync.Mutex
	started  []runtime.ExecOptions
	zygotes  []runtime.ExecOptions
	running  []*Process
	oomKills uint64
}

// Files returns the paths of the container's files.
func (c *Container) Files() []string {
	c.files.mu.Lock()
	defer c.files.mu.Unlock()
	return slices.Sorted(maps.Keys(c.files.content))
}

// Options returns what the container was made with and claimed for.
func (c *Container) Options() runtime.ContainerOptions {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.opts
}

// Started returns what was asked to run, in order.
func (c *Container) Started() []runtime.ExecOptions {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]runtime.ExecOptions(nil), c.started...)
}

// CountOOMKills has every program's cgroup count n kills for want of memory.
func (c *Container) CountOOMKills(n uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.oomKills = n
}

// Limits implements session.Container.
func (c *Container) Limits() runtime.Limits {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.opts.Limits
}

// Labels returns what is recorded of the container.
func (c *Container) Labels() map[string]string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.opts.Labels)
}

// Claim implements session.Container.
func (c *Container) Claim(_ context.Context, opts runtime.ClaimOptions) error {
	select {
	case <-c.ended:
		return errdefs.ErrUnavailable
	default:
	}
	if err := c.host.claimErr(); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.opts.Limits = opts.Limits
	c.opts.Labels = maps.Clone(c.opts.Labels)
	maps.Copy(c.opts.Labels, opts.Labels)
	return nil
}

// Exec implements session.Container. A name that no program has prints so and
// exits with 127.
func (c *Container) Exec(_ context.Context, opts runtime.ExecOptions) (session.Process, error) {
	c.mu.Lock()
	c.started = append(c.started, opts)
	c.mu.Unlock()
	c.host.mu.Lock()
	err := c.host.execErr
	c.host.mu.Unlock()
	if err != nil {
		return nil, err
	}
	program, ok := c.host.Programs[opts.Args[0]]
	if !ok {
		if program, ok = StandardPrograms()[opts.Args[0]]; !ok {
			program = notFound
		}
	}
	return c.start(opts, program)
}

func (c *Container) start(opts runtime.ExecOptions, program Program) (*Process, error) {
	select {
	case <-c.ended:
		return nil, errdefs.ErrUnavailable
	default:
	}
	p := newProcess(c, opts)
	c.mu.Lock()
	c.running = append(c.running, p)
	c.mu.Unlock()
	go p.run(program)
	return p, nil
}

// ServeFiles implements session.Container, with files in memory.
func (c *Container) ServeFiles(context.Context) (session.Process, error) {
	return c.start(runtime.ExecOptions{}, func(p *Process) runtime.ExitStatus {
		_ = c.files.serve(p.Stdin, p.Stdout) // until its input ends
		return runtime.ExitStatus{}
	})
}

// StartZygote implements session.Container. It runs the host's program "zygote",
// or until it is killed.
func (c *Container) StartZygote(_ context.Context, interpreter string, modules, _ []string) (session.Process, error) {
	opts := runtime.ExecOptions{Args: append([]string{interpreter}, modules...)}
	c.mu.Lock()
	c.zygotes = append(c.zygotes, opts)
	c.mu.Unlock()
	program, ok := c.host.Programs["zygote"]
	if !ok {
		program = func(p *Process) runtime.ExitStatus {
			<-p.Killed()
			return runtime.ExitStatus{Code: 137, Signal: syscall.SIGKILL}
		}
	}
	return c.start(opts, program)
}

// Zygotes returns the zygotes that were started, in order.
func (c *Container) Zygotes() []runtime.ExecOptions {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]runtime.ExecOptions(nil), c.zygotes...)
}

// Wait implements session.Container.
func (c *Container) Wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-c.ended:
		return nil
	}
}

// Dying implements session.Container.
func (c *Container) Dying() bool {
	select {
	case <-c.ended:
		return true
	default:
		return false
	}
}

// Kill implements session.Container.
func (c *Container) Kill() error {
	c.once.Do(func() { close(c.ended) })
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.running {
		_ = p.Kill()
	}
	return nil
}

// Process is a program of a Container, as those who run it and the program
// itself see it.
type Process struct {
	// Options are those it was started with.
	Options runtime.ExecOptions
	// Stdin, Stdout and Stderr are the program's ends of its streams. What is
	// written waits for its reader.
	Stdin          io.ReadCloser
	Stdout, Stderr *io.PipeWriter

	container *Container
	streams   runtime.Streams
	signals   chan syscall.Signal
	sizes     chan runtime.Size
	killOnce  sync.Once
	killed    chan struct{}
	done      chan struct{}
	status    runtime.ExitStatus // before done
	err       error
}

func newProcess(c *Container, opts runtime.ExecOptions) *Process {
	p := &Process{
		Options: opts, container: c, signals: make(chan syscall.Signal, 16), sizes: make(chan runtime.Size, 16),
		killed: make(chan struct{}), done: make(chan struct{}),
	}
	in, stdin := net.Pipe() // which has deadlines
	stdout, out := io.Pipe()
	stderr, errOut := io.Pipe()
	p.Stdin, p.Stdout, p.Stderr = in, out, errOut
	p.streams = runtime.Streams{Stdin: stdin, Stdout: stdout, Stderr: stderr}
	return p
}

// run is the program's life.
func (p *Process) run(program Program) {
	ended := make(chan runtime.ExitStatus, 1)
	go func() { ended <- program(p) }()
	select {
	case p.status = <-ended:
	case <-p.killed:
		p.closeStreams() // frees a program that waits for one
		<-ended
		p.status = signaled(syscall.SIGKILL)
	}
	p.closeStreams()
	close(p.done)
}

func (p *Process) closeStreams() {
	for _, end := range []io.Closer{p.Stdin, p.Stdout, p.Stderr} {
		_ = end.Close() // which never fails for a pipe
	}
}

func signaled(s syscall.Signal) runtime.ExitStatus {
	return runtime.ExitStatus{Code: 128 + int(s), Signal: s}
}

// Killed is closed when the program is killed.
func (p *Process) Killed() <-chan struct{} { return p.killed }

// Signals brings the signals that are sent to the program, and Sizes those that
// its terminal gets.
func (p *Process) Signals() <-chan syscall.Signal { return p.signals }

// Sizes brings the sizes that the program's terminal gets.
func (p *Process) Sizes() <-chan runtime.Size { return p.sizes }

// Lose has nobody see how the program ends.
func (p *Process) Lose() { p.err = errdefs.ErrUnavailable }

// Streams implements session.Process.
func (p *Process) Streams() runtime.Streams { return p.streams }

// Wait implements session.Process.
func (p *Process) Wait(ctx context.Context) (runtime.ExitStatus, error) {
	select {
	case <-ctx.Done():
		return runtime.ExitStatus{}, ctx.Err()
	case <-p.done:
		return p.status, p.err
	}
}

// Kill implements session.Process.
func (p *Process) Kill() error {
	p.killOnce.Do(func() { close(p.killed) })
	return nil
}

// Signal implements session.Process. SIGKILL kills.
func (p *Process) Signal(_ context.Context, s syscall.Signal) error {
	select {
	case <-p.done:
		return errdefs.ErrNotFound
	default:
	}
	if s == syscall.SIGKILL {
		return p.Kill()
	}
	p.signals <- s
	return nil
}

// Resize implements session.Process.
func (p *Process) Resize(_ context.Context, size runtime.Size) error {
	p.sizes <- size
	return nil
}

// Populated implements session.Process: a program starts no others.
func (p *Process) Populated() (bool, error) {
	select {
	case <-p.done:
		return false, nil
	default:
		return true, nil
	}
}

// Usage implements session.Process.
func (p *Process) Usage() (cgroup.Usage, error) {
	p.container.mu.Lock()
	defer p.container.mu.Unlock()
	return cgroup.Usage{OOMKills: p.container.oomKills}, nil
}

// Close implements session.Process.
func (p *Process) Close(context.Context) error {
	_ = p.Kill()
	<-p.done
	p.container.host.awaitRelease()
	return nil
}

package compare

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/containerd/containerd/api/types/runc/options"
	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/contrib/seccomp"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/containerd/v2/pkg/oci"
	"github.com/containerd/platforms"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"codebeaker/runtime/engine"
)

// stockSnapshotter is containerd's own default.
const stockSnapshotter = "overlayfs"

// stock is containerd with runc's shim, used through its socket with its client
// as any program would.
type stock struct {
	process *process
	engine  *engine.Engine
	client  *containerd.Client
	image   containerd.Image
	opts    stockOptions
	env     []string
	last    atomic.Int64 // of the ids of containers and executions
}

// stockOptions say which containerd to start.
type stockOptions struct {
	// command starts containerd; it is called with its root and state.
	command []string
	dir     string
	state   string
	cgroup  string
	image   Image
	// shim is the runtime's name or path, runc the program that it runs.
	shim, runc string
	swapLimit  bool
}

func startStock(ctx context.Context, o stockOptions) (_ *stock, retErr error) {
	root, state := filepath.Join(o.dir, "r"), o.state
	if err := makeDirs(o.dir, state); err != nil {
		return nil, err
	}
	p, err := startProcess(nameContainerd, o.command[0], append(o.command[1:], "--root", root, "--state", state)...)
	if err != nil {
		return nil, err
	}
	s := &stock{process: p, opts: o, env: o.image.Env}
	defer func() {
		if retErr != nil {
			retErr = errors.Join(retErr, s.Close(context.WithoutCancel(ctx)))
		}
	}()
	err = p.await(ctx, func(ctx context.Context) error {
		e, err := engine.Dial(ctx, engine.SocketPath(state), "bench")
		if err == nil {
			s.engine, s.client = e, e.Client()
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	archive, err := os.Open(o.image.Archive)
	if err != nil {
		return nil, err
	}
	defer archive.Close()
	ctx = s.in(ctx)
	found, err := s.client.Import(ctx, archive)
	if err != nil {
		return nil, fmt.Errorf("import image into containerd: %w", err)
	}
	if len(found) == 0 {
		return nil, errors.New("import image into containerd: the archive names none")
	}
	s.image = containerd.NewImageWithPlatform(s.client, found[0], platforms.Default())
	if err := s.image.Unpack(ctx, stockSnapshotter); err != nil {
		return nil, fmt.Errorf("unpack image in containerd: %w", err)
	}
	return s, nil
}

func (s *stock) in(ctx context.Context) context.Context {
	return namespaces.WithNamespace(ctx, "bench")
}

func (s *stock) id() string {
	return "x" + strconv.FormatInt(s.last.Add(1), 10) + "-" + filepath.Base(s.opts.dir)
}

func (s *stock) Daemons() []int { return []int{s.process.cmd.Process.Pid} }

func (s *stock) Close(ctx context.Context) error {
	var err error
	if s.engine != nil {
		err = s.engine.Close()
	}
	return errors.Join(err, s.process.stop(ctx))
}

func (s *stock) Create(ctx context.Context) (_ Sandbox, retErr error) {
	ctx = s.in(ctx)
	id := s.id()
	cgroup := path.Join(s.opts.cgroup, id)
	spec := []oci.SpecOpts{
		oci.WithEnv(s.env),
		oci.WithProcessArgs("sleep", "infinity"),
		oci.WithProcessCwd(workspace),
		oci.WithUIDGID(userID, userID),
		oci.WithCapabilities(nil),
		oci.WithNoNewPrivileges,
		oci.WithCgroup(cgroup),
		oci.WithMemoryLimit(memoryBytes),
		oci.WithPidsLimit(pidsLimit),
		oci.WithCPUCFS(cpuPeriod, cpuPeriod),
		seccomp.WithDefaultProfile(),
	}
	if s.opts.swapLimit {
		spec = append(spec, oci.WithMemorySwap(memoryBytes))
	}
	container, err := s.client.NewContainer(ctx, id,
		containerd.WithImage(s.image),
		containerd.WithSnapshotter(stockSnapshotter),
		containerd.WithNewSnapshot(id, s.image),
		containerd.WithRuntime(s.opts.shim, &options.Options{BinaryName: s.opts.runc, Root: filepath.Join(s.opts.state, "runc")}),
		containerd.WithNewSpec(spec...))
	if err != nil {
		return nil, err
	}
	b := &stockSandbox{stock: s, container: container, cgroup: cgroup}
	defer func() {
		if retErr != nil {
			retErr = errors.Join(retErr, b.Delete(context.WithoutCancel(ctx)))
		}
	}()
	if b.task, err = container.NewTask(ctx, cio.NullIO); err != nil {
		return nil, err
	}
	if _, err := b.task.Wait(context.WithoutCancel(ctx)); err != nil {
		return nil, err
	}
	if err := b.task.Start(ctx); err != nil {
		return nil, err
	}
	loaded, err := container.Spec(ctx)
	if err != nil {
		return nil, err
	}
	b.program = *loaded.Process
	return b, nil
}

type stockSandbox struct {
	stock     *stock
	container containerd.Container
	task      containerd.Task // nil until it is there
	cgroup    string
	program   specs.Process
}

func (b *stockSandbox) Run(ctx context.Context, args ...string) (string, error) {
	return b.exec(ctx, nil, args)
}

func (b *stockSandbox) exec(ctx context.Context, stdin io.Reader, args []string) (_ string, retErr error) {
	ctx = b.stock.in(ctx)
	program := b.program
	program.Args = args
	var in *input
	if stdin != nil {
		in = &input{Reader: stdin, ended: make(chan struct{})}
		stdin = in
	}
	var out output
	process, err := b.task.Exec(ctx, b.stock.id(), &program, cio.NewCreator(
		cio.WithStreams(stdin, &out.stdout, &out.stderr), cio.WithFIFODir(filepath.Join(b.stock.opts.state, "f"))))
	if err != nil {
		return "", err
	}
	defer func() {
		_, err := process.Delete(context.WithoutCancel(ctx))
		if retErr == nil {
			retErr = err
		}
	}()
	exit, err := process.Wait(ctx)
	if err != nil {
		return "", err
	}
	if err := process.Start(ctx); err != nil {
		return "", err
	}
	if in != nil {
		// The shim holds the FIFO open as well, and would keep the end from coming.
		// Where it lets go before the client has opened its own end, the program's
		// input ends with nothing in it.
		select {
		case <-in.ended:
		case <-ctx.Done():
		}
		if err := process.CloseIO(context.WithoutCancel(ctx), containerd.WithStdinCloser); err != nil && ctx.Err() == nil {
			return "", err
		}
	}
	var status containerd.ExitStatus
	select {
	case status = <-exit:
	case <-ctx.Done():
		err := process.Kill(context.WithoutCancel(ctx), syscall.SIGKILL)
		<-exit
		return "", errors.Join(ctx.Err(), err)
	}
	process.IO().Wait()
	if err := status.Error(); err != nil {
		return "", err
	}
	return out.result(args, int(status.ExitCode()))
}

// input says when all of it was read, and so all that came before was written.
type input struct {
	io.Reader
	ended chan struct{}
	once  sync.Once
}

func (i *input) Read(p []byte) (int, error) {
	n, err := i.Reader.Read(p)
	if err != nil {
		i.once.Do(func() { close(i.ended) })
	}
	return n, err
}

func (b *stockSandbox) Write(ctx context.Context, name string, content []byte) error {
	_, err := b.exec(ctx, bytes.NewReader(content), writeCommand(name))
	return err
}

func (b *stockSandbox) Read(ctx context.Context, name string) ([]byte, error) {
	text, err := b.exec(ctx, nil, readCommand(name))
	return []byte(text), err
}

func (b *stockSandbox) Delete(ctx context.Context) error {
	ctx = b.stock.in(ctx)
	var err error
	if b.task != nil {
		_, err = b.task.Delete(ctx, containerd.WithProcessKill)
	}
	return errors.Join(err, b.container.Delete(ctx, containerd.WithSnapshotCleanup))
}

func (b *stockSandbox) Traces() Traces {
	return Traces{
		Cgroup: b.cgroup,
		Paths:  []string{filepath.Join(b.stock.opts.state, "io.containerd.runtime.v2.task", "bench", b.container.ID())},
		Shim:   b.container.ID(),
	}
}

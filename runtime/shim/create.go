package shim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strings"
	"time"

	taskAPI "github.com/containerd/containerd/api/runtime/task/v3"
	"github.com/containerd/containerd/api/types/runc/options"
	"github.com/containerd/containerd/api/types/task"
	stockprocess "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2/process"
	stockrunc "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2/runc"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"
	runc "github.com/containerd/go-runc"
	"github.com/containerd/log"
	"github.com/containerd/typeurl/v2"
	"golang.org/x/sys/unix"

	"codebeaker/runtime/cgroup"
	"codebeaker/runtime/frame"
	"codebeaker/runtime/sched"
)

// greetTimeout bounds how long an agent may take to greet once runc says that
// it runs.
const greetTimeout = 30 * time.Second

// undoTimeout bounds how long the processes of a container that did not start may
// take to end, which were killed.
const undoTimeout = 10 * time.Second

// agentSlack is how much later the monitor of an agent may be, in whose goroutines
// nothing waits for it.
const agentSlack = 10 * time.Millisecond

// newContainer makes a container and its pid 1, and returns when that is there
// to start programs. What a failed one made is removed.
func newContainer(ctx context.Context, r *taskAPI.CreateTaskRequest, events *events, ready *moves) (_ *container, retErr error) {
	b, err := readBundle(r.Bundle)
	if err != nil {
		return nil, err
	}
	if err := b.check(); err != nil {
		return nil, err
	}
	if r.Terminal || r.Checkpoint != "" {
		return nil, fmt.Errorf("an agent with a terminal, or from a checkpoint: %w", errdefs.ErrNotImplemented)
	}
	opts, err := runcOptions(r)
	if err != nil {
		return nil, err
	}
	ns, err := namespaces.NamespaceRequired(ctx)
	if err != nil {
		return nil, err
	}
	host, err := cgroup.Detect()
	if err != nil {
		return nil, err
	}
	c := &container{
		id: r.ID, bundle: b, events: events,
		runc:   stockprocess.NewRunc(opts.Root, r.Bundle, ns, opts.BinaryName, false),
		group:  host.Group(b.spec.Linux.CgroupsPath),
		paths:  paths{stdin: r.Stdin, stdout: r.Stdout, stderr: r.Stderr},
		exited: make(chan struct{}), served: make(chan struct{}), status: task.Status_CREATED, execs: map[string]*exec{},
	}
	defer ready.keep()()
	// For whoever cleans up after this process.
	if err := errors.Join(stockrunc.WriteOptions(r.Bundle, opts), stockrunc.WriteRuntime(r.Bundle, opts.BinaryName)); err != nil {
		return nil, err
	}
	c.watch.lap("")
	if err := c.mount(r); err != nil {
		return nil, err
	}
	c.watch.lap(stageMount)
	defer func() {
		if retErr != nil {
			retErr = errors.Join(retErr, c.unmount())
		}
	}()
	if c.streams, err = openStreams(c.paths, b.hostID(b.spec.Process.User.UID), b.hostGID(b.spec.Process.User.GID)); err != nil {
		return nil, err
	}
	defer func() {
		if retErr != nil {
			c.streams.close()
		}
	}()
	if err := c.run(ctx, opts); err != nil {
		return nil, err
	}
	if err := c.watch.write(b.spec.Annotations[StagesAnnotation]); err != nil {
		log.G(ctx).WithError(err).WithField("container", c.id).Warn("tell what it took")
	}
	return c, nil
}

func runcOptions(r *taskAPI.CreateTaskRequest) (*options.Options, error) {
	if r.Options.GetValue() == nil {
		return &options.Options{}, nil
	}
	v, err := typeurl.UnmarshalAny(r.Options)
	if err != nil {
		return nil, fmt.Errorf("read options: %w", err)
	}
	opts, ok := v.(*options.Options)
	if !ok {
		return nil, fmt.Errorf("read options: they are %T, not runc's: %w", v, errdefs.ErrInvalidArgument)
	}
	if opts.SystemdCgroup {
		return nil, fmt.Errorf("containers in units of systemd: %w", errdefs.ErrNotImplemented)
	}
	return opts, nil
}

func (c *container) mount(r *taskAPI.CreateTaskRequest) error {
	if len(r.Rootfs) == 0 {
		return nil
	}
	root := filepath.Join(r.Bundle, "rootfs")
	if err := os.Mkdir(root, 0o711); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	mounts := make([]mount.Mount, 0, len(r.Rootfs))
	for _, m := range r.Rootfs {
		mounts = append(mounts, mount.Mount{Type: m.Type, Source: m.Source, Target: m.Target, Options: m.Options})
	}
	if err := mountAll(mounts, root); err != nil {
		return errors.Join(fmt.Errorf("mount the root: %w", err), c.unmount())
	}
	return nil
}

// run has runc make the container and start its pid 1 in one go, and waits for
// the agent's greeting.
func (c *container) run(ctx context.Context, opts *options.Options) (retErr error) {
	l, agent, err := newLink()
	if err != nil {
		return err
	}
	c.link = l
	defer func() {
		if retErr != nil {
			retErr = errors.Join(retErr, l.conn.Close())
		}
	}()
	given := []*os.File{agent} // AgentFD
	program, err := c.bundle.filter()
	if err == nil && program != nil {
		var file *os.File
		file, err = frame.Seal("filter", program)
		given = append(given, file) // FilterFD
	}
	if err != nil {
		agent.Close()
		return err
	}
	pidFile := filepath.Join(c.bundle.dir, stockprocess.InitPidFile)
	// It lives for some milliseconds. Its pid 1 does not get this.
	_, err = c.runc.Run(runc.WithExtraEnv(ctx, "GOGC=off"), c.id, c.bundle.dir, &runc.CreateOpts{
		IO: initIO{c.streams}, PidFile: pidFile, Detach: true,
		NoPivot: opts.NoPivotRoot, NoNewKeyring: opts.NoNewKeyring,
		ExtraFiles: given,
	})
	for _, f := range given {
		f.Close()
	}
	c.streams.given()
	defer func() {
		if retErr != nil {
			retErr = errors.Join(retErr, c.undo(context.WithoutCancel(ctx)))
		}
	}()
	if ctx.Err() != nil {
		return fmt.Errorf("create container: runc was killed: %w", ctx.Err())
	}
	if err != nil {
		return fmt.Errorf("create container: %w", c.runcError(err))
	}
	c.watch.lap(stageRunc)
	pid, err := runc.ReadPidFile(pidFile)
	if err != nil {
		return fmt.Errorf("find pid 1: %w", err)
	}
	if c.process, err = openProcess(pid); err != nil {
		return fmt.Errorf("find pid 1, which may have ended at once: %w", err)
	}
	if err := c.group.Delegate(c.bundle.hostID(0)); err != nil {
		return err
	}
	go c.serve(context.WithoutCancel(ctx))
	timeout := time.NewTimer(greetTimeout)
	defer timeout.Stop()
	select {
	case <-l.greeted:
		if program != nil || c.bundle.spec.Linux.Seccomp != nil {
			if err := c.process.confined(); err != nil {
				return fmt.Errorf("look at what holds the agent: %w", err)
			}
		}
		if err := sched.SlowMonitor(pid, agentSlack); err != nil { // it costs time, no more
			log.G(ctx).WithError(err).WithField("container", c.id).Warn("have the agent sleep for longer")
		}
		c.watch.lap(stageAgent)
		return nil
	case <-l.ended:
		return fmt.Errorf("wait for the agent: it ended, or is not of this version: %w", errdefs.ErrFailedPrecondition)
	case <-timeout.C:
		return fmt.Errorf("wait for the agent: %w", context.DeadlineExceeded)
	case <-ctx.Done():
		return fmt.Errorf("wait for the agent: %w", ctx.Err())
	}
}

// undo removes what runc made of a container that did not start, or that it was
// killed over. Runc is not asked, as it may hang again: its own delete does no
// more, but for hooks that such a container has not run.
func (c *container) undo(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, undoTimeout)
	defer cancel()
	err := errors.Join(c.group.Kill(), c.group.Remove(ctx), c.removeRecord())
	c.process.close()
	if err != nil {
		return fmt.Errorf("remove a container that did not start: %w", err)
	}
	return nil
}

// runcError is why runc failed, as it said in its log.
func (c *container) runcError(err error) error {
	f, openErr := os.Open(c.runc.Log)
	if openErr != nil {
		return err
	}
	defer f.Close()
	var said string
	lines := json.NewDecoder(io.LimitReader(f, 1<<20))
	for {
		var line struct{ Level, Msg string }
		if lines.Decode(&line) != nil {
			break
		}
		if line.Level == "error" {
			said = strings.TrimSpace(line.Msg)
		}
	}
	if said == "" {
		return err
	}
	return fmt.Errorf("runc: %s", said)
}

// record writes how pid 1 ended where whoever cleans up finds it.
func (c *container) record() error {
	return stockrunc.WriteExitStatus(c.bundle.dir, runc.Exit{Timestamp: c.exit.at, Pid: c.process.pid, Status: int(c.exit.status)})
}

// initIO gives pid 1 its streams.
type initIO struct{ *streams }

func (initIO) Close() error          { return nil }
func (initIO) Stdin() io.WriteCloser { return nil }
func (initIO) Stdout() io.ReadCloser { return nil }
func (initIO) Stderr() io.ReadCloser { return nil }

func (s initIO) Set(cmd *osexec.Cmd) {
	cmd.Stdin, cmd.Stdout, cmd.Stderr = s.program[0], s.program[1], s.program[2]
	// Its children too, which else outlive a runc that is killed because it takes
	// too long.
	cmd.SysProcAttr.Setpgid = true
	cmd.Cancel = func() error { return unix.Kill(-cmd.Process.Pid, unix.SIGKILL) }
}

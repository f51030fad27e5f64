package shim

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/containerd/cgroups/v3/cgroup1"
	eventstypes "github.com/containerd/containerd/api/events"
	taskAPI "github.com/containerd/containerd/api/runtime/task/v3"
	"github.com/containerd/containerd/api/types/task"
	"github.com/containerd/containerd/v2/pkg/oom"
	oomv1 "github.com/containerd/containerd/v2/pkg/oom/v1"
	oomv2 "github.com/containerd/containerd/v2/pkg/oom/v2"
	"github.com/containerd/containerd/v2/pkg/protobuf"
	ptypes "github.com/containerd/containerd/v2/pkg/protobuf/types"
	"github.com/containerd/containerd/v2/pkg/shim"
	"github.com/containerd/containerd/v2/pkg/shutdown"
	"github.com/containerd/containerd/v2/pkg/sys/reaper"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	runc "github.com/containerd/go-runc"
	"github.com/containerd/log"
	"github.com/containerd/ttrpc"

	"codebeaker/runtime/cgroup"
)

// service is containerd's Task service for containers whose pid 1 is an agent.
type service struct {
	events   *events
	oom      oom.Watcher
	memory   cgroup1.Hierarchy // with version 1, that of what oom watches
	shutdown shutdown.Service
	moves    moves
	shared   bool
	// creations has the making of each container, by id.
	creations creations

	mu         sync.Mutex
	containers map[string]*container
	// wanted says that the shim goes on without containers.
	wanted bool
	// creating has the exits seen while the pid 1 of a container is not known yet.
	creating map[*exitWatch]struct{}
}

// newService returns a service that goes on until the shim's end.
func newService(ctx context.Context, publisher shim.Publisher, down shutdown.Service) (*service, error) {
	s := &service{
		events: newEvents(), shutdown: down,
		containers: map[string]*container{}, creating: map[*exitWatch]struct{}{},
	}
	host, err := cgroup.Detect()
	if err != nil {
		return nil, err
	}
	s.moves.ready = host.ReadyMoves
	if unified() {
		s.oom, err = oomv2.New(publisher)
	} else {
		s.oom, err = oomv1.New(publisher)
		s.memory = memoryHierarchy()
	}
	if err != nil {
		return nil, fmt.Errorf("watch for want of memory: %w", err)
	}
	runc.Monitor = reaper.Default
	exits := reaper.Default.Subscribe()
	// Their ends are those of the shim's process.
	go s.oom.Run(ctx)
	go s.reap(ctx, exits)
	go s.events.run(ctx, publisher)
	down.RegisterCallback(s.events.close)
	if s.shared = isShared(); s.shared {
		return s, s.share(ctx)
	}
	return s, nil
}

// share lets the service go on without containers until nobody wants it any
// more.
func (s *service) share(ctx context.Context) error {
	dir, err := os.Getwd()
	if err != nil {
		return err
	}
	l, err := calls()
	if err != nil {
		return err
	}
	go s.answerCalls(ctx, l)
	s.wanted = true
	go func() { // its end is that of the shim's process
		awaitUnwanted(ctx)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.wanted = false
		s.endUnused()
	}()
	s.shutdown.RegisterCallback(func(context.Context) error { return os.RemoveAll(dir) })
	return nil
}

// endUnused ends a shim that has no containers, unless it may get others. The
// caller holds mu.
func (s *service) endUnused() {
	if len(s.containers) == 0 && len(s.creating) == 0 && !s.wanted {
		s.shutdown.Shutdown()
	}
}

// RegisterTTRPC registers the service.
func (s *service) RegisterTTRPC(server *ttrpc.Server) error {
	taskAPI.RegisterTTRPCTaskService(server, s)
	return nil
}

// Create makes a container.
func (s *service) Create(ctx context.Context, r *taskAPI.CreateTaskRequest) (*taskAPI.CreateTaskResponse, error) {
	ctx, done := s.creations.begin(ctx, r.ID)
	defer done()
	creation := s.beginCreate()
	c, err := newContainer(ctx, r, s.events, &s.moves)
	ended := s.endCreate(creation, c)
	if err != nil {
		return nil, errgrpc.ToGRPC(fmt.Errorf("create container %s: %w", r.ID, err))
	}
	s.events.send(&eventstypes.TaskCreate{
		ContainerID: c.id, Bundle: r.Bundle, Rootfs: r.Rootfs, Pid: uint32(c.process.pid),
		IO: &eventstypes.TaskIO{Stdin: r.Stdin, Stdout: r.Stdout, Stderr: r.Stderr},
	})
	if err := s.watch(c); err != nil {
		log.G(ctx).WithError(err).WithField("container", c.id).Error("watch for want of memory")
	}
	if ended != nil {
		go c.end(context.WithoutCancel(ctx), ended.Status, ended.Timestamp)
	}
	return &taskAPI.CreateTaskResponse{Pid: uint32(c.process.pid)}, nil
}

func (s *service) find(id string) (*container, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.containers[id]
	if c == nil {
		return nil, errgrpc.ToGRPCf(errdefs.ErrNotFound, "container %s", id)
	}
	return c, nil
}

// findExec returns an exec, or nil where execID is empty, which is pid 1.
func (s *service) findExec(id, execID string) (*container, *exec, error) {
	c, err := s.find(id)
	if err != nil || execID == "" {
		return c, nil, err
	}
	e, err := c.find(execID)
	return c, e, errgrpc.ToGRPC(err)
}

// Start starts pid 1, which runs already, or an exec.
func (s *service) Start(ctx context.Context, r *taskAPI.StartRequest) (*taskAPI.StartResponse, error) {
	c, e, err := s.findExec(r.ID, r.ExecID)
	if err != nil {
		return nil, err
	}
	pid := c.process.pid
	if e == nil {
		err = c.start()
	} else {
		pid, err = e.start(ctx)
	}
	if err != nil {
		return nil, errgrpc.ToGRPC(err)
	}
	return &taskAPI.StartResponse{Pid: uint32(pid)}, nil
}

// Exec adds a process that is to be started.
func (s *service) Exec(_ context.Context, r *taskAPI.ExecProcessRequest) (*ptypes.Empty, error) {
	c, err := s.find(r.ID)
	if err != nil {
		return nil, err
	}
	req, err := parseRequest(r.Spec.GetValue(), c.bundle.agent(), r.Terminal)
	if err == nil {
		req.ID = r.ExecID
		_, err = c.add(req, paths{stdin: r.Stdin, stdout: r.Stdout, stderr: r.Stderr, terminal: r.Terminal}, nil)
	}
	if err != nil {
		return nil, errgrpc.ToGRPC(err)
	}
	return &ptypes.Empty{}, nil
}

// Delete removes an exec, or the container. One that is still being made ends.
func (s *service) Delete(ctx context.Context, r *taskAPI.DeleteRequest) (*taskAPI.DeleteResponse, error) {
	if r.ExecID == "" {
		if err := s.endCreation(ctx, r.ID); err != nil {
			return nil, errgrpc.ToGRPC(err)
		}
	}
	c, e, err := s.findExec(r.ID, r.ExecID)
	if err != nil {
		return nil, err
	}
	if e != nil {
		if err := c.remove(e); err != nil {
			return nil, errgrpc.ToGRPC(err)
		}
		return deleted(e.pid(), e.exit), nil
	}
	if err := c.delete(ctx); err != nil {
		return nil, errgrpc.ToGRPC(err)
	}
	s.mu.Lock()
	delete(s.containers, c.id)
	s.mu.Unlock()
	if s.shared {
		if err := c.bundle.remove(); err != nil {
			log.G(ctx).WithError(err).WithField("container", c.id).Warn("leave the bundle to containerd")
		}
	}
	s.events.send(&eventstypes.TaskDelete{
		ContainerID: c.id, Pid: uint32(c.process.pid), ExitStatus: c.exit.status, ExitedAt: protobuf.ToTimestamp(c.exit.at),
	})
	return deleted(c.process.pid, c.exit), nil
}

// endCreation ends the creation of a container, and the container if it was made
// all the same. It does nothing where none is being made.
func (s *service) endCreation(ctx context.Context, id string) error {
	if was, err := s.creations.end(ctx, id); err != nil || !was {
		return err
	}
	c, err := s.find(id)
	if err != nil {
		return nil //nolint:nilerr // it was not made
	}
	if err := c.process.signal(killedStatus); err != nil && !errors.Is(err, errFinished) {
		return err
	}
	select {
	case <-c.exited:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for the end of container %s: %w", id, ctx.Err())
	}
}

func deleted(pid int, e exit) *taskAPI.DeleteResponse {
	return &taskAPI.DeleteResponse{Pid: uint32(pid), ExitStatus: e.status, ExitedAt: protobuf.ToTimestamp(e.at)}
}

// Wait returns when a process has ended.
func (s *service) Wait(ctx context.Context, r *taskAPI.WaitRequest) (*taskAPI.WaitResponse, error) {
	c, e, err := s.findExec(r.ID, r.ExecID)
	if err != nil {
		return nil, err
	}
	exited, how := c.exited, &c.exit
	if e != nil {
		exited, how = e.exited, &e.exit
	}
	select {
	case <-exited:
		return &taskAPI.WaitResponse{ExitStatus: how.status, ExitedAt: protobuf.ToTimestamp(how.at)}, nil
	case <-ctx.Done():
		return nil, errgrpc.ToGRPC(ctx.Err())
	}
}

// State describes a process.
func (s *service) State(_ context.Context, r *taskAPI.StateRequest) (*taskAPI.StateResponse, error) {
	c, e, err := s.findExec(r.ID, r.ExecID)
	if err != nil {
		return nil, err
	}
	id, p, pid := c.id, c.paths, c.process.pid
	c.mu.Lock()
	status, how := c.status, c.exit
	c.mu.Unlock()
	if e != nil {
		id, p, pid = e.id, e.paths, e.pid()
		e.mu.Lock()
		how = e.exit
		if status != task.Status_PAUSED || e.status == task.Status_STOPPED {
			status = e.status
		}
		e.mu.Unlock()
	}
	return &taskAPI.StateResponse{
		ID: id, Bundle: c.bundle.dir, Pid: uint32(pid), Status: status,
		Stdin: p.stdin, Stdout: p.stdout, Stderr: p.stderr, Terminal: p.terminal,
		ExitStatus: how.status, ExitedAt: protobuf.ToTimestamp(how.at), ExecID: r.ExecID,
	}, nil
}

// Kill sends a signal.
func (s *service) Kill(_ context.Context, r *taskAPI.KillRequest) (*ptypes.Empty, error) {
	c, e, err := s.findExec(r.ID, r.ExecID)
	if err != nil {
		return nil, err
	}
	if e != nil {
		err = e.kill(r.Signal)
	} else {
		err = c.signal(r.Signal, r.All)
	}
	if err != nil {
		return nil, errgrpc.ToGRPC(err)
	}
	return &ptypes.Empty{}, nil
}

// CloseIO ends a process's standard input.
func (s *service) CloseIO(_ context.Context, r *taskAPI.CloseIORequest) (*ptypes.Empty, error) {
	c, e, err := s.findExec(r.ID, r.ExecID)
	if err != nil {
		return nil, err
	}
	if r.Stdin && e != nil {
		e.closeStdin()
	} else if r.Stdin {
		c.streams.endInput()
	}
	return &ptypes.Empty{}, nil
}

// ResizePty gives a terminal another size.
func (s *service) ResizePty(_ context.Context, r *taskAPI.ResizePtyRequest) (*ptypes.Empty, error) {
	_, e, err := s.findExec(r.ID, r.ExecID)
	if err == nil && e != nil {
		err = errgrpc.ToGRPC(e.resize(r.Width, r.Height))
	}
	return &ptypes.Empty{}, err
}

// Pause stops all processes of a container where they are.
func (s *service) Pause(ctx context.Context, r *taskAPI.PauseRequest) (*ptypes.Empty, error) {
	c, err := s.find(r.ID)
	if err != nil {
		return nil, err
	}
	if err := c.pause(ctx, true); err != nil {
		return nil, errgrpc.ToGRPC(err)
	}
	s.events.send(&eventstypes.TaskPaused{ContainerID: c.id})
	return &ptypes.Empty{}, nil
}

// Resume lets the processes of a container go on.
func (s *service) Resume(ctx context.Context, r *taskAPI.ResumeRequest) (*ptypes.Empty, error) {
	c, err := s.find(r.ID)
	if err != nil {
		return nil, err
	}
	if err := c.pause(ctx, false); err != nil {
		return nil, errgrpc.ToGRPC(err)
	}
	s.events.send(&eventstypes.TaskResumed{ContainerID: c.id})
	return &ptypes.Empty{}, nil
}

// Checkpoint is not there: an agent's socket is not in a checkpoint.
func (s *service) Checkpoint(context.Context, *taskAPI.CheckpointTaskRequest) (*ptypes.Empty, error) {
	return nil, errgrpc.ToGRPCf(errdefs.ErrNotImplemented, "checkpoint of a container with an agent")
}

// Connect says which processes serve a container.
func (s *service) Connect(_ context.Context, r *taskAPI.ConnectRequest) (*taskAPI.ConnectResponse, error) {
	pid := 0
	if c, err := s.find(r.ID); err == nil {
		pid = c.process.pid
	}
	return &taskAPI.ConnectResponse{ShimPid: uint32(os.Getpid()), TaskPid: uint32(pid)}, nil
}

// Shutdown ends the shim where it serves no container any more, and is not
// shared by those that come.
func (s *service) Shutdown(context.Context, *taskAPI.ShutdownRequest) (*ptypes.Empty, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.endUnused()
	return &ptypes.Empty{}, nil
}

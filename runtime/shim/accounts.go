package shim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"

	"github.com/containerd/cgroups/v3/cgroup1"
	"github.com/containerd/cgroups/v3/cgroup2"
	taskAPI "github.com/containerd/containerd/api/runtime/task/v3"
	"github.com/containerd/containerd/api/types/runc/options"
	"github.com/containerd/containerd/api/types/task"
	ptypes "github.com/containerd/containerd/v2/pkg/protobuf/types"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/containerd/typeurl/v2"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// What the kernel accounts to a container, and what bounds it.

// watch has kills for want of memory published.
func (s *service) watch(c *container) error {
	if unified() {
		group, err := cgroup2.Load(c.group.Path())
		if err != nil {
			return err
		}
		return s.oom.Add(c.id, group)
	}
	group, err := cgroup1.Load(cgroup1.StaticPath(c.group.Path()), cgroup1.WithHierarchy(s.memory))
	if err != nil {
		return err
	}
	return s.oom.Add(c.id, group)
}

// memoryHierarchy returns the memory hierarchy of version 1, which is looked for
// among the host's mounts once.
func memoryHierarchy() cgroup1.Hierarchy {
	return sync.OnceValues(func() ([]cgroup1.Subsystem, error) {
		all, err := cgroup1.Default()
		return slices.DeleteFunc(all, func(s cgroup1.Subsystem) bool { return s.Name() != cgroup1.Memory }), err
	})
}

// Pids lists the processes of a container.
func (s *service) Pids(_ context.Context, r *taskAPI.PidsRequest) (*taskAPI.PidsResponse, error) {
	c, err := s.find(r.ID)
	if err != nil {
		return nil, err
	}
	pids, err := c.group.Pids()
	if err != nil {
		return nil, errgrpc.ToGRPC(err)
	}
	execs := map[int]string{}
	for _, e := range c.all() {
		execs[e.pid()] = e.id
	}
	response := &taskAPI.PidsResponse{}
	for _, pid := range pids {
		info := &task.ProcessInfo{Pid: uint32(pid)}
		if id, ok := execs[pid]; ok {
			if info.Info, err = typeurl.MarshalAnyToProto(&options.ProcessDetails{ExecID: id}); err != nil {
				return nil, err
			}
		}
		response.Processes = append(response.Processes, info)
	}
	return response, nil
}

// Update changes the limits of a container.
func (s *service) Update(ctx context.Context, r *taskAPI.UpdateTaskRequest) (*ptypes.Empty, error) {
	c, err := s.find(r.ID)
	if err != nil {
		return nil, err
	}
	var resources specs.LinuxResources
	if err := json.Unmarshal(r.Resources.GetValue(), &resources); err != nil {
		return nil, errgrpc.ToGRPC(fmt.Errorf("read limits: %w: %w", err, errdefs.ErrInvalidArgument))
	}
	if err := c.runc.Update(ctx, c.id, &resources); err != nil {
		return nil, errgrpc.ToGRPC(c.runcError(err))
	}
	return &ptypes.Empty{}, nil
}

// Stats reads the accounts of a container.
func (s *service) Stats(_ context.Context, r *taskAPI.StatsRequest) (*taskAPI.StatsResponse, error) {
	c, err := s.find(r.ID)
	if err != nil {
		return nil, err
	}
	var stats any
	if unified() {
		var group *cgroup2.Manager
		if group, err = cgroup2.Load(c.group.Path()); err == nil {
			stats, err = group.Stat()
		}
	} else {
		var group cgroup1.Cgroup
		if group, err = cgroup1.Load(cgroup1.StaticPath(c.group.Path())); err == nil {
			stats, err = group.Stat(cgroup1.IgnoreNotExist)
		}
	}
	if errors.Is(err, cgroup1.ErrCgroupDeleted) || errors.Is(err, os.ErrNotExist) {
		err = fmt.Errorf("cgroup of container %s: %w", c.id, errdefs.ErrNotFound)
	}
	if err != nil {
		return nil, errgrpc.ToGRPC(err)
	}
	data, err := typeurl.MarshalAnyToProto(stats)
	if err != nil {
		return nil, err
	}
	return &taskAPI.StatsResponse{Stats: data}, nil
}

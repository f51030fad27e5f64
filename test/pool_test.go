package test

import (
	"context"
	"fmt"
	"testing"

	"github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/containerd/api/types/task"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/pkg/namespaces"

	"codebeaker/runtime/engine"
)

// containers returns the records of a server's containers: those of sessions,
// and the members of its pool that run.
func (s *server) containers(ctx context.Context) (claimed, members []containers.Container, err error) {
	e, err := engine.Dial(ctx, engine.SocketPath(s.state), "")
	if err != nil {
		return nil, nil, err
	}
	defer e.Close()
	ctx = namespaces.WithNamespace(ctx, engine.DefaultNamespace)
	all, err := e.Client().ContainerService().List(ctx)
	if err != nil {
		return nil, nil, err
	}
	tasks, err := e.Client().TaskService().List(ctx, &tasks.ListTasksRequest{})
	if err != nil {
		return nil, nil, err
	}
	running := map[string]bool{}
	for _, t := range tasks.Tasks {
		running[t.ID] = t.Status == task.Status_RUNNING
	}
	for _, c := range all {
		if c.Labels["org.codebeaker.session"] != "" {
			claimed = append(claimed, c)
		} else if running[c.ID] {
			members = append(members, c)
		}
	}
	return claimed, members, nil
}

// awaitMembers waits until the pool has so many members.
func (s *server) awaitMembers(t testing.TB, n int) {
	t.Helper()
	eventually(t, func() error {
		_, members, err := s.containers(t.Context())
		if err == nil && len(members) != n {
			err = fmt.Errorf("%d members of %d", len(members), n)
		}
		return err
	})
}

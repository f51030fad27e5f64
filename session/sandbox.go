package session

import (
	"context"
	"syscall"

	"codebeaker/images"
	"codebeaker/runtime"
	"codebeaker/runtime/cgroup"
)

// Images finds the image that sessions of a language start from.
type Images interface {
	// Resolve returns the language's image, ready to be a snapshot's parent, or
	// an errdefs.ErrNotFound that says how to get one.
	Resolve(ctx context.Context, language string) (images.Image, error)
}

// Snapshots makes and removes the root filesystems of sessions.
type Snapshots interface {
	Prepare(ctx context.Context, key, parent string, hostID, size uint32) error
	Remove(ctx context.Context, key string) error
	Leftovers(ctx context.Context) ([]string, error)
}

// Containers makes and removes containers.
type Containers interface {
	Create(ctx context.Context, opts runtime.ContainerOptions) (Container, error)
	Delete(ctx context.Context, id string) error
	Leftovers(ctx context.Context, label string) ([]string, error)
}

// Container is one sandbox.
type Container interface {
	Limits() runtime.Limits
	// Claim changes limits and adds labels, on the disk when it returns.
	Claim(ctx context.Context, opts runtime.ClaimOptions) error
	Exec(ctx context.Context, opts runtime.ExecOptions) (Process, error)
	ServeFiles(ctx context.Context) (Process, error)
	// StartZygote starts what programs are forked from.
	StartZygote(ctx context.Context, interpreter string, modules, env []string) (Process, error)
	// Wait returns when everything in the container has ended.
	Wait(ctx context.Context) error
	// Dying says whether that is about to come, or has.
	Dying() bool
	Kill() error
}

// Process is one program in a container.
type Process interface {
	Streams() runtime.Streams
	Wait(ctx context.Context) (runtime.ExitStatus, error)
	Kill() error
	Signal(ctx context.Context, signal syscall.Signal) error
	Resize(ctx context.Context, size runtime.Size) error
	// Populated says whether the program or anything that it started still runs.
	Populated() (bool, error)
	Usage() (cgroup.Usage, error)
	Close(ctx context.Context) error
}

// ContainersOf returns the containers of a runtime.
func ContainersOf(r *runtime.Runtime) Containers { return containers{r} }

type containers struct{ *runtime.Runtime }

func (c containers) Create(ctx context.Context, opts runtime.ContainerOptions) (Container, error) {
	made, err := c.Runtime.Create(ctx, opts)
	if err != nil {
		return nil, err
	}
	return container{made}, nil
}

type container struct{ *runtime.Container }

func (c container) Exec(ctx context.Context, opts runtime.ExecOptions) (Process, error) {
	p, err := c.Container.Exec(ctx, opts)
	if err != nil {
		return nil, err
	}
	return p, nil
}

func (c container) ServeFiles(ctx context.Context) (Process, error) {
	p, err := c.Container.ServeFiles(ctx)
	if err != nil {
		return nil, err
	}
	return p, nil
}

func (c container) StartZygote(ctx context.Context, interpreter string, modules, env []string) (Process, error) {
	p, err := c.Container.StartZygote(ctx, interpreter, modules, env)
	if err != nil {
		return nil, err
	}
	return p, nil
}

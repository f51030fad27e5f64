package shim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	stockprocess "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2/process"
	stockrunc "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2/runc"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/containerd/v2/pkg/shim"
	runc "github.com/containerd/go-runc"
)

// cleaner starts shims as runc's does, and cleans up after them. containerd
// asks for that after every container whose bundle is still there.
type cleaner struct {
	shim.Shim
	name string
	// agent says that the shim is the one of containers with an agent. Only
	// where that one did not come to it is there something of runc's to remove.
	agent bool
}

// Name names the runtime.
func (m *cleaner) Name() string { return m.name }

// Stop removes what a shim left of a container.
func (m *cleaner) Stop(ctx context.Context, id string) (shim.StopStatus, error) {
	dir, err := os.Getwd()
	if err != nil {
		return shim.StopStatus{}, err
	}
	dir = filepath.Join(filepath.Dir(dir), id)
	// One that was killed left its socket, which containerd knows nothing of.
	socketErr := removeSocket(dir)
	status, done, err := stopped(ctx, dir, id)
	if !m.agent || err == nil && !done {
		status, err = m.Shim.Stop(ctx, id)
	}
	if err = errors.Join(err, socketErr); err != nil {
		return shim.StopStatus{}, fmt.Errorf("clean up container %s: %w", id, err)
	}
	return status, nil
}

// stopped says how a container ended, and whether the shim removed it all.
func stopped(ctx context.Context, dir, id string) (_ shim.StopStatus, done bool, _ error) {
	ns, err := namespaces.NamespaceRequired(ctx)
	if err != nil {
		return shim.StopStatus{}, false, err
	}
	opts, err := stockrunc.ReadOptions(dir)
	if err != nil {
		return shim.StopStatus{}, false, fmt.Errorf("read its options: %w", err)
	}
	root := stockprocess.RuncRoot
	if opts != nil && opts.Root != "" {
		root = opts.Root
	}
	// Runc makes it before all else, and whoever has removed it did so last.
	if _, err := os.Stat(filepath.Join(root, ns, id)); !errors.Is(err, fs.ErrNotExist) {
		return shim.StopStatus{}, false, err
	}
	exit, err := stockrunc.ReadExitStatus(dir)
	if err != nil { // it was not made, or its shim was killed
		exit = runc.Exit{Status: 128 + int(killedStatus), Timestamp: time.Now()}
	}
	if err := mount.UnmountRecursive(filepath.Join(dir, "rootfs"), 0); err != nil {
		return shim.StopStatus{}, false, err
	}
	return shim.StopStatus{Pid: exit.Pid, ExitStatus: exit.Status, ExitedAt: exit.Timestamp}, true, nil
}

// removeSocket removes the socket of a container's own shim where nobody serves
// it any more. That of a shared one is its starter's, and others' containers need
// it: whoever is too busy to answer at once is not gone.
func removeSocket(dir string) error {
	text, err := os.ReadFile(filepath.Join(dir, "bootstrap.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // it never served
	}
	if err != nil {
		return err
	}
	var bootstrap struct{ Address string }
	if err := json.Unmarshal(text, &bootstrap); err != nil {
		return fmt.Errorf("find its socket: %w", err)
	}
	_, path, _ := strings.Cut(bootstrap.Address, "://")
	if _, err := os.Lstat(filepath.Join(filepath.Dir(path), sharedFile)); err == nil {
		return nil
	}
	if bootstrap.Address == "" || shim.CanConnect(bootstrap.Address) {
		return nil
	}
	if err := shim.RemoveSocket(bootstrap.Address); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove its socket: %w", err)
	}
	return nil
}

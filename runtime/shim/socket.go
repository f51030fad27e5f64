package shim

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/containerd/containerd/v2/pkg/shutdown"
	"golang.org/x/sys/unix"
)

// servingFD is the descriptor of the socket that a shim serves, which it inherits
// (containerd, pkg/shim/shim.go).
const servingFD = 3

// leaveNoSocket has the shim's socket removed at its end. RunShim does that too,
// but looks up its name in the bundle, which containerd may have removed by
// then.
func leaveNoSocket(down shutdown.Service) error {
	path, err := boundTo(servingFD)
	if err != nil {
		return fmt.Errorf("find the shim's socket: %w", err)
	}
	down.RegisterCallback(func(context.Context) error {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove the shim's socket: %w", err)
		}
		return nil
	})
	return nil
}

// boundTo returns the path that a Unix socket is bound to.
func boundTo(fd int) (string, error) {
	address, err := unix.Getsockname(fd)
	if err != nil {
		return "", err
	}
	a, ok := address.(*unix.SockaddrUnix)
	if !ok || a.Name == "" {
		return "", fmt.Errorf("descriptor %d is no socket with a path", fd)
	}
	return a.Name, nil
}

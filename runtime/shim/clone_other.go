//go:build !amd64

package shim

import (
	"fmt"
	"os"
	"strings"
	"syscall"

	"github.com/containerd/containerd/v2/core/mount"
)

// newUserNamespace makes a user namespace.
func newUserNamespace(uids, gids []syscall.SysProcIDMap) (*os.File, error) {
	text := func(ids []syscall.SysProcIDMap) string {
		var all []string
		for _, m := range ids {
			all = append(all, fmt.Sprintf("%d:%d:%d", m.ContainerID, m.HostID, m.Size))
		}
		return strings.Join(all, ",")
	}
	return mount.GetUsernsFD(text(uids), text(gids))
}

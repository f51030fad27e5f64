package cgroup

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/containerd/cgroups/v3"
)

// ReadyMoves has the kernel ready to move processes between cgroups without
// waiting, for some milliseconds from when it returns, which is after some.
//
// A move has to know that no thread forks or ends meanwhile. To that end the
// first one waits for a grace period of RCU, 7 to 20 ms on an idle machine; those
// that come soon after it find the kernel in the state that it left
// (cgroup_threadgroup_rwsem and rcu_sync in kernel/cgroup/cgroup.c and
// kernel/rcu/sync.c). So whoever starts something that is going to be moved can
// have that wait go on beside the start. What is moved here is this process, to
// where it is.
func (h Host) ReadyMoves() error {
	text, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return fmt.Errorf("find this process's cgroup: %w", err)
	}
	dir, ok := h.own(string(text))
	if !ok {
		return nil // in no hierarchy that is mounted where it should be
	}
	return write(dir, "cgroup.procs", strconv.Itoa(os.Getpid()))
}

// own returns the directory of a process's cgroup in one hierarchy, given its
// file /proc/PID/cgroup. Any is as good.
func (h Host) own(text string) (dir string, ok bool) {
	for line := range strings.Lines(strings.TrimSpace(text)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 {
			continue
		}
		switch {
		case h.mode == cgroups.Unified && parts[0] == "0":
			return filepath.Join(h.root, parts[2]), true
		case h.mode != cgroups.Unified && parts[1] == "memory":
			return filepath.Join(h.root, "memory", parts[2]), true
		}
	}
	return "", false
}

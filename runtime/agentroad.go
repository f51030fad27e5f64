package runtime

import (
	"context"
	"syscall"
)

// agentRoad starts a process through containerd by a shim of our own, which has the
// container's agent start the program where it belongs.
type agentRoad struct{ taskExec }

func (a *agentRoad) start(ctx context.Context) (Streams, error) { return a.begin(ctx) }

// wait does not learn whether the program was forked, nor what memory it took:
// containerd's event of an exit has no place for that.
func (a *agentRoad) wait(ctx context.Context) (ExitStatus, error) {
	status, err := a.code(ctx)
	if err != nil {
		return ExitStatus{}, err
	}
	if a.program.role == roleExec {
		return waitStatus(syscall.WaitStatus(status)), nil
	}
	return shellStatus(int(status)), nil
}

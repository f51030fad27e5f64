package runtime

import (
	"context"
	"time"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
)

// A wait through containerd also ends when containerd does, though what was waited for
// goes on. It is made again then, after firstRetry and less often from then on.
const (
	firstRetry = 50 * time.Millisecond
	lastRetry  = 2 * time.Second
)

// waiter is a task or a process as containerd's client has it.
type waiter interface {
	Wait(ctx context.Context) (<-chan containerd.ExitStatus, error)
}

// awaitExit returns a channel that gets how w ended, or an error if nobody can know
// any more: containerd, which answers, does not know w. It fails if w cannot be waited
// for now. The wait ends at the latest when stopped is closed, then without a value.
func awaitExit(ctx context.Context, w waiter, stopped <-chan struct{}) (<-chan containerd.ExitStatus, error) {
	exit, err := w.Wait(ctx)
	if err != nil {
		return nil, err
	}
	ended := make(chan containerd.ExitStatus, 1)
	go func() {
		for pause := firstRetry; ; pause = min(2*pause, lastRetry) {
			if exit != nil {
				select {
				case status := <-exit:
					err := errgrpc.ToNative(status.Error()) // containerd's client leaves that to its caller
					if err == nil || errdefs.IsNotFound(err) {
						ended <- *containerd.NewExitStatus(status.ExitCode(), status.ExitTime(), err)
						return
					}
				case <-stopped:
					return
				}
			}
			retry := time.NewTimer(pause)
			select {
			case <-retry.C:
			case <-stopped:
				retry.Stop()
				return
			}
			if exit, err = w.Wait(ctx); errdefs.IsNotFound(err) {
				ended <- *containerd.NewExitStatus(0, time.Time{}, err)
				return
			}
		}
	}()
	return ended, nil
}

package runtime

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
)

// waits are the outcomes of one wait after another.
type waits []error

func (w *waits) Wait(context.Context) (<-chan containerd.ExitStatus, error) {
	err := (*w)[0]
	if len(*w) > 1 {
		*w = (*w)[1:]
	}
	if errors.Is(err, errRefused) {
		return nil, err
	}
	exit := make(chan containerd.ExitStatus, 1)
	exit <- *containerd.NewExitStatus(7, time.Now(), errgrpc.ToGRPC(err)) // as containerd's client has it
	return exit, nil
}

var errRefused = errors.New("connection refused")

func TestWaitsThatBreakAreMadeAgain(t *testing.T) {
	for name, tc := range map[string]struct {
		waits waits
		err   error
	}{
		"it ended":               {waits{nil}, nil},
		"containerd restarts":    {waits{errdefs.ErrUnavailable, errRefused, errRefused, errdefs.ErrUnavailable, nil}, nil},
		"it ended unseen":        {waits{errdefs.ErrUnavailable, errRefused, errdefs.ErrNotFound}, errdefs.ErrNotFound},
		"its shim is not there":  {waits{errdefs.ErrNotFound}, errdefs.ErrNotFound},
		"containerd is overfull": {waits{context.DeadlineExceeded, nil}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				exit, err := awaitExit(t.Context(), &tc.waits, nil)
				if err != nil {
					t.Fatal(err)
				}
				if status := <-exit; !errors.Is(status.Error(), tc.err) || tc.err == nil && status.ExitCode() != 7 {
					t.Errorf("ended with %d, %v", status.ExitCode(), status.Error())
				}
			})
		})
	}
}

func TestWaitEndsWithItsOwner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stopped := make(chan struct{})
		exit, err := awaitExit(t.Context(), &waits{errdefs.ErrUnavailable}, stopped)
		if err != nil {
			t.Fatal(err)
		}
		<-time.After(time.Hour) // of the bubble's time
		select {
		case status := <-exit:
			t.Errorf("ended with %v", status.Error())
		default:
		}
		close(stopped)
		synctest.Wait() // fails if a goroutine is left
	})
}

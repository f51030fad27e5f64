package shim

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"codebeaker/runtime/agent/wire"
	"codebeaker/runtime/frame"
)

func gateOf(tb testing.TB) (*gate, *os.File) {
	tb.Helper()
	g, process, err := newGate()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		g.close()
		process.Close()
	})
	return g, process
}

func TestGateSaysWhatTheProcessSays(t *testing.T) {
	g, process := gateOf(t)
	for _, want := range []wire.Report{{}, {Stage: wire.StageExec, Errno: unix.ENOENT}} {
		packet := binary.NativeEndian.AppendUint32(nil, uint32(want.Stage))
		if _, err := process.Write(binary.NativeEndian.AppendUint32(packet, uint32(want.Errno))); err != nil {
			t.Fatal(err)
		}
		if got, err := g.hear(t.Context()); err != nil || got != want {
			t.Errorf("heard %+v, %v", got, err)
		}
		if err := g.open(); err != nil {
			t.Fatal(err)
		}
		if n, err := process.Read(make([]byte, 2)); n != 1 || err != nil {
			t.Errorf("the process reads %d bytes, %v", n, err)
		}
	}
	process.Close()
	if _, err := g.hear(t.Context()); !errors.Is(err, io.EOF) {
		t.Errorf("the end is %v", err)
	}
	if err := g.open(); !errors.Is(err, errFinished) {
		t.Errorf("a process that is gone is let go: %v", err)
	}
}

func TestProcessThatIsSilentAtItsGateHoldsNobody(t *testing.T) {
	g, _ := gateOf(t)
	ctx, cancel := context.WithCancel(t.Context())
	heard := make(chan error, 1)
	go func() {
		_, err := g.hear(ctx)
		heard <- err
	}()
	cancel()
	if err := <-heard; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// Processes of a session write these.
func FuzzReports(f *testing.F) {
	f.Add(make([]byte, wire.ReportLen))
	f.Add(make([]byte, wire.ReportLen+1))
	f.Fuzz(func(t *testing.T, packet []byte) {
		if len(packet) == 0 || len(packet) > wire.MaxMessage {
			return
		}
		g, process := gateOf(t)
		if _, err := process.Write(packet); err != nil {
			t.Fatal(err)
		}
		_, err := g.hear(t.Context())
		_, want := wire.ParseReport(packet)
		if (err == nil) != (want == nil) || err != nil && !errors.Is(err, frame.ErrProtocol) {
			t.Errorf("%x is %v", packet, err)
		}
	})
}

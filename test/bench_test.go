package test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// BenchmarkSession measures what a client waits for, through the WebSocket, one
// call after another. It reports p50 and p99 over all rounds; 50 rounds are
// -benchtime 50x.
func BenchmarkSession(b *testing.B) {
	s := python(b)
	stages := []string{"create", "write-1KiB", "first-write", "read-1KiB", "echo", "python-print", "close"}
	took := map[string][]time.Duration{}
	lap := func(stage string, f func() error) {
		started := time.Now()
		if err := f(); err != nil {
			b.Fatalf("%s: %v", stage, err)
		}
		took[stage] = append(took[stage], time.Since(started))
	}
	c := s.dial(b)
	kib := strings.Repeat("x", 1024)
	for b.Loop() {
		var info sessionInfo
		lap("create", func() error { return c.Call(b.Context(), "session.create", object{"language": "python"}, &info) })
		execute := func(command object) func() error {
			return func() error {
				var o outcome
				err := c.Call(b.Context(), "session.execute", object{"sessionId": info.SessionID, "command": command}, &o)
				if err == nil && !o.Success {
					err = fmt.Errorf("answer %+v", o)
				}
				return err
			}
		}
		// The first starts the session's file helper.
		lap("first-write", execute(object{"type": "write_file", "path": "a", "content": kib}))
		lap("write-1KiB", execute(object{"type": "write_file", "path": "b", "content": kib}))
		lap("read-1KiB", execute(object{"type": "read_file", "path": "b"}))
		lap("echo", execute(object{"type": "execute_shell", "commandName": "echo", "args": []string{"x"}}))
		lap("python-print", execute(object{"type": "execute_shell", "commandName": "python3", "args": []string{"-c", "print(1)"}}))
		lap("close", func() error {
			return c.Call(b.Context(), "session.close", object{"sessionId": info.SessionID}, nil)
		})
	}
	b.ReportMetric(0, "ns/op") // of all stages together, which says nothing
	for _, stage := range stages {
		d := took[stage]
		slices.Sort(d)
		b.ReportMetric(float64(d[len(d)/2].Microseconds())/1000, stage+"-p50-ms")
		b.ReportMetric(float64(d[(len(d)*99)/100].Microseconds())/1000, stage+"-p99-ms")
	}
}

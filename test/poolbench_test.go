package test

import (
	"slices"
	"testing"
	"time"
)

// createdTimings are what session.create tells of itself.
type createdTimings struct {
	Pooled  bool
	TotalMs float64
	Stages  []struct {
		Stage string
		Ms    float64
	}
}

// BenchmarkCreate measures, through the WebSocket and in one run, creates that
// claim a member of the pool and creates that start a container, one after
// another and each followed by its close, with all stages. n is -benchtime's.
func BenchmarkCreate(b *testing.B) {
	for _, bc := range []struct {
		name string
		args []string
	}{
		{"cold", []string{"--pool", "0"}},
		{"pooled", []string{"--pool", "16", "--pool-languages", "python=4"}},
	} {
		b.Run(bc.name, func(b *testing.B) {
			s := private(b, bc.args...)
			c := s.dial(b)
			took := map[string][]float64{}
			lap := func(stage string, ms float64) { took[stage] = append(took[stage], ms) }
			pooled := bc.name == "pooled"
			missed := 0
			for b.Loop() {
				var info struct {
					SessionID string
					Timings   createdTimings
				}
				if pooled {
					b.StopTimer()
					s.awaitMembers(b, 4)
					b.StartTimer()
				}
				started := time.Now()
				if err := c.Call(b.Context(), "session.create", object{"language": "python", "timings": true}, &info); err != nil {
					b.Fatal(err)
				}
				lap("create", float64(time.Since(started).Microseconds())/1000)
				if info.Timings.Pooled != pooled {
					missed++
				}
				for _, st := range info.Timings.Stages {
					lap(st.Stage, st.Ms)
				}
				started = time.Now()
				if err := c.Call(b.Context(), "session.close", object{"sessionId": info.SessionID}, nil); err != nil {
					b.Fatal(err)
				}
				lap("close", float64(time.Since(started).Microseconds())/1000)
			}
			b.ReportMetric(0, "ns/op") // of all together, which says nothing
			b.ReportMetric(float64(missed), "missed")
			for stage, d := range took {
				slices.Sort(d)
				b.ReportMetric(d[len(d)/2], stage+"-p50-ms")
				b.ReportMetric(d[(len(d)*99)/100], stage+"-p99-ms")
			}
		})
	}
}

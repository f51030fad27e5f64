package test

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// BenchmarkPython measures, through the WebSocket and in one run, a program that
// the session's zygote forks and the same one whose interpreter is started, one
// after the other; and an echo beside them, which is neither. n is -benchtime's.
func BenchmarkPython(b *testing.B) {
	s := python(b)
	if !s.forks() {
		b.Skip("the runtime is containerd's own")
	}
	c := s.dial(b)
	var info sessionInfo
	if err := c.Call(b.Context(), "session.create", object{"language": "python"}, &info); err != nil {
		b.Fatal(err)
	}
	run := func(command object) {
		var o outcome
		err := c.Call(b.Context(), "session.execute", object{"sessionId": info.SessionID, "command": command}, &o)
		if err != nil || !o.Success {
			b.Fatalf("answer %+v, %v", o, err)
		}
	}
	forked := object{"type": "execute_code", "code": "print(1)"}
	eventually(b, func() error {
		before := s.forkedPrograms(b)
		if run(forked); s.forkedPrograms(b) == before {
			return fmt.Errorf("no program was forked")
		}
		return nil
	})
	ways := map[string]object{
		"forked":      forked,
		"started":     {"type": "execute_code", "code": "print(1)", "env": plainly},
		"forked-json": {"type": "execute_code", "code": "import json, re, datetime\nprint(json.dumps(1))"},
		"json":        {"type": "execute_code", "code": "import json, re, datetime\nprint(json.dumps(1))", "env": plainly},
		"echo":        {"type": "execute_shell", "commandName": "echo", "args": []string{"x"}},
		"write-1KiB":  {"type": "write_file", "path": "a", "content": fmt.Sprintf("%1024d", 1)},
	}
	took := map[string][]float64{}
	for b.Loop() {
		for way, command := range ways {
			began := time.Now()
			run(command)
			took[way] = append(took[way], float64(time.Since(began).Microseconds())/1000)
		}
	}
	b.ReportMetric(0, "ns/op") // of all together, which says nothing
	for way, d := range took {
		slices.Sort(d)
		b.ReportMetric(d[len(d)/2], way+"-p50-ms")
		b.ReportMetric(d[len(d)*99/100], way+"-p99-ms")
	}
	if err := c.Call(b.Context(), "session.close", object{"sessionId": info.SessionID}, nil); err != nil {
		b.Fatal(err)
	}
}

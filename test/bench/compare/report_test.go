package compare

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
)

// example is a report of made-up samples.
func example(t *testing.T) *Report {
	t.Helper()
	plan := Plan{Rounds: 2, AtOnce: []int{30}, Burst: 100, Idle: 10, Gap: time.Second}
	c := newCells(plan, t.Logf)
	server, docker := &contestant{Info: Info{Name: nameServer}}, &contestant{Info: Info{Name: nameDocker}}
	add := func(s *contestant, m Measure, mode Mode, n int, times ...float64) {
		var samples []sample
		for _, v := range times {
			samples = append(samples, sample{took: time.Duration(v * float64(time.Millisecond))})
		}
		c.add(s, m, mode, n, samples)
	}
	add(server, Echo, Sequential, 1, 2, 3)
	add(server, Echo, Sequential, 1, 2.5)
	add(docker, Echo, Sequential, 1, 50)
	add(server, Echo, Burst, 30, 8, 11)
	c.spells[key{Echo, Burst, 30, nameServer}] = []spell{{12 * time.Millisecond, 11 * time.Millisecond}}
	add(server, Create, Sequential, 1, 30, 50)
	add(docker, Create, Sequential, 1, 100)
	c.add(docker, Create, Burst, 100, []sample{{err: errors.New("no | space\nleft")}})
	add(server, Create, Burst, 100, 140, 149)
	r := &Report{
		At: time.Unix(0, 0).UTC(), Version: "v1", Plan: plan,
		Subjects: []Info{{Name: nameServer, Version: "v1"}, {Name: nameDocker, Version: "20.10"}},
		Missing:  []Missing{{nameBwrap, "bwrap is not installed"}},
		Idle:     []Idle{{Subject: nameServer, Wanted: 10, Sandboxes: 10, Live: 10, Daemons: 1024, Shims: 512, Inside: 900, Cgroup: 2048}},
	}
	r.Cells = c.summaries(r.Subjects)
	r.complete()
	return r
}

func TestRatioIsOursByTheirs(t *testing.T) {
	r := example(t)
	if c := r.find(Echo, Sequential, 1, nameDocker); c.Ratio != 0.05 {
		t.Errorf("ratio of echo is %g", c.Ratio)
	}
	if c := r.find(Echo, Sequential, 1, nameServer); c.Ratio != 0 {
		t.Errorf("ratio of the server to itself is %g", c.Ratio)
	}
	for ratio, want := range map[float64]string{0: "", 0.05: "1/20", 0.4: "1/2.5", 1: "1.0", 2.25: "2.2"} {
		if got := asRatio(ratio); got != want {
			t.Errorf("%g is written %q, want %q", ratio, got, want)
		}
	}
}

func TestTargetsAreJudged(t *testing.T) {
	got := map[string]Target{}
	r := example(t)
	for _, g := range r.Targets {
		got[g.Name] = g
	}
	for name, met := range map[string]bool{
		"echo": true, "echo beside docker": true,
		"create, cold": true, "create, cold beside docker": false,
		"30 executions at once in one session": true,
		"the same, the processors' work aside": false,
		"memory of an idle session":            true,
		"burst of 100 creates":                 true,
	} {
		if g, ok := got[name]; !ok || g.Met != met {
			t.Errorf("%s: %+v, want met %v", name, g, met)
		}
		delete(got, name)
	}
	if len(got) > 0 {
		t.Errorf("judged without figures: %+v", got)
	}
	r.find(Create, Burst, 100, nameServer).Failed = 1
	r.find(Echo, Sequential, 1, nameServer).Failed = 1
	r.Idle[0].Live = 9
	for _, g := range r.judge() {
		if g.Met && (g.Name == "burst of 100 creates" || g.Name == "echo" || g.Name == "memory of an idle session") {
			t.Errorf("met in spite of a failure: %+v", g)
		}
	}
}

// A pool may be ready for the second of two bursts alone.
func TestBurstIsJudgedAgain(t *testing.T) {
	r := example(t)
	again := *r.find(Create, Burst, 100, nameServer)
	again.Mode, again.Max, again.Pooled = Again, 1e6, 100
	r.Cells = append(r.Cells, again)
	met := map[string]bool{}
	for _, g := range r.judge() {
		met[g.Name] = g.Met
	}
	if slow, ok := met["burst again of 100 creates"]; !ok || slow || !met["burst of 100 creates"] {
		t.Errorf("judged %v", met)
	}
	if title := again.title(); title != "create, 100 at once again" {
		t.Errorf("its title is %q", title)
	}
}

func TestPooledTargetNeedsThePool(t *testing.T) {
	r := example(t)
	pooled := r.find(Create, Sequential, 1, nameServer)
	cold := *pooled
	cold.Subject = nameCold
	pooled.P50, pooled.P99, pooled.Pooled = 1, 2, 1
	r.Cells = append(r.Cells, cold)
	found := func() Target {
		for _, g := range r.judge() {
			if g.Name == "create, pooled" {
				return g
			}
		}
		t.Fatal("it was not judged")
		return Target{}
	}
	if g := found(); g.Met || !strings.Contains(g.Got, "1 of 2 were pooled") {
		t.Errorf("with a cold one among them: %+v", g)
	}
	pooled = r.find(Create, Sequential, 1, nameServer)
	pooled.Pooled = 2
	if g := found(); !g.Met {
		t.Errorf("with all from the pool: %+v", g)
	}
}

func TestTableShowsEveryCell(t *testing.T) {
	var out bytes.Buffer
	if err := example(t).WriteTable(&out); err != nil {
		t.Fatal(err)
	}
	text := strings.Join(strings.Fields(out.String()), " ")
	for _, want := range []string{
		"echo, sequential n failed min p50 p95 p99 max best round ours/theirs codebeaker 3 0 2.00 2.50 3.00 3.00 3.00 2.00 docker 1 0 50.0 50.0 50.0 50.0 50.0 50.0 1/20",
		"echo, 30 at once", "create, 100 at once", "docker 1 1 first failure: no | space left",
		"bubblewrap: not compared, as bwrap is not installed",
		"codebeaker 10 10 1.00 0.50 0.88 2.00 3.50",
		"echo beside docker ≤ 1/12 1/20 met",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the table lacks %q:\n%s", want, out.String())
		}
	}
}

func TestJSONComesBack(t *testing.T) {
	var out bytes.Buffer
	want := example(t)
	if err := want.WriteJSON(&out); err != nil {
		t.Fatal(err)
	}
	var got Report
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Cells) != len(want.Cells) || got.Cells[0] != want.Cells[0] || got.Idle[0] != want.Idle[0] || !got.At.Equal(want.At) {
		t.Errorf("wrote %+v, read %+v", want, got)
	}
}

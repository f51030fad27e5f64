package main

import (
	"strings"
	"testing"
	"time"

	"codebeaker/cmd/codebeaker/bench"
)

func TestBenchRefusesPlansThatMeasureNothing(t *testing.T) {
	plan := bench.DefaultPlan()
	if err := checkPlan(&plan, "/var/tmp"); err != nil {
		t.Errorf("the default plan: %v", err)
	}
	for flag, change := range map[string]func(p *bench.Plan){
		"--rounds":      func(p *bench.Plan) { p.Rounds = 0 },
		"--creates":     func(p *bench.Plan) { p.Creates = 0 },
		"--programs":    func(p *bench.Plan) { p.Programs = -1 },
		"--files":       func(p *bench.Plan) { p.Files = 0 },
		"--bursts":      func(p *bench.Plan) { p.Bursts = 0 },
		"--burst":       func(p *bench.Plan) { p.Burst = -1 },
		"--idle":        func(p *bench.Plan) { p.Idle = -1 },
		"--idle-others": func(p *bench.Plan) { p.IdleOthers = -1 },
		"--at-once":     func(p *bench.Plan) { p.AtOnce = []int{4, 1} },
		"--stagger":     func(p *bench.Plan) { p.Gap = -time.Second },
	} {
		plan := bench.DefaultPlan()
		change(&plan)
		if err := checkPlan(&plan, "/var/tmp"); err == nil || !strings.HasPrefix(err.Error(), flag+" ") {
			t.Errorf("%s: %v", flag, err)
		}
	}
	for _, dir := range []string{"tmp", "/var/tmp/too-long"} {
		if err := checkPlan(&plan, dir); err == nil {
			t.Errorf("directory %s is taken", dir)
		}
	}
}

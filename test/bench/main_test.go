package main

import (
	"strings"
	"testing"
	"time"

	"codebeaker/test/bench/compare"
)

func TestBenchRefusesPlansThatMeasureNothing(t *testing.T) {
	plan := compare.DefaultPlan()
	if err := checkPlan(&plan, "/var/tmp"); err != nil {
		t.Errorf("the default plan: %v", err)
	}
	for flag, change := range map[string]func(p *compare.Plan){
		"--rounds":      func(p *compare.Plan) { p.Rounds = 0 },
		"--creates":     func(p *compare.Plan) { p.Creates = 0 },
		"--programs":    func(p *compare.Plan) { p.Programs = -1 },
		"--files":       func(p *compare.Plan) { p.Files = 0 },
		"--bursts":      func(p *compare.Plan) { p.Bursts = 0 },
		"--burst":       func(p *compare.Plan) { p.Burst = -1 },
		"--idle":        func(p *compare.Plan) { p.Idle = -1 },
		"--idle-others": func(p *compare.Plan) { p.IdleOthers = -1 },
		"--at-once":     func(p *compare.Plan) { p.AtOnce = []int{4, 1} },
		"--stagger":     func(p *compare.Plan) { p.Gap = -time.Second },
	} {
		plan := compare.DefaultPlan()
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

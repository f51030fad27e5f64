package test

import (
	goruntime "runtime"
	"strconv"
	"testing"

	"codebeaker/runtime/cgroup"
)

// Otherwise all sessions together have the share of one process beside them.
func TestSessionsHaveTheShareOfAProcessForEachProcessor(t *testing.T) {
	s := python(t)
	host, err := cgroup.Detect()
	if err != nil {
		t.Fatal(err)
	}
	file, one := cgroup.Root+"/cpu"+s.parent+"/cpu.shares", 1024
	if host.Mode() == "v2" {
		file, one = cgroup.Root+s.parent+"/cpu.weight", 100
	}
	if got, want := read(t, file), strconv.Itoa(one*goruntime.NumCPU()); got != want {
		t.Errorf("%s holds %s; want %s", file, got, want)
	}
}

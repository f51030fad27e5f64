package test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"codebeaker/rpc/client"
	"codebeaker/runtime/cgroup"
)

// soakBounds are what each process may grow by for 1000 operations, once it is
// warm. Memory: a quarter of what 265 bytes for each operation come to, a leak that
// a review found by eye. All else: one that stays of 2000 operations.
var soakBounds = map[string]float64{"rss KiB": 64, "heap KiB": 64, "descriptors": 0.5, "threads": 0.5, "goroutines": 0.5}

// soakSample is what was measured after so many operations, by process and kind.
type soakSample struct {
	operations float64
	values     map[string]float64
}

// TestSoak runs programs, some of them behind and on terminals, file commands,
// creates and connections for $SOAK_TIME (make soak), and fails where the server, a shim or an agent goes on to grow with
// their number.
func TestSoak(t *testing.T) {
	duration, err := time.ParseDuration(os.Getenv("SOAK_TIME"))
	if err != nil {
		t.Skip("it takes as long as SOAK_TIME says, such as 20m: make soak sets it")
	}
	s := private(t, "--pool", "8")
	// One session lives as long as the test, so that its shim and agent do.
	b := s.session(t, object{"maxLifetimeMinutes": 2 * duration.Minutes(), "pidsLimit": 64})
	ctx, cancel := context.WithTimeout(t.Context(), duration)
	defer cancel()
	var operations atomic.Int64
	var workers sync.WaitGroup
	for range 2 {
		workers.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				done, err := s.soak(ctx, b.id, n)
				if err != nil && ctx.Err() == nil {
					t.Errorf("operation %d: %v", n, err)
					cancel()
				}
				operations.Add(int64(done))
			}
		})
	}
	var samples []soakSample
	tick := time.NewTicker(max(time.Second, duration/600))
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-tick.C:
			values, err := s.measure(ctx, b.info.ContainerID)
			if err != nil && ctx.Err() == nil {
				t.Error(err)
			} else if err == nil {
				samples = append(samples, soakSample{float64(operations.Load()), values})
			}
		}
	}
	workers.Wait()
	t.Logf("%d operations, %d samples; the second half of these counts", operations.Load(), len(samples))
	warm := samples[len(samples)/2:]
	if len(warm) < 10 {
		t.Fatalf("%d samples are too few", len(warm))
	}
	for _, name := range soakNames(warm[0]) {
		_, kind, _ := strings.Cut(name, " ")
		slope := theilSen(warm, name) * 1000
		t.Logf("%-24s from %9.0f to %9.0f, %+9.2f for 1000 operations", name, warm[0].values[name], warm[len(warm)-1].values[name], slope)
		if slope > soakBounds[kind] {
			t.Errorf("%s grows by %.2f for 1000 operations; it may by %g", name, slope, soakBounds[kind])
		}
	}
}

func soakNames(s soakSample) []string {
	var names []string
	for name := range s.values {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// theilSen returns the median of the slopes between all pairs of samples, which a
// few that are far off do not change.
func theilSen(samples []soakSample, name string) float64 {
	var slopes []float64
	for i, a := range samples {
		for _, b := range samples[i+1:] {
			if b.operations > a.operations {
				slopes = append(slopes, (b.values[name]-a.values[name])/(b.operations-a.operations))
			}
		}
	}
	slices.Sort(slopes)
	return slopes[len(slopes)/2]
}

// soak carries out one round over a connection of its own, and says how many
// operations that were.
func (s *server) soak(ctx context.Context, session string, n int) (int, error) {
	c, err := client.Dial(ctx, s.url)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	done := 1
	execute := func(session string, command object) error {
		done++
		return c.Call(ctx, "session.execute", object{"sessionId": session, "command": command}, nil)
	}
	for range 20 {
		for _, command := range []object{
			shell("echo out; echo err >&2", nil),
			{"type": "write_file", "path": "soak", "content": "x"},
			{"type": "read_file", "path": "soak"},
		} {
			if err := execute(session, command); err != nil {
				return done, err
			}
		}
	}
	for _, tty := range []bool{false, true} {
		followed, err := soakFollowed(ctx, c, session, tty)
		if done += followed; err != nil {
			return done, err
		}
	}
	if n%4 > 0 {
		return done, nil
	}
	run, err := c.Stream(ctx, "execution.run", object{"language": "python", "code": "x"}, "")
	if err != nil {
		return done, err
	}
	defer run.Close()
	done++
	if err := awaitEnd(ctx, run); err != nil {
		return done, err
	}
	var info sessionInfo
	if err := c.Call(ctx, "session.create", object{"language": "python"}, &info); err != nil {
		return done, err
	}
	if err := execute(info.SessionID, shell("true", nil)); err != nil {
		return done, err
	}
	return done + 2, c.Call(ctx, "session.close", object{"sessionId": info.SessionID}, nil)
}

// soakFollowed follows a program behind, types to it, attaches to it again and has it
// end.
func soakFollowed(ctx context.Context, c *client.Client, session string, tty bool) (done int, _ error) {
	s, err := c.Stream(ctx, "session.execute", object{
		"sessionId": session, "stream": true, "command": shell("read line; echo $line", object{"background": true, "tty": tty}),
	}, "")
	if err != nil {
		return 1, err
	}
	defer s.Close()
	var answer outcome
	if err := s.Answer(ctx, &answer); err != nil {
		return 1, err
	}
	id := answer.Result.ExecutionID
	calls := []struct {
		method string
		params object
	}{
		{"execution.detach", object{"executionId": id}},
		{"execution.resize", object{"executionId": id, "rows": 50, "cols": 132}},
		{"execution.signal", object{"executionId": id, "signal": "WINCH"}},
		{"execution.attach", object{"executionId": id}},
		{"execution.input", object{"executionId": id, "data": "typed\n"}},
	}
	if !tty { // which alone has a size
		calls = append(calls[:1], calls[2:]...)
	}
	for n, call := range calls {
		if err := c.Call(ctx, call.method, call.params, nil); err != nil {
			return n + 2, fmt.Errorf("%s: %w", call.method, err)
		}
	}
	return len(calls) + 1, awaitEnd(ctx, s)
}

// awaitEnd reads what is told of an execution until its end.
func awaitEnd(ctx context.Context, s *client.Stream) error {
	for {
		switch e, err := s.Next(ctx); {
		case err != nil:
			return err
		case e.Method == client.MethodError:
			return errors.New(e.Error)
		case e.Method == client.MethodCompleted:
			return nil
		}
	}
}

// measure measures the server, the largest of its shims and the agents of one
// container.
func (s *server) measure(ctx context.Context, container string) (map[string]float64, error) {
	values := map[string]float64{}
	note := func(who, pid string, most bool) {
		status, err := os.ReadFile(filepath.Join("/proc", pid, "status"))
		if err != nil {
			return // it has ended
		}
		files, err := os.ReadDir(filepath.Join("/proc", pid, "fd"))
		if err != nil {
			return
		}
		for kind, value := range map[string]float64{
			"rss KiB": statusField(string(status), "VmRSS:"), "threads": statusField(string(status), "Threads:"), "descriptors": float64(len(files)),
		} {
			if name := who + " " + kind; most {
				values[name] = max(values[name], value)
			} else {
				values[name] += value
			}
		}
	}
	server := strconv.Itoa(s.cmd.Process.Pid)
	note("server", server, false)
	processes, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return nil, err
	}
	for _, file := range processes {
		text, _ := os.ReadFile(file) // none where it has ended
		if pid := filepath.Base(filepath.Dir(file)); pid != server && strings.Contains(string(text), s.state+"/") && strings.Contains(string(text), "-namespace") {
			note("shim", pid, true)
		}
	}
	host, err := cgroup.Detect()
	if err != nil {
		return nil, err
	}
	pids, err := host.Group(filepath.Join(s.parent, container)).Pids()
	if err != nil {
		return nil, err
	}
	for _, pid := range pids {
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if strings.HasPrefix(string(text), "/.codebeaker/agent\x00") {
			note("agent", strconv.Itoa(pid), true)
		}
	}
	return values, s.measureInside(ctx, values)
}

// measureInside adds what only the server's own metrics tell.
func (s *server) measureInside(ctx context.Context, values map[string]float64) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.base+"/metrics", nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	lines := bufio.NewScanner(response.Body)
	for lines.Scan() {
		name, text, _ := strings.Cut(lines.Text(), " ")
		value, err := strconv.ParseFloat(text, 64)
		switch {
		case err != nil:
		case name == "go_goroutines":
			values["server goroutines"] = value
		case name == "go_memstats_heap_alloc_bytes":
			values["server heap KiB"] = value / 1024
		}
	}
	return lines.Err()
}

// statusField returns a number of /proc/PID/status.
func statusField(status, name string) float64 {
	_, rest, _ := strings.Cut(status, "\n"+name)
	var n float64
	_, _ = fmt.Sscan(rest, &n)
	return n
}

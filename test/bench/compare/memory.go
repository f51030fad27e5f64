package compare

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Idle is what a subject's idle sandboxes take. Sizes are in KiB and for one
// sandbox: what there is with them more than without, divided by their number.
type Idle struct {
	Subject string `json:"subject"`
	// Sandboxes is how many there were, Live how many of them ran a program after
	// all were there. Wanted is more where memory ran short.
	Wanted    int `json:"wanted"`
	Sandboxes int `json:"sandboxes"`
	Live      int `json:"live"`
	// Daemons, Shims and Inside are the proportional set sizes (PSS) of the
	// processes that serve all, of those that serve some, and of those in the
	// sandboxes; ShimCount is how many of the second there were, altogether.
	Daemons   float64 `json:"daemonsKiB"`
	Shims     float64 `json:"shimsKiB"`
	ShimCount int     `json:"shims"`
	Inside    float64 `json:"insideKiB"`
	// Cgroup is what the kernel accounts to the sandboxes: their processes, page
	// cache and kernel memory.
	Cgroup float64 `json:"cgroupKiB"`
	// Available is by how much the host's available memory shrank, which is a
	// check on the others where nothing else happens on the host.
	Available float64 `json:"availableKiB"`
}

// Total is what an idle sandbox takes: daemons, shims and what is accounted to
// it, or its processes where that is more, in KiB.
func (i Idle) Total() float64 { return i.Daemons + i.Shims + max(i.Cgroup, i.Inside) }

const (
	// idleAtOnce are how many are created at one time.
	idleAtOnce = 4
	// reserve is the part of memory that idle sandboxes leave free.
	reserve = 8
)

// usage is memory at one time, in KiB.
type usage struct {
	daemons, shims, inside, cgroup, available float64
	shimCount                                 int
}

// measureIdle creates n sandboxes, measures what they take, runs a program in
// each and closes them.
func measureIdle(ctx context.Context, s *contestant, n int) (_ Idle, retErr error) {
	before, err := s.usage()
	if err != nil {
		return Idle{}, err
	}
	total, err := meminfo("MemTotal")
	if err != nil {
		return Idle{}, err
	}
	var boxes []Sandbox
	defer func() {
		retErr = errors.Join(retErr, closeAll(context.WithoutCancel(ctx), boxes))
	}()
	for len(boxes) < n {
		free, err := meminfo("MemAvailable")
		if err != nil {
			return Idle{}, err
		}
		if free < total/reserve {
			break
		}
		made := make([]Sandbox, min(idleAtOnce, n-len(boxes)))
		samples := pace(ctx, Burst, len(made), 0, timed(func(ctx context.Context, i int) (err error) {
			made[i], err = s.Create(ctx)
			return err
		}))
		for _, box := range made {
			if box != nil {
				boxes = append(boxes, box)
			}
		}
		if err := firstError(Create, samples); err != nil {
			return Idle{}, fmt.Errorf("after %d idle sandboxes: %w", len(boxes), err)
		}
	}
	result := Idle{Subject: s.Name, Wanted: n, Sandboxes: len(boxes)}
	if len(boxes) == 0 {
		return result, nil
	}
	after, err := s.usage()
	if err != nil {
		return Idle{}, err
	}
	each := func(before, after float64) float64 { return (after - before) / float64(len(boxes)) }
	result.Daemons, result.Shims = each(before.daemons, after.daemons), each(before.shims, after.shims)
	result.Inside, result.Cgroup = each(before.inside, after.inside), each(before.cgroup, after.cgroup)
	result.Available, result.ShimCount = each(after.available, before.available), after.shimCount-before.shimCount
	var mu sync.Mutex
	inParallel(idleAtOnce, boxes, func(box Sandbox) {
		ctx, cancel := context.WithTimeout(ctx, opTimeout)
		defer cancel()
		if text, err := box.Run(ctx, "echo", "20"); err == nil && text == "20\n" {
			mu.Lock()
			defer mu.Unlock()
			result.Live++
		}
	})
	return result, ctx.Err()
}

func closeAll(ctx context.Context, boxes []Sandbox) error {
	var mu sync.Mutex
	var errs []error
	inParallel(2*idleAtOnce, boxes, func(box Sandbox) {
		ctx, cancel := context.WithTimeout(ctx, opTimeout)
		defer cancel()
		if err := box.Delete(ctx); err != nil {
			mu.Lock()
			defer mu.Unlock()
			errs = append(errs, fmt.Errorf("close an idle sandbox: %w", err))
		}
	})
	return errors.Join(errs...)
}

// inParallel calls f for each box, n at one time.
func inParallel(n int, boxes []Sandbox, f func(Sandbox)) {
	next := make(chan Sandbox)
	var workers sync.WaitGroup
	for range n {
		workers.Go(func() {
			for box := range next {
				f(box)
			}
		})
	}
	for _, box := range boxes {
		next <- box
	}
	close(next)
	workers.Wait()
}

// usage measures the subject's processes: those with a directory of it in their
// arguments that are no daemons are shims.
func (s *contestant) usage() (usage, error) {
	var u usage
	var err error
	if u.available, err = meminfo("MemAvailable"); err != nil {
		return u, err
	}
	daemons := s.Daemons()
	for _, pid := range daemons {
		kib, err := pss(pid)
		if err != nil {
			return u, err
		}
		u.daemons += kib
	}
	inside, err := processesIn(s.cgroup)
	if err != nil {
		return u, err
	}
	for _, pid := range inside {
		kib, err := pss(pid)
		if err != nil {
			return u, err
		}
		u.inside += kib
	}
	shims, err := processesOf(func(arguments string) bool {
		return strings.Contains(arguments, s.dir+"/") || strings.Contains(arguments, s.state+"/")
	})
	if err != nil {
		return u, err
	}
	for _, pid := range shims {
		if slices.Contains(daemons, pid) || slices.Contains(inside, pid) {
			continue
		}
		kib, err := pss(pid)
		if err != nil {
			return u, err
		}
		u.shims += kib
		u.shimCount++
	}
	u.cgroup, err = cgroupMemory(s.cgroup)
	return u, err
}

// pss returns a process's proportional set size in KiB, 0 where it has ended.
func pss(pid int) (float64, error) {
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "smaps_rollup"))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, os.ErrProcessDone) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read memory of process %d: %w", pid, err)
	}
	return field(string(text), "Pss")
}

// meminfo returns a figure of the host's memory in KiB.
func meminfo(name string) (float64, error) {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, err
	}
	return field(string(text), name)
}

// field finds the line "name: N kB".
func field(text, name string) (float64, error) {
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			return strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 64)
		}
	}
	return 0, fmt.Errorf("read memory: there is no %s", name)
}

// processesIn returns the processes in a cgroup and below it.
func processesIn(group string) ([]int, error) {
	dirs, err := cgroupDirs(group)
	if err != nil {
		return nil, err
	}
	found := map[int]bool{}
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.Name() != "cgroup.procs" {
				return ignoreGone(err)
			}
			text, err := os.ReadFile(path) //nolint:gosec // cgroups have no links
			for word := range strings.FieldsSeq(string(text)) {
				if pid, err := strconv.Atoi(word); err == nil {
					found[pid] = true
				}
			}
			return ignoreGone(err)
		})
		if err != nil {
			return nil, fmt.Errorf("find processes of cgroup %s: %w", group, err)
		}
	}
	var pids []int
	for pid := range found {
		pids = append(pids, pid)
	}
	slices.Sort(pids)
	return pids, nil
}

// ignoreGone passes over what went away while it was looked at.
func ignoreGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// cgroupMemory returns what is accounted to a cgroup in KiB, 0 where there is
// none.
func cgroupMemory(group string) (float64, error) {
	for _, path := range []string{
		filepath.Join(cgroupRoot, group, "memory.current"),
		filepath.Join(cgroupRoot, "memory", group, "memory.usage_in_bytes"),
	} {
		text, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return 0, err
		}
		bytes, err := strconv.ParseFloat(strings.TrimSpace(string(text)), 64)
		return bytes / 1024, err
	}
	return 0, nil
}

package compare

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Options say what to compare and how.
type Options struct {
	Plan Plan
	// Dir is an empty directory for everything that the run makes, which it
	// removes at the end. At most 26 bytes long, as sockets below it have to fit
	// their address; on a disk, as the subjects' own directories are.
	Dir string
	// State is another, in memory, for what the subjects keep in /run.
	State string
	// Image is below Dir.
	Image Image
	// ImageName is for people.
	ImageName string
	// Program is codebeaker, Version its version.
	Program, Version string
	// ServerFlags are added to those of serve.
	ServerFlags []string
	// Stock is the command that serves a containerd; its runtime is StockShim,
	// with the runc at Runc.
	Stock           []string
	StockShim, Runc string
	// RuncVersion is runc's version.
	RuncVersion string
	// SwapLimit says that the host can bound swap.
	SwapLimit bool
	// Only are the names of subjects to compare; all where empty.
	Only []string
	// Progress is told what is done; nil discards it.
	Progress io.Writer
}

// Run measures, and ends everything that it started, also when ctx ends.
// Anything that is left on the host is an error.
func Run(ctx context.Context, opts Options) (_ *Report, retErr error) {
	if opts.Progress == nil {
		opts.Progress = io.Discard
	}
	machine, err := examineMachine()
	if err != nil {
		return nil, err
	}
	cgroup := "/" + filepath.Base(opts.Dir)
	defer func() {
		retErr = errors.Join(retErr, sweep(context.WithoutCancel(ctx), cgroup, opts.Dir, opts.State))
	}()
	report := &Report{
		At: time.Now().UTC().Truncate(time.Second), Machine: machine, Version: opts.Version, Image: opts.ImageName, Plan: opts.Plan,
	}
	r := &run{opts: opts, cgroup: cgroup, report: report}
	r.cells = newCells(opts.Plan, r.say)
	defer func() {
		retErr = errors.Join(retErr, r.stop(context.WithoutCancel(ctx)))
	}()
	if err := r.start(ctx); err != nil {
		return nil, interrupted(ctx, err)
	}
	if err := r.measure(ctx); err != nil {
		return nil, interrupted(ctx, err)
	}
	report.Cells = r.cells.summaries(report.Subjects)
	report.complete()
	if report.Machine.LoadAfter, err = load(); err != nil {
		return nil, err
	}
	return report, nil
}

// interrupted makes an interrupt, which breaks whatever runs, the only error.
func interrupted(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("the measurement was ended: %w", ctx.Err())
	}
	return err
}

// run is a run under way.
type run struct {
	opts     Options
	cgroup   string
	report   *Report
	cells    *cells
	subjects []*contestant
}

func (r *run) say(format string, args ...any) {
	fmt.Fprintf(r.opts.Progress, "bench: "+format+"\n", args...)
}

// start starts all subjects that are there, and says which are not.
func (r *run) start(ctx context.Context) error {
	starters := r.starters()
	for _, name := range r.opts.Only {
		if !slices.ContainsFunc(starters, func(s starter) bool { return s.Name == name }) {
			return fmt.Errorf("there is no %q to compare", name)
		}
	}
	for _, s := range starters {
		if len(r.opts.Only) > 0 && !slices.Contains(r.opts.Only, s.Name) {
			continue
		}
		r.say("starting %s", s.Name)
		c := &contestant{Info: s.Info, dir: filepath.Join(r.opts.Dir, s.short), state: filepath.Join(r.opts.State, s.short), cgroup: filepath.Join(r.cgroup, s.short)}
		missing, err := s.start(ctx, c)
		if err == nil && missing == "" {
			r.subjects = append(r.subjects, c)
			err = r.cells.warmUp(ctx, c)
		}
		// After the first sandbox: before, a pool need not know what it is for.
		if err == nil && c.settle != nil {
			if err = c.settle(ctx); errors.Is(err, errNoPoolMetrics) {
				r.say("creates do not wait until the pool is full: %v", err)
				c.settle, err = nil, nil
			}
		}
		if err != nil {
			return fmt.Errorf("start %s: %w", s.Name, err)
		}
		if missing != "" {
			r.say("%s is not compared: %s", s.Name, missing)
			r.report.Missing = append(r.report.Missing, Missing{s.Name, missing})
			continue
		}
		r.report.Subjects = append(r.report.Subjects, c.Info)
	}
	if len(r.subjects) == 0 {
		return errors.New("there is nothing to measure")
	}
	return nil
}

// stop ends all subjects, the last first.
func (r *run) stop(ctx context.Context) error {
	var errs []error
	for _, s := range slices.Backward(r.subjects) {
		r.say("ending %s", s.Name)
		errs = append(errs, s.Close(ctx))
	}
	return errors.Join(errs...)
}

// measure goes through everything.
func (r *run) measure(ctx context.Context) error {
	for round := range r.opts.Plan.Rounds {
		for i := range r.subjects {
			// Each subject comes first, and after each other, in some round.
			s := r.subjects[(i+round)%len(r.subjects)]
			r.say("round %d of %d: %s", round+1, r.opts.Plan.Rounds, s.Name)
			err := r.cells.round(ctx, s)
			if err == nil && s.settle != nil {
				err = s.settle(ctx) // so that it does not take from the next
			}
			if err != nil {
				return fmt.Errorf("measure %s: %w", s.Name, err)
			}
		}
	}
	for _, s := range r.subjects {
		if s.Floor || r.opts.Plan.Burst == 0 {
			continue
		}
		modes := []Mode{Burst}
		if s.settle != nil {
			modes = append(modes, Again)
		}
		for _, mode := range modes {
			r.say("%d sandboxes at once, %s: %s", r.opts.Plan.Burst, mode, s.Name)
			if err := r.cells.lives(ctx, s, mode, r.opts.Plan.Burst); err != nil {
				return fmt.Errorf("measure %s: %w", s.Name, err)
			}
		}
	}
	for _, s := range r.subjects {
		n := r.opts.Plan.Idle
		if s.Name != nameCold {
			n = min(n, r.opts.Plan.IdleOthers)
		}
		// A pool's members are no sessions; without one the figures are of sessions alone.
		if s.Floor || n == 0 || s.Name == nameServer {
			continue
		}
		r.say("%d idle sandboxes: %s", n, s.Name)
		idle, err := measureIdle(ctx, s, n)
		if err != nil {
			return fmt.Errorf("measure %s: %w", s.Name, err)
		}
		r.report.Idle = append(r.report.Idle, idle)
	}
	return ctx.Err()
}

// starter starts a subject. What keeps one from being compared is said; it is
// no error.
type starter struct {
	Info
	short string // of its directory and cgroup
	start func(ctx context.Context, c *contestant) (missing string, err error)
}

func (r *run) starters() []starter {
	o := r.opts
	const server = "codebeaker serve, through its WebSocket"
	serve := func(pool bool, flags ...string) func(ctx context.Context, c *contestant) (string, error) {
		return func(ctx context.Context, c *contestant) (string, error) {
			s, err := startServer(ctx, serverOptions{
				program: o.Program, dir: c.dir, state: c.state, cgroup: c.cgroup, archive: o.Image.Archive, flags: slices.Concat(o.ServerFlags, flags),
				pool: pool,
			})
			if err != nil {
				return "", err
			}
			c.Subject, c.Version = s, o.Version
			if pool {
				c.settle = s.settle
			}
			return "", nil
		}
	}
	return []starter{
		{Info{Name: nameServer, How: server}, "p", serve(true)},
		{Info{Name: nameCold, How: "the same with its pool switched off, so that every session is created when it is asked for", NewOnly: true}, "n", serve(false, "--pool=0")},
		{Info{Name: nameContainerd, How: "stock containerd and its shim for runc, in a process of its own, through its Go client: NewContainer, NewTask, Exec; files through cat"}, "c", r.startStock},
		{Info{Name: nameDocker, How: "the installed dockerd and containerd through Docker's HTTP API: containers/create and start, exec, archive, DELETE"}, "d", r.startDocker},
		{Info{Name: nameFork, How: "fork and exec of the bench itself, in a chroot, as the same user; files written and read by the bench", Floor: true}, "f", r.startFork},
		{Info{Name: nameBwrap, How: "bwrap --unshare-all for each program, as the same user, without limits; files through cat", Floor: true}, "b", r.startBwrap},
	}
}

func (r *run) startStock(ctx context.Context, c *contestant) (string, error) {
	s, err := startStock(ctx, stockOptions{
		command: r.opts.Stock, dir: c.dir, state: c.state, cgroup: c.cgroup, image: r.opts.Image,
		shim: r.opts.StockShim, runc: r.opts.Runc, swapLimit: r.opts.SwapLimit,
	})
	if err != nil {
		return "", err
	}
	c.Subject = s
	v, err := s.client.Version(ctx)
	if err != nil {
		return "", errors.Join(fmt.Errorf("ask containerd for its version: %w", err), s.Close(context.WithoutCancel(ctx)))
	}
	c.Version = fmt.Sprintf("%s, runc %s, shim %s", strings.TrimPrefix(v.Version, "v"), r.opts.RuncVersion, filepath.Base(r.opts.StockShim))
	return "", nil
}

func (r *run) startDocker(ctx context.Context, c *contestant) (string, error) {
	o := dockerOptions{dir: c.dir, state: c.state, cgroup: c.cgroup, image: r.opts.Image}
	var missing string
	if o.dockerd, missing = installed("dockerd", "docker.io"); missing != "" {
		return missing, nil
	}
	if o.containerd, missing = installed("containerd", "containerd"); missing != "" {
		return missing, nil
	}
	d, err := startDocker(ctx, o)
	if err != nil {
		return "", err
	}
	c.Subject = d
	c.Version, err = d.versions(ctx)
	if err != nil {
		return "", errors.Join(err, d.Close(context.WithoutCancel(ctx)))
	}
	return "", nil
}

func (r *run) startFork(_ context.Context, c *contestant) (string, error) {
	c.Subject, c.Version = &floor{rootfs: r.opts.Image.Rootfs, env: r.opts.Image.Env}, r.report.Machine.Kernel
	return "", nil
}

func (r *run) startBwrap(ctx context.Context, c *contestant) (string, error) {
	path, missing := installed("bwrap", "bubblewrap")
	if missing != "" {
		return missing, nil
	}
	version, err := runProgram(ctx, path, "--version")
	if err != nil {
		return "", err
	}
	f := &floor{rootfs: r.opts.Image.Rootfs, env: r.opts.Image.Env, bwrap: path}
	// Some hosts let no user but root make user namespaces.
	if _, failed := (floorSandbox{f}).Run(ctx, "true"); failed != nil {
		return fmt.Sprintf("it does not run here: %v", failed), nil
	}
	_, version, _ = strings.Cut(strings.TrimSpace(version), " ")
	c.Subject, c.Version = f, version
	return "", nil
}

// installed finds a program, or says which of Debian's packages has it.
func installed(program, debian string) (path, missing string) {
	path, err := exec.LookPath(program)
	if err != nil {
		return "", fmt.Sprintf("%s is not installed (Debian: %s)", program, debian)
	}
	return path, ""
}

// makeDirs makes directories through which everybody can pass.
func makeDirs(dirs ...string) error {
	for _, dir := range dirs {
		if err := os.Mkdir(dir, 0o711); err != nil {
			return err
		}
	}
	return nil
}

// MakeDir makes a directory for Options.Dir or State below parent.
func MakeDir(parent string) (string, error) {
	dir, err := os.MkdirTemp(parent, "cbb-")
	if err != nil {
		return "", err
	}
	return dir, os.Chmod(dir, 0o711) //nolint:gosec // sessions' users pass through
}

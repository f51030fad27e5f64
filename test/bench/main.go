// Command bench measures a codebeaker server beside containerd, Docker and
// bubblewrap on this host (package compare). It uses the codebeaker that is beside it
// as a user does: through its command line and its WebSocket.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"codebeaker/runtime"
	"codebeaker/runtime/cgroup"
	"codebeaker/runtime/engine"
	"codebeaker/test/bench/compare"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
	defer stop()
	if err := newCommand().ExecuteContext(ctx); err != nil {
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		os.Exit(1)
	}
}

// options are what the command line says. The plan is apart.
type options struct {
	codebeaker, runc string // paths of programs; empty for those beside this one
	root, state      string // of the server whose image is used; empty for the usual ones
	dir, json        string
	serverFlags      []string
	only             []string
}

func newCommand() *cobra.Command {
	plan := compare.DefaultPlan()
	var o options
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure a codebeaker server beside containerd, Docker and bubblewrap",
		Long: `Measure a codebeaker server beside containerd, Docker and bubblewrap.

Everything that is compared is started for the measurement, with the Python image
of --root, and ends with it. Docker and bubblewrap are compared if they are
installed. The host should have nothing else to do.`,
		Args:          cobra.NoArgs,
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			report, err := o.run(cmd.Context(), compare.Options{Plan: plan, Only: o.only, Progress: cmd.ErrOrStderr()})
			if err != nil {
				return err
			}
			err = report.WriteTable(cmd.OutOrStdout())
			if o.json != "" {
				err = errors.Join(err, writeJSON(o.json, report))
			}
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.codebeaker, "codebeaker", "", "codebeaker's `path` (default: beside this program)")
	f.StringVar(&o.runc, "runc", "", "runc's `path` (default: beside this program)")
	f.StringVar(&o.root, "root", "", "`directory` of the server whose Python image is used (default: codebeaker's)")
	f.StringVar(&o.state, "state", "", "that server's `directory` in memory (default: codebeaker's)")
	f.StringVar(&o.dir, "dir", "/var/tmp", "`directory` for what the measurement makes, on a disk; 14 characters at most")
	f.IntVar(&plan.Rounds, "rounds", plan.Rounds, "`number` of rounds, each of which measures everything")
	f.IntSliceVar(&plan.AtOnce, "at-once", plan.AtOnce, "`numbers` that are asked for at one time; the largest also at an interval")
	f.DurationVar(&plan.Gap, "stagger", plan.Gap, "`time` between two that are staggered")
	f.IntVar(&plan.Creates, "creates", plan.Creates, "`number` of sandboxes that a round creates one after another")
	f.IntVar(&plan.Programs, "programs", plan.Programs, "`number` of programs of each kind that a round runs one after another")
	f.IntVar(&plan.Files, "files", plan.Files, "`number` of small files that a round writes, and reads, one after another")
	f.IntVar(&plan.Bursts, "bursts", plan.Bursts, "`number` of bursts of programs and of files that a round has of each size")
	f.IntVar(&plan.Burst, "burst", plan.Burst, "`number` of sandboxes that are created at one time at the end; 0 for none")
	f.IntVar(&plan.Idle, "idle", plan.Idle, "`number` of idle sessions to measure the memory of; 0 for none")
	f.IntVar(&plan.IdleOthers, "idle-others", plan.IdleOthers, "the most that others than this server get of --idle")
	f.StringSliceVar(&o.only, "only", nil, "`names` of what to compare, such as codebeaker,docker (default: all)")
	f.StringArrayVar(&o.serverFlags, "server-flag", nil, "an `option` of codebeaker serve for the server, such as --server-flag=--runtime=NAME")
	f.StringVar(&o.json, "json", "", "`file` to write everything to, as JSON")
	cmd.AddCommand(newContainerdCommand())
	return cmd
}

// run measures in a directory of its own below o.dir, which is gone when it returns.
func (o *options) run(ctx context.Context, opts compare.Options) (_ *compare.Report, retErr error) {
	if err := checkPlan(&opts.Plan, o.dir); err != nil {
		return nil, err
	}
	if err := o.complete(ctx, &opts); err != nil {
		return nil, err
	}
	var err error
	if opts.Dir, err = compare.MakeDir(o.dir); err != nil {
		return nil, fmt.Errorf("make a directory: %w", err)
	}
	opts.State, err = compare.MakeDir("/run")
	if err == nil {
		err = o.takeImage(ctx, &opts)
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(opts.Dir), os.RemoveAll(opts.State))
	}
	return compare.Run(ctx, opts)
}

func checkPlan(p *compare.Plan, dir string) error {
	for name, n := range map[string]int{"rounds": p.Rounds, "creates": p.Creates, "programs": p.Programs, "files": p.Files, "bursts": p.Bursts} {
		if n < 1 {
			return fmt.Errorf("--%s %d: takes a number above 0", name, n)
		}
	}
	for name, n := range map[string]int{"burst": p.Burst, "idle": p.Idle, "idle-others": p.IdleOthers} {
		if n < 0 {
			return fmt.Errorf("--%s %d: takes 0 or more", name, n)
		}
	}
	for _, n := range p.AtOnce {
		if n < 2 || n > 1000 {
			return fmt.Errorf("--at-once %d: takes numbers from 2 to 1000; one after another is always measured", n)
		}
	}
	if p.Gap <= 0 {
		return fmt.Errorf("--stagger %s: takes a time above 0", p.Gap)
	}
	const longest = 14 // sockets below it have to fit their address
	if !filepath.IsAbs(dir) || len(dir) > longest {
		return fmt.Errorf("--dir %q: takes an absolute path of %d characters at most", dir, longest)
	}
	return nil
}

// complete finds what is measured.
func (o *options) complete(ctx context.Context, opts *compare.Options) error {
	if os.Geteuid() != 0 {
		return errors.New("this command makes containers: start it as root")
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	beside := func(given, name string) (string, error) {
		path := given
		if path == "" {
			path = filepath.Join(filepath.Dir(self), name)
		}
		if _, err := os.Stat(path); err != nil {
			return "", fmt.Errorf("find %s: %w; make build makes it, and --%s says where it is", name, err, name)
		}
		return filepath.Abs(path)
	}
	if opts.Program, err = beside(o.codebeaker, "codebeaker"); err != nil {
		return err
	}
	if opts.Runc, err = beside(o.runc, "runc"); err != nil {
		return err
	}
	// The one that make bench builds fits the containerd in here; the one that a host
	// may have in PATH need not.
	if opts.StockShim, err = beside("", "containerd-shim-runc-v2"); err != nil {
		opts.StockShim = opts.Program
	}
	opts.Stock = []string{self, containerdCommand}
	if opts.RuncVersion, err = runtime.RuncVersion(ctx, opts.Runc); err != nil {
		return err
	}
	said, err := exec.CommandContext(ctx, opts.Program, "version").Output()
	if err != nil {
		return fmt.Errorf("ask codebeaker for its version: %w", err)
	}
	first, _, _ := strings.Cut(string(said), "\n")
	opts.Version = strings.TrimPrefix(first, "codebeaker ")
	host, err := cgroup.Detect()
	if err != nil {
		return err
	}
	opts.SwapLimit = host.SwapLimit()
	// What the plan needs at one time, and some that still close.
	most := max(opts.Plan.Burst, opts.Plan.Idle)
	for _, n := range opts.Plan.AtOnce {
		most = max(most, n)
	}
	opts.ServerFlags = append([]string{fmt.Sprintf("--max-sessions=%d", 2*most+100)}, o.serverFlags...)
	return nil
}

// takeImage takes the Python image out of the root, whether or not a server runs on
// it.
func (o *options) takeImage(ctx context.Context, opts *compare.Options) error {
	archive := filepath.Join(opts.Dir, "image.tar")
	args := []string{"images", "export", "python", archive}
	for flag, dir := range map[string]string{"--root": o.root, "--state": o.state} {
		if dir != "" {
			args = append(args, flag, dir)
		}
	}
	cmd := exec.CommandContext(ctx, opts.Program, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("export the Python image with %s: %w", filepath.Base(opts.Program), err)
	}
	var err error
	if opts.Image, err = compare.UnpackImage(ctx, archive, opts.Dir); err != nil {
		return err
	}
	opts.ImageName = "Python"
	for _, kv := range opts.Image.Env {
		if version, ok := strings.CutPrefix(kv, "PYTHON_VERSION="); ok {
			opts.ImageName += " " + version
		}
	}
	opts.ImageName += fmt.Sprintf(", %.19s", opts.Image.Digest)
	return nil
}

func writeJSON(path string, report *compare.Report) error {
	out, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644) //nolint:gosec // a report is for all to read
	if err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	if err := errors.Join(report.WriteJSON(out), out.Close()); err != nil {
		return fmt.Errorf("write report %s: %w", path, err)
	}
	return nil
}

// containerdCommand is the command that the bench starts containerd with.
const containerdCommand = "containerd"

// newContainerdCommand serves the containerd that codebeaker embeds alone, as others
// would use it, in a process that can be measured.
func newContainerdCommand() *cobra.Command {
	var root, state string
	cmd := &cobra.Command{
		Use:    containerdCommand,
		Short:  "Serve containerd alone, for the bench to compare",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			lock, err := engine.Acquire(root, "bench")
			if err != nil {
				return err
			}
			defer lock.Release()
			log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
			e, err := engine.Open(cmd.Context(), engine.Options{Root: root, State: state, Namespace: "bench", Log: log, StockCollection: true})
			if err != nil {
				return err
			}
			<-cmd.Context().Done()
			return e.Close()
		},
	}
	cmd.Flags().StringVar(&root, "root", "", "`directory` on a disk")
	cmd.Flags().StringVar(&state, "state", "", "`directory` in memory")
	return cmd
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"codebeaker/cmd/codebeaker/bench"
	"codebeaker/images"
	"codebeaker/runtime"
	"codebeaker/runtime/cgroup"
	"codebeaker/runtime/engine"
)

// benchFiles are where a report goes, beside the table on standard output.
type benchFiles struct{ json, svg, markdown string }

func newBenchCommand() *cobra.Command {
	cfg := &config{}
	plan := bench.DefaultPlan()
	var files benchFiles
	var dir string
	var serverFlags, only []string
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure this server beside containerd, Docker and bubblewrap on this host",
		Long: `Measure this server beside containerd, Docker and bubblewrap on this host.

Everything that is compared is started for the measurement, with the Python image
of --root, and ends with it. Docker and bubblewrap are compared where they are
installed. The host should have nothing else to do.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := cfg.load(cmd); err != nil {
				return err
			}
			if !cmd.Flags().Changed("log-level") {
				cfg.LogLevel = "error" // progress says the rest
			}
			opts := bench.Options{
				Plan: plan, ServerFlags: serverFlags, Only: only,
				Pool: newServeCommand().Flags().Lookup("pool") != nil, Version: version, Progress: cmd.ErrOrStderr(),
			}
			report, err := runBench(cmd.Context(), cfg, dir, opts)
			if err != nil {
				return err
			}
			return files.write(report, cmd.OutOrStdout())
		},
	}
	cfg.bindHost(cmd.Flags())
	f := cmd.Flags()
	f.StringVar(&cfg.Runc, "runc", "", "runc's `path` (default: beside this program, then in PATH)")
	f.StringVar(&dir, "dir", "/var/tmp", "`directory` for what the measurement makes, on a disk; 14 characters at most")
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
	f.StringSliceVar(&only, "only", nil, "`names` of what to compare, such as codebeaker,docker (default: all)")
	f.StringArrayVar(&serverFlags, "server-flag", nil, "an `option` of codebeaker serve for the server, such as --server-flag=--runtime=NAME")
	f.StringVar(&files.json, "json", "", "`file` to write everything to, as JSON")
	f.StringVar(&files.svg, "svg", "", "`file` to write a plot to, as SVG")
	f.StringVar(&files.markdown, "markdown", "", "`file` to write a page to")
	cmd.AddCommand(newBenchContainerdCommand())
	return cmd
}

// runBench measures in a directory of its own below parent, which is gone when
// it returns.
func runBench(ctx context.Context, cfg *config, parent string, opts bench.Options) (_ *bench.Report, retErr error) {
	if err := checkPlan(&opts.Plan, parent); err != nil {
		return nil, err
	}
	if err := completeOptions(ctx, cfg, &opts); err != nil {
		return nil, err
	}
	var err error
	if opts.Dir, err = bench.MakeDir(parent); err != nil {
		return nil, fmt.Errorf("make a directory: %w", err)
	}
	opts.State, err = bench.MakeDir("/run")
	if err == nil {
		err = exportPython(ctx, cfg, &opts)
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(opts.Dir), os.RemoveAll(opts.State))
	}
	return bench.Run(ctx, opts)
}

func checkPlan(p *bench.Plan, dir string) error {
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

// completeOptions finds what is measured.
func completeOptions(ctx context.Context, cfg *config, opts *bench.Options) error {
	if os.Geteuid() != 0 {
		return errors.New("this command makes containers and has to be started as root")
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	opts.Program, opts.StockShim = self, self
	// What make bench builds of containerd's, which fits the containerd in here; the
	// one that a host may have in PATH need not.
	if shipped := filepath.Join(filepath.Dir(self), "containerd-shim-runc-v2"); isFile(shipped) {
		opts.StockShim = shipped
	}
	opts.Stock = []string{self, "bench", benchContainerd}
	if opts.Runc, err = findProgram(cfg.Runc, "runc"); err != nil {
		return err
	}
	if opts.RuncVersion, err = runtime.RuncVersion(ctx, opts.Runc); err != nil {
		return err
	}
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
	opts.ServerFlags = append([]string{fmt.Sprintf("--max-sessions=%d", 2*most+100)}, opts.ServerFlags...)
	return nil
}

// exportPython takes the Python image out of the root, whether or not a server
// runs on it.
func exportPython(ctx context.Context, cfg *config, opts *bench.Options) (retErr error) {
	log, err := cfg.logger(os.Stderr)
	if err != nil {
		return err
	}
	h, err := joinHost(ctx, cfg, log, "codebeaker bench")
	if err != nil {
		return err
	}
	defer func() { retErr = errors.Join(retErr, h.close()) }()
	image, err := h.images.Resolve(ctx, "python")
	if err != nil {
		return err
	}
	opts.StockVersion = strings.TrimPrefix(h.engine.Version(), "v")
	opts.ImageName = fmt.Sprintf("%s (Python %s, %d MiB, %.19s)", images.ImageName("python"), image.Version, image.Size>>20, image.Digest)
	opts.Image, err = bench.ExportImage(ctx, h.engine.Client(), image.Name, opts.Dir)
	return err
}

// write writes the report to standard output and to the files that were asked
// for.
func (f benchFiles) write(report *bench.Report, stdout io.Writer) error {
	errs := []error{report.WriteTable(stdout)}
	for _, file := range []struct {
		path  string
		write func(w io.Writer) error
	}{
		{f.json, report.WriteJSON},
		{f.svg, report.WriteSVG},
		{f.markdown, func(w io.Writer) error { return report.WriteMarkdown(w, f.svg) }},
	} {
		if file.path != "" {
			errs = append(errs, writeReport(file.path, file.write))
		}
	}
	return errors.Join(errs...)
}

func writeReport(path string, write func(w io.Writer) error) error {
	out, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644) //nolint:gosec // a report is for all to read
	if err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	if err := errors.Join(write(out), out.Close()); err != nil {
		return fmt.Errorf("write report %s: %w", path, err)
	}
	return nil
}

// benchContainerd is the command that the bench starts containerd with.
const benchContainerd = "containerd"

// newBenchContainerdCommand serves the embedded containerd alone, as others
// would use it, in a process that can be measured.
func newBenchContainerdCommand() *cobra.Command {
	cfg := &config{}
	cmd := &cobra.Command{
		Use:    benchContainerd,
		Short:  "Serve containerd alone, for the bench to compare",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := cfg.load(cmd); err != nil {
				return err
			}
			log, err := cfg.logger(os.Stderr)
			if err != nil {
				return err
			}
			lock, err := engine.Acquire(cfg.Root, "codebeaker bench")
			if err != nil {
				return err
			}
			defer lock.Release()
			e, err := engine.Open(cmd.Context(), engine.Options{
				Root: cfg.Root, State: cfg.State, Namespace: "bench", Log: log, StockCollection: true,
			})
			if err != nil {
				return err
			}
			<-cmd.Context().Done()
			return e.Close()
		},
	}
	cfg.bindHost(cmd.Flags())
	return cmd
}

package bench

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"
)

// WriteMarkdown writes everything as a page. plot is the file name of the plot
// beside it, empty where there is none.
func (r *Report) WriteMarkdown(w io.Writer, plot string) error {
	p := &printer{w: w}
	p.print("# Performance\n\n" +
		"<!-- Written by codebeaker bench --markdown; change the text in cmd/codebeaker/bench/markdown.go. -->\n\n" +
		"What a client of CodeBeaker waits for, beside what else runs programs in containers, measured in one run on one machine. " +
		"Figures of two runs, and of two machines, say little beside each other: read them as ratios.\n\n" +
		"Repeat it as root with\n\n```\nmake bench\n```\n\n" +
		"which installs what it compares (Debian's `docker.io` and `bubblewrap`), builds, and runs `codebeaker bench`. `BENCH_FLAGS` are added: " +
		"`make bench BENCH_FLAGS='--rounds 10 --creates 10 --idle 1000 --markdown docs/performance.md --svg docs/performance.svg'` makes this page. " +
		"`codebeaker bench --help` has the rest.\n\n")
	p.print("## The run\n\n")
	for _, line := range r.header() {
		p.print("- %s\n", escape(line))
	}
	if len(r.Targets) > 0 {
		p.print("\n## Targets\n\n| | wanted | found | |\n|---|---|---|---|\n")
		for _, t := range r.Targets {
			p.print("| %s | %s | %s | %s |\n", escape(t.Name), escape(t.Want), escape(t.Got), t.verdict())
		}
	}
	if plot != "" {
		p.print("\n![p50 of each measure on a logarithmic scale, with a line to the p99](%s)\n", filepath.Base(plot))
	}
	p.print("\n## Times\n\n" +
		"In milliseconds. A percentile is the nearest rank; *best round* is the least p50 of a round, and *ours/theirs* the p50 of codebeaker by that of the line. " +
		"Sequential ones are asked for one after another, those of a burst at one time, staggered ones at an even interval. " +
		"Executions and files at one time are in one and the same sandbox; beside them, how long the processors had nothing to do of the time until the last was done, in the mean of bursts.\n\n" +
		"A sandbox is created until it runs programs. *close* is until that is answered, *gone* until the sandbox's processes, cgroups, mounts, shim of its own and records are gone, both from when it is asked to close; " +
		"the files of its layer are collected after that.\n\n")
	r.groups(func(title string, cells []Cell) {
		p.print("| %s | n | failed | min | p50 | p95 | p99 | max | best round | ours/theirs | |\n|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|---|\n", title)
		for _, c := range cells {
			row := c.row()
			for i := range row {
				row[i] = escape(row[i])
			}
			p.print("| %s |\n", strings.Join(row, " | "))
		}
		p.print("\n")
	})
	if len(r.Idle) > 0 {
		p.print("## Memory\n\n" +
			"Of one idle sandbox, in MiB: by how much the processes that serve all (*daemons*), those that serve some (*shims*) and those in the sandboxes (*inside*) grow in proportional set size (PSS), and what the kernel accounts to the sandboxes (*cgroup*: processes, page cache, kernel memory). " +
			"*total* is daemons, shims and cgroup; *host* is by how much the host's available memory shrank. *live* is how many ran a program after all were there.\n\n" +
			"| | n | live | daemons | shims | inside | cgroup | total | host | shims there |\n|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n")
		for _, i := range r.Idle {
			p.print("| %s |\n", strings.Join(i.row(), " | "))
		}
	}
	return p.err
}

// printer keeps the first error of writing.
type printer struct {
	w   io.Writer
	err error
}

func (p *printer) print(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format, args...)
	}
}

func escape(text string) string {
	return strings.NewReplacer("|", `\|`, "<", "&lt;", "\n", " ").Replace(text)
}

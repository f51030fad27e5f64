package compare

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// title describes a group of cells: the same thing, of several subjects.
func (c *Cell) title() string {
	switch c.Mode {
	case Sequential:
		return fmt.Sprintf("%s, %s", c.Measure, c.Mode)
	case Staggered:
		return fmt.Sprintf("%s, %d staggered", c.Measure, c.AtOnce)
	case Again:
		return fmt.Sprintf("%s, %d at once again", c.Measure, c.AtOnce)
	default:
		return fmt.Sprintf("%s, %d at once", c.Measure, c.AtOnce)
	}
}

// groups calls f with the cells of each thing that was measured.
func (r *Report) groups(f func(title string, cells []Cell)) {
	for i := 0; i < len(r.Cells); {
		j := i + 1
		for j < len(r.Cells) && r.Cells[j].title() == r.Cells[i].title() {
			j++
		}
		f(r.Cells[i].title(), r.Cells[i:j])
		i = j
	}
}

// header is what stands above the figures, a line each.
func (r *Report) header() []string {
	m := r.Machine
	lines := []string{
		fmt.Sprintf("%s, codebeaker %s", r.At.Format("2006-01-02 15:04 MST"), r.Version),
		fmt.Sprintf("%d processors (%s), %d MiB of memory, %s, %s, cgroups %s", m.Processors, m.Processor, m.MemoryMiB, m.Kernel, m.System, m.Cgroups),
		fmt.Sprintf("load average %.2f before, %.2f after; image %s", m.LoadBefore, m.LoadAfter, r.Image),
		fmt.Sprintf("limits of every sandbox: %d MiB of memory, %d processes, 1 processor, no network", memoryBytes>>20, pidsLimit),
		fmt.Sprintf("%d rounds; staggered ones begin %s apart", r.Plan.Rounds, r.Plan.Gap),
	}
	for _, s := range r.Subjects {
		lines = append(lines, fmt.Sprintf("%s (%s): %s", s.Name, s.Version, s.How))
	}
	for _, s := range r.Missing {
		lines = append(lines, fmt.Sprintf("%s: not compared, as %s", s.Name, s.Why))
	}
	return lines
}

// WriteTable writes everything for a terminal.
func (r *Report) WriteTable(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, line := range r.header() {
		fmt.Fprintln(w, line)
	}
	fmt.Fprint(w, "\nTimes in milliseconds. ours/theirs is the p50 of codebeaker by that of the line.\n")
	r.groups(func(title string, cells []Cell) {
		fmt.Fprintf(t, "\n%s\tn\tfailed\tmin\tp50\tp95\tp99\tmax\tbest round\tours/theirs\t\n", title)
		for _, c := range cells {
			fmt.Fprintf(t, "  %s\n", strings.Join(c.row(), "\t"))
		}
	})
	if len(r.Idle) > 0 {
		fmt.Fprint(t, "\nmemory of an idle sandbox, MiB\tn\tlive\tdaemons\tshims\tinside\tcgroup\ttotal\thost\tshims there\n")
		for _, i := range r.Idle {
			fmt.Fprintf(t, "  %s\n", strings.Join(i.row(), "\t"))
		}
	}
	if len(r.Targets) > 0 {
		fmt.Fprint(t, "\ntarget\twanted\tfound\t\n")
		for _, g := range r.Targets {
			fmt.Fprintf(t, "  %s\t%s\t%s\t%s\n", g.Name, g.Want, g.Got, g.verdict())
		}
	}
	return t.Flush()
}

// row returns the columns of a cell.
func (c *Cell) row() []string {
	row := []string{c.Subject, fmt.Sprint(c.N), fmt.Sprint(c.Failed)}
	if c.OK() == 0 {
		row = append(row, "", "", "", "", "", "", "")
	} else {
		row = append(row, ms(c.Min), ms(c.P50), ms(c.P95), ms(c.P99), ms(c.Max), ms(c.BestRound), asRatio(c.Ratio))
	}
	var notes []string
	if c.Pooled > 0 {
		notes = append(notes, fmt.Sprintf("%d pooled", c.Pooled))
	}
	if c.Whole > 0 {
		notes = append(notes, fmt.Sprintf("idle %s of %s", ms(c.Idle), ms(c.Whole)))
	}
	if c.Failed > 0 {
		notes = append(notes, fmt.Sprintf("first failure: %.120s", strings.ReplaceAll(c.Error, "\n", " ")))
	}
	return append(row, strings.Join(notes, "; "))
}

// row returns the columns of a subject's memory.
func (i Idle) row() []string {
	mib := func(kib float64) string { return fmt.Sprintf("%.2f", kib/1024) }
	return []string{
		i.Subject, fmt.Sprint(i.Sandboxes), fmt.Sprint(i.Live), mib(i.Daemons), mib(i.Shims), mib(i.Inside), mib(i.Cgroup), mib(i.Total()), mib(i.Available), fmt.Sprint(i.ShimCount),
	}
}

func (t Target) verdict() string {
	if t.Met {
		return "met"
	}
	return "missed"
}

package compare

import (
	"encoding/json"
	"io"
	"slices"
	"time"
)

// Report is what a run found.
type Report struct {
	At       time.Time `json:"at"`
	Machine  Machine   `json:"machine"`
	Version  string    `json:"version"`
	Image    string    `json:"image"`
	Plan     Plan      `json:"plan"`
	Subjects []Info    `json:"subjects"`
	Missing  []Missing `json:"missing"`
	Cells    []Cell    `json:"cells"`
	Idle     []Idle    `json:"idle"`
	Targets  []Target  `json:"targets"`
}

// Missing is a subject that was not compared.
type Missing struct {
	Name string `json:"name"`
	Why  string `json:"why"`
}

// Cell is a measure in a mode of a subject.
type Cell struct {
	Measure Measure `json:"measure"`
	Mode    Mode    `json:"mode"`
	// AtOnce is how many were asked for at one time, 1 where they are sequential.
	AtOnce  int    `json:"atOnce"`
	Subject string `json:"subject"`
	Summary
	// Pooled is how many sandboxes were ready before they were asked for.
	Pooled int `json:"pooled,omitempty"`
	// Whole is how long a burst of programs or files took until the last had ended,
	// and Idle for how long of that the machine's processors had nothing to do, on
	// average of them: means, in milliseconds. 0 where it was not measured.
	Whole float64 `json:"wholeMs,omitempty"`
	Idle  float64 `json:"idleMs,omitempty"`
	// Ratio is this server's p50 by that of the subject, as in "1/12" where it is
	// 0.083; 0 for the server itself and where either is unknown.
	Ratio float64 `json:"ratio,omitempty"`
}

// summaries returns the cells in the order of measures, modes, numbers at once
// and subjects.
func (c *cells) summaries(subjects []Info) []Cell {
	var list []Cell
	atOnce := slices.Concat([]int{1}, c.plan.AtOnce, []int{c.plan.Burst})
	slices.Sort(atOnce)
	atOnce = slices.Compact(atOnce)
	for _, m := range measures() {
		for _, mode := range []Mode{Sequential, Burst, Again, Staggered} {
			for _, n := range atOnce {
				for _, s := range subjects {
					k := key{m, mode, n, s.Name}
					if samples, ok := c.samples[k]; ok {
						cell := Cell{Measure: m, Mode: mode, AtOnce: n, Subject: s.Name, Summary: summarize(samples), Pooled: c.pooled[k]}
						cell.Whole, cell.Idle = meanSpell(c.spells[k])
						list = append(list, cell)
					}
				}
			}
		}
	}
	return list
}

// find returns a cell, nil where there is none.
func (r *Report) find(m Measure, mode Mode, atOnce int, subject string) *Cell {
	for i := range r.Cells {
		c := &r.Cells[i]
		if c.Measure == m && c.Mode == mode && c.AtOnce == atOnce && c.Subject == subject {
			return c
		}
	}
	return nil
}

// complete computes what follows from the cells.
func (r *Report) complete() {
	for i := range r.Cells {
		c := &r.Cells[i]
		ours := r.find(c.Measure, c.Mode, c.AtOnce, nameServer)
		if ours != nil && ours.Subject != c.Subject && ours.OK() > 0 && c.OK() > 0 && c.P50 > 0 {
			c.Ratio = ours.P50 / c.P50
		}
	}
	r.Targets = r.judge()
}

// WriteJSON writes everything.
func (r *Report) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

package bench

import (
	"fmt"
	"io"
	"math"
	"strings"
)

// The geometry of the plot, in pixels.
const (
	plotColumns = 2
	panelWidth  = 480
	labelWidth  = 150
	barsWidth   = panelWidth - labelWidth - 70 // the rest is for the figure behind a bar
	rowHeight   = 20
	panelHead   = 30
	panelFoot   = 34
	plotMargin  = 16
)

// panel is a measure with a bar for each subject.
type panel struct {
	title string
	cells []Cell
}

func (p panel) height() int { return panelHead + rowHeight*len(p.cells) + panelFoot }

// panels are what the plot shows: what is sequential, and creates and echo at
// one time.
func (r *Report) panels() []panel {
	var list []panel
	r.groups(func(title string, cells []Cell) {
		first := cells[0]
		many := first.Mode == Burst && (first.Measure == Create || first.Measure == Echo) && first.AtOnce >= 30
		if first.Mode != Sequential && !many {
			return
		}
		p := panel{title: title}
		for _, c := range cells {
			if c.OK() > 0 {
				p.cells = append(p.cells, c)
			}
		}
		if len(p.cells) > 0 {
			list = append(list, p)
		}
	})
	return list
}

// WriteSVG writes a bar for the p50 of each subject in what matters most, with
// a line to the p99, on a logarithmic scale of milliseconds.
func (r *Report) WriteSVG(w io.Writer) error {
	panels := r.panels()
	p := &printer{w: w}
	height := 60
	for i := 0; i < len(panels); i += plotColumns {
		height += rowOf(panels, i)
	}
	width := plotColumns*panelWidth + (plotColumns+1)*plotMargin
	p.print(`<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`+"\n", width, height, width, height)
	p.print(`<rect width="100%%" height="100%%" fill="white"/>` + "\n")
	p.print(`<text x="%d" y="26" font-size="16" font-weight="bold">Milliseconds: p50 (bar) and p99 (line), logarithmic</text>`+"\n", plotMargin)
	p.print(`<text x="%d" y="46" fill="#555">%s</text>`+"\n", plotMargin, escapeXML(fmt.Sprintf("%s, %d processors, %s, cgroups %s", r.At.Format("2006-01-02"), r.Machine.Processors, r.Machine.Kernel, r.Machine.Cgroups)))
	y := 60
	for i := 0; i < len(panels); i += plotColumns {
		for j := i; j < min(i+plotColumns, len(panels)); j++ {
			panels[j].draw(p, plotMargin+(j-i)*(panelWidth+plotMargin), y)
		}
		y += rowOf(panels, i)
	}
	p.print("</svg>\n")
	return p.err
}

// rowOf is the height of the row of panels that begins at i.
func rowOf(panels []panel, i int) int {
	most := 0
	for j := i; j < min(i+plotColumns, len(panels)); j++ {
		most = max(most, panels[j].height())
	}
	return most
}

func (p panel) draw(out *printer, x, y int) {
	low, high := math.Inf(1), math.Inf(-1)
	for _, c := range p.cells {
		low, high = min(low, c.P50), max(high, c.P99)
	}
	// Whole decades, so that a bar's length means the same in all of its panel.
	first := math.Floor(math.Log10(max(low*0.7, 1e-3)))
	last := max(math.Ceil(math.Log10(max(high, 1e-3))), first+1)
	at := func(v float64) float64 {
		part := (math.Log10(max(v, 1e-3)) - first) / (last - first)
		return float64(x+labelWidth) + barsWidth*min(max(part, 0), 1)
	}
	bottom := y + panelHead + rowHeight*len(p.cells)
	out.print(`<text x="%d" y="%d" font-weight="bold">%s</text>`+"\n", x, y+18, escapeXML(p.title))
	for d := first; d <= last; d++ {
		v := math.Pow(10, d)
		out.print(`<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="#ddd"/>`+"\n", at(v), y+panelHead-4, at(v), bottom)
		out.print(`<text x="%.1f" y="%d" text-anchor="middle" fill="#777" font-size="10">%g</text>`+"\n", at(v), bottom+12, v)
	}
	for i, c := range p.cells {
		middle := float64(y+panelHead+rowHeight*i) + rowHeight/2
		out.print(`<text x="%d" y="%.1f" text-anchor="end">%s</text>`+"\n", x+labelWidth-6, middle+4, escapeXML(c.Subject))
		out.print(`<rect x="%.1f" y="%.1f" width="%.1f" height="12" fill="%s"/>`+"\n", at(0), middle-6, max(at(c.P50)-at(0), 1), color(c.Subject))
		out.print(`<path d="M%.1f %.1fH%.1fM%.1f %.1fV%.1f" stroke="#333" fill="none"/>`+"\n", at(c.P50), middle, at(c.P99), at(c.P99), middle-4, middle+4)
		out.print(`<text x="%.1f" y="%.1f" font-size="11">%s</text>`+"\n", at(c.P99)+5, middle+4, ms(c.P50))
	}
}

func color(subject string) string {
	switch subject {
	case nameServer:
		return "#1b7f4d"
	case nameCold:
		return "#7cc29a"
	case nameContainerd:
		return "#e08a2c"
	case nameDocker:
		return "#2f6fb5"
	default:
		return "#aaaaaa"
	}
}

func escapeXML(text string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;").Replace(text)
}

package simulate

import (
	"fmt"
	"html"
	"io"
	"math"
	"strings"
)

// Colours of the policies in plots; others are grey.
var colours = map[string]string{
	Optimized: "#d62728", Production: "#1f77b4", BestStatic: "#2ca02c", BestFixed: "#98c379", "shuffle": "#9467bd", "least-busy": "#8c564b", "lowest-latency": "#e377c2",
	"lowest-cost": "#bcbd22", "p2c-ewma": "#17becf", Consecutive: "#ff7f0e", Clairvoyant: "#000000",
}

// plotted are the policies that plots show, in the order of their legend.
var plotted = append([]string{Optimized, Production, Clairvoyant, BestStatic, BestFixed}, baselines...)

// PlotCost draws what each policy costs in parts of the clairvoyant's cost, a line for each scenario.
func (r *Report) PlotCost(out io.Writer) error {
	return r.plot(out, "cost, of the clairvoyant's", func(c *CaseResult, s *Score) float64 { return s.Cost / max(c.Policies[Clairvoyant].Cost, 1e-12) }, "%.2g×")
}

// PlotViolations draws how many violations each policy has, a line for each scenario. Fewer than one in a hundred thousand are drawn as so many.
func (r *Report) PlotViolations(out io.Writer) error {
	return r.plot(out, "violations of 100 exchanges", func(_ *CaseResult, s *Score) float64 { return max(100*s.Violations, 1e-3) }, "%.3g %%")
}

// plot draws dots on a logarithmic axis as SVG.
func (r *Report) plot(out io.Writer, title string, value func(c *CaseResult, s *Score) float64, tick string) error {
	const left, width, line, top = 230., 760., 18., 60.
	low, high := math.Inf(1), math.Inf(-1)
	for i := range r.Scenarios {
		for _, name := range plotted {
			if s, ok := r.Scenarios[i].Policies[name]; ok {
				v := value(&r.Scenarios[i], &s)
				low, high = min(low, v), max(high, v)
			}
		}
	}
	if !(low > 0) || math.IsInf(high, 0) {
		return fmt.Errorf("plot %s: nothing to draw", title)
	}
	low, high = low/1.1, high*1.1
	x := func(v float64) float64 { return left + width*math.Log(v/low)/math.Log(high/low) }
	height := top + line*float64(len(r.Scenarios)) + 30
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%.0f" height="%.0f" font-family="sans-serif" font-size="11">`+"\n", left+width+30, height)
	fmt.Fprintf(&b, `<rect width="100%%" height="100%%" fill="white"/><text x="10" y="16" font-size="13">%s</text>`+"\n", html.EscapeString(title))
	for i, name := range plotted {
		fmt.Fprintf(&b, `<circle cx="%d" cy="%d" r="4" fill="%s"/><text x="%d" y="%d">%s</text>`+"\n", 20+i%6*165, 28+i/6*14, colours[name], 28+i%6*165, 32+i/6*14, name)
	}
	for k := range 7 {
		v := low * math.Pow(high/low, float64(k)/6)
		fmt.Fprintf(&b, `<line x1="%.1f" x2="%.1f" y1="%.0f" y2="%.0f" stroke="#ddd"/><text x="%.1f" y="%.0f" text-anchor="middle">%s</text>`+"\n", x(v), x(v), top-8, height-24, x(v),
			height-10, fmt.Sprintf(tick, v))
	}
	for i := range r.Scenarios {
		c, y := &r.Scenarios[i], top+line*float64(i)+4
		fmt.Fprintf(&b, `<text x="%.0f" y="%.1f" text-anchor="end">%s</text><line x1="%.0f" x2="%.0f" y1="%.1f" y2="%.1f" stroke="#eee"/>`+"\n", left-10, y+4,
			html.EscapeString(c.Name), left, left+width, y, y)
		for k := len(plotted) - 1; k >= 0; k-- { // ours on top
			if s, ok := c.Policies[plotted[k]]; ok {
				fmt.Fprintf(&b, `<circle cx="%.1f" cy="%.1f" r="4" fill="%s" fill-opacity=".8"><title>%s</title></circle>`+"\n", x(value(c, &s)), y, colours[plotted[k]], plotted[k])
			}
		}
	}
	b.WriteString("</svg>\n")
	_, err := io.WriteString(out, b.String())
	return err
}

package compare

import (
	"fmt"
	"math"
	"strings"
	"text/tabwriter"
)

// row is a line of the tables.
type row struct {
	name     string
	scenario string
	figure   func(*Sample) float64
	format   string
	added    bool    // what is shown is the difference to direct
	bound    float64 // of the ratio to the bare relay; 0: none
}

func cpu(s *Sample) float64  { return s.CPU }
func rss(s *Sample) float64  { return float64(s.RSS) / 1e6 }
func rate(s *Sample) float64 { return float64(s.Count) / s.Seconds }

// rows in the order of the tables. The bounds are what this project demands of itself.
var rows = []row{
	{name: "CPU µs per request, 1 KB body, 64 connections, saturated", scenario: Saturated, figure: cpu, format: "%.1f", bound: 1.05},
	{name: "CPU µs per request, 1 KB body, 1,000 requests/s", scenario: FixedRate, figure: cpu, format: "%.1f", bound: .80},
	{name: "CPU µs per request, 32 KB body, saturated", scenario: Large, figure: cpu, format: "%.1f", bound: .85},
	{name: "CPU µs per stream of 64 chunks, saturated", scenario: Streams, figure: cpu, format: "%.1f", bound: .80},
	{name: "CPU µs per chunk, 1,000 streams of 5 chunks/s", scenario: Paced, figure: cpu, format: "%.1f", bound: .90},
	{name: "memory with 1,000 open streams, MB", scenario: Paced, figure: rss, format: "%.0f", bound: 1.05},
	{name: "requests/s, 1 KB body, saturated", scenario: Saturated, figure: rate, format: "%.0f"},
	{name: "streams/s, saturated", scenario: Streams, figure: rate, format: "%.0f"},
	{name: "added latency at 1,000 requests/s, p50 µs", scenario: FixedRate, figure: func(s *Sample) float64 { return s.P50 }, format: "%.0f", added: true},
	{name: "added latency at 1,000 requests/s, p99 µs", scenario: FixedRate, figure: func(s *Sample) float64 { return s.P99 }, format: "%.0f", added: true},
	{name: "added time to first byte at 200 streams/s, p50 µs", scenario: FirstByte, figure: func(s *Sample) float64 { return s.FirstP50 }, format: "%.0f", added: true},
	{name: "added time to first byte at 200 streams/s, p99 µs", scenario: FirstByte, figure: func(s *Sample) float64 { return s.FirstP99 }, format: "%.0f", added: true},
}

// table is text in cells; the first row and column are titles.
type table [][]string

// figures are the medians of all rows and contenders, those with spread that have one.
func (r *Result) figures(spread bool) table {
	t := table{append([]string{""}, r.Contenders...)}
	for i := range rows {
		w := &rows[i]
		line := []string{w.name}
		for _, name := range r.Contenders {
			v, s := r.value(w, name)
			text := "–"
			if !math.IsNaN(v) {
				text = fmt.Sprintf(w.format, v)
				if spread && !w.added {
					text += " ± " + fmt.Sprintf(w.format, s/2)
				}
			}
			line = append(line, text)
		}
		t = append(t, line)
		if w.scenario == Paced && w.bound == 1.05 {
			t = append(t, r.idleLine())
		}
	}
	return t
}

func (r *Result) idleLine() []string {
	line := []string{"memory idle, MB"}
	for _, name := range r.Contenders {
		text := "–"
		if v, known := r.IdleRSS[name]; known {
			text = fmt.Sprintf("%.0f", float64(v)/1e6)
		}
		line = append(line, text)
	}
	return line
}

// value is the figure of a contender; NaN where there is none.
func (r *Result) value(w *row, name string) (mid, spread float64) {
	mid, spread = r.median(w.scenario, name, w.figure)
	switch {
	case w.added:
		base, _ := r.median(w.scenario, Direct, w.figure)
		if name == Direct {
			return math.NaN(), 0
		}
		return mid - base, spread
	case mid == 0:
		return math.NaN(), 0
	}
	return mid, spread
}

// verdict of one row with a bound.
type verdict struct {
	name   string
	ratio  float64 // llmopt ÷ relay: the median of the rounds' ratios
	bound  float64
	nginx  float64 // llmopt ÷ nginx; NaN where nginx did not run
	passed bool
}

// verdicts compare llmopt with the bare relay, round by round: what disturbs the machine for a while disturbs both.
func (r *Result) verdicts() []verdict {
	var all []verdict
	for i := range rows {
		w := &rows[i]
		if w.bound == 0 {
			continue
		}
		v := verdict{name: w.name, ratio: r.ratio(w, Llmopt, Relay), bound: w.bound, nginx: r.ratio(w, Llmopt, Nginx)}
		if math.IsNaN(v.ratio) {
			continue
		}
		v.passed = v.ratio <= v.bound
		all = append(all, v)
	}
	return all
}

func (r *Result) ratio(w *row, name, base string) float64 {
	ratios := r.roundRatios(w, name, base)
	if len(ratios) == 0 {
		return math.NaN()
	}
	return medianOf(ratios)
}

// roundRatios are the ratios of two contenders' figures, round by round; none where one of them failed.
func (r *Result) roundRatios(w *row, name, base string) []float64 {
	a, b := r.cell(w.scenario, name), r.cell(w.scenario, base)
	if a == nil || b == nil || a.Error != "" || b.Error != "" || len(a.Samples) != len(b.Samples) {
		return nil
	}
	ratios := make([]float64, len(a.Samples))
	for i := range ratios {
		ratios[i] = w.figure(a.Samples[i]) / w.figure(b.Samples[i])
	}
	return ratios
}

func (r *Result) ratios() table {
	t := table{{"", "÷ bare relay", "demanded", "", "÷ nginx"}}
	for _, v := range r.verdicts() {
		mark, nginx := "met", "–"
		if !v.passed {
			mark = "not met"
		}
		if !math.IsNaN(v.nginx) {
			nginx = fmt.Sprintf("%.2f", v.nginx)
		}
		t = append(t, []string{v.name, fmt.Sprintf("%.2f", v.ratio), fmt.Sprintf("≤ %.2f", v.bound), mark, nginx})
	}
	return t
}

// pairBounds compare llmopt with and without its state on disk, a route, the optimizer and a cache, and what the cache answers with the bare relay: the mean of the rounds' ratios and what
// it is below with a confidence of 95 %.
func (r *Result) pairBounds() table {
	t := table{{"", "ratio", "below, at 95 %"}}
	for _, pair := range []struct{ with, without, words string }{
		{Stateful, Llmopt, "with state ÷ without"}, {Routed, Llmopt, "with a route ÷ without"}, {Tuned, Untuned, "with the optimizer ÷ without"},
		{Hits, Relay, "a hit of the cache ÷ bare relay"}, {Misses, Llmopt, "a miss ÷ without a cache"},
	} {
		for i := range rows {
			w := &rows[i]
			ratios := r.roundRatios(w, pair.with, pair.without)
			if w.bound == 0 || len(ratios) == 0 {
				continue
			}
			mean, upper := "–", "–"
			if m, u, known := geometricBound(ratios); known {
				mean, upper = fmt.Sprintf("%.3f", m), fmt.Sprintf("%.3f", u)
			}
			t = append(t, []string{w.name + ", " + pair.words, mean, upper})
		}
	}
	return t
}

// geometricBound returns the geometric mean of ratios and the upper end of its one-sided 95 % confidence interval: Student's t on the
// logarithms. It needs three ratios.
func geometricBound(ratios []float64) (mean, upper float64, known bool) {
	n := float64(len(ratios))
	if n < 3 {
		return 0, 0, false
	}
	var sum, squares float64
	for _, r := range ratios {
		sum += math.Log(r)
	}
	for _, r := range ratios {
		d := math.Log(r) - sum/n
		squares += d * d
	}
	return math.Exp(sum / n), math.Exp(sum/n + student95(n-1)*math.Sqrt(squares/(n-1)/n)), true
}

// student95 is the 0.95-quantile of Student's t distribution, within 1.5 % from two degrees of freedom on (Abramowitz and Stegun, 26.7.5).
func student95(degrees float64) float64 {
	const z = 1.6448536269514722 // of the normal distribution
	z3, z5, z7 := z*z*z, z*z*z*z*z, z*z*z*z*z*z*z
	return z + (z3+z)/(4*degrees) + (5*z5+16*z3+3*z)/(96*degrees*degrees) + (3*z7+19*z5+17*z3-15*z)/(384*degrees*degrees*degrees)
}

// others are the CPU times of what is not compared: they show whether the upstream or the driver held things up.
func (r *Result) others() table {
	t := table{{"", "direct, per second", "simulator, CPU µs each", "driver, CPU µs each"}}
	for _, s := range scenarios(false) {
		each, _ := r.median(s.name, Direct, rate)
		if math.IsNaN(each) {
			continue
		}
		sim, _ := r.median(s.name, Direct, func(s *Sample) float64 { return s.Sim })
		driver, _ := r.median(s.name, Direct, func(s *Sample) float64 { return s.Driver })
		t = append(t, []string{s.name, fmt.Sprintf("%.0f", each), fmt.Sprintf("%.1f", sim), fmt.Sprintf("%.1f", driver)})
	}
	return t
}

// text aligns the cells for a terminal.
func (t table) text() string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, line := range t {
		fmt.Fprintln(w, strings.Join(line, "\t"))
	}
	_ = w.Flush()
	return b.String()
}

// markdown prints the cells as a Markdown table.
func (t table) markdown() string {
	var b strings.Builder
	for i, line := range t {
		fmt.Fprintf(&b, "| %s |\n", strings.Join(line, " | "))
		if i == 0 {
			b.WriteString("|---|" + strings.Repeat("---:|", len(line)-1) + "\n")
		}
	}
	return b.String()
}

package main

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"llm-auto-optimizer/analysis/window"
	"llm-auto-optimizer/bench/load"
	"llm-auto-optimizer/config"
)

// print writes the report to stdout.
func (r *benchReport) print(env *environment, asJSON bool) error {
	var out bytes.Buffer
	if asJSON {
		if err := printJSON(&out, r); err != nil {
			return err
		}
	} else {
		r.append(&out, inkFor(env))
	}
	_, err := env.stdout.Write(out.Bytes())
	return err
}

// append renders the report for a person.
func (r *benchReport) append(out *bytes.Buffer, pen ink) {
	row := func(name, format string, args ...any) {
		fmt.Fprintf(out, "%s  %s\n", pen.dim(fmt.Sprintf("%-9s", name)), fmt.Sprintf(format, args...))
	}
	s := r.stats
	streamed := ""
	if r.Stream {
		streamed = ", streamed"
	}
	row("target", "%s, %s%s, model %s", printable(r.URL), r.API, streamed, r.Model)
	row("load", "%s, seed %d", r.arrivals(), r.Seed)
	early := ""
	if r.Interrupted {
		early = ", interrupted"
	}
	row("sent", "%d in %s (%s/s), all ended after %s%s", r.Sent, benchTime(s.Sending), shortRate(r.SentPerSec), benchTime(s.Elapsed), early)
	row("outcomes", "%s", r.outcomes())
	if len(r.Statuses) > 0 {
		row("statuses", "%s", r.statuses())
	}
	if r.Chunks > 0 {
		row("chunks", "%s (%s/s)", shortCount(r.Chunks), shortRate(r.ChunksPerSec))
	}
	if t := &r.Tokens; t.Answers > 0 {
		row("tokens", "%s in, %s of them cached, %s out (%s/s), as %d answers said",
			shortCount(t.Input), shortCount(t.Cached), shortCount(t.Output), shortRate(t.OutPerSec), t.Answers)
	}
	if r.CPU > 0 && r.Elapsed > 0 {
		row("generator", "%s%% of %s", threeDigits(100*r.CPU/r.Elapsed/float64(r.Cores)), coreCount(r.Cores))
	}
	out.WriteByte('\n')
	r.appendTimes(out, pen)
	for i, name := range slices.Sorted(maps.Keys(r.Examples)) {
		if i == 0 {
			out.WriteByte('\n')
		}
		fmt.Fprintf(out, "%s %s\n", pen.dim("first "+name+":"), printable(strings.Join(strings.Fields(r.Examples[name]), " ")))
	}
	for _, w := range r.Warnings {
		fmt.Fprintf(out, "\n%s %s.\n", pen.bold("Warning:"), w)
	}
}

func coreCount(n int) string {
	if n == 1 {
		return "one core"
	}
	return strconv.Itoa(n) + " cores"
}

// arrivals says what load it was.
func (r *benchReport) arrivals() string {
	if r.Trace == "" {
		return fmt.Sprintf("%s arrivals, %s/s", r.Arrivals, strconv.FormatFloat(r.Rate, 'g', -1, 64))
	}
	from := ""
	if r.From > 0 {
		from = " from " + shortDuration(r.From)
	}
	return fmt.Sprintf("trace %s (%s)%s at %s times its speed", printable(r.Trace), r.Format, from, strconv.FormatFloat(r.Speed, 'g', -1, 64))
}

// outcomes lists how exchanges ended, the good ones first.
func (r *benchReport) outcomes() string {
	parts := []string{fmt.Sprintf("%d ok (%s/s)", r.OK, shortRate(r.OKPerSec))}
	for _, o := range window.Outcomes() {
		if n := r.Outcomes[o.String()]; n > 0 && o != window.OK && o != window.Canceled {
			parts = append(parts, fmt.Sprintf("%d %v", n, o))
		}
	}
	if r.LeftByPlan > 0 {
		parts = append(parts, fmt.Sprintf("%d left by plan", r.LeftByPlan))
	}
	if r.CutAtEnd > 0 {
		parts = append(parts, fmt.Sprintf("%d cut at the end", r.CutAtEnd))
	}
	return strings.Join(parts, ", ")
}

func (r *benchReport) statuses() string {
	var parts []string
	for _, status := range slices.Sorted(maps.Keys(r.Statuses)) {
		parts = append(parts, fmt.Sprintf("%s: %d", status, r.Statuses[status]))
	}
	return strings.Join(parts, ", ")
}

// appendTimes is the table of quantiles. What was never measured has no line.
func (r *benchReport) appendTimes(out *bytes.Buffer, pen ink) {
	rows := [][]string{{"", "count", "mean", "p50", "p90", "p95", "p99", "p99.9", "max"}}
	for _, m := range []struct {
		name string
		of   *load.Histogram
	}{
		{"latency", &r.stats.Latency},
		{"first token", &r.stats.TTFT},
		{"gap between chunks", &r.stats.Gap},
		{"gateway's overhead", &r.stats.Overhead},
		{"send lag", &r.stats.SendLag},
	} {
		if m.of.Count() == 0 {
			continue
		}
		row := []string{m.name, strconv.FormatInt(m.of.Count(), 10), benchTime(m.of.Mean())}
		for _, q := range []float64{.5, .9, .95, .99, .999} {
			row = append(row, benchTime(m.of.Quantile(q)))
		}
		rows = append(rows, append(row, benchTime(m.of.Max())))
	}
	var table bytes.Buffer
	appendTable(&table, append([]bool{true}, make([]bool, len(rows[0])-1)...), rows)
	head, rest, _ := strings.Cut(table.String(), "\n")
	fmt.Fprintf(out, "%s\n%s", pen.dim(head), rest)
}

// benchTime shows a time to three digits.
func benchTime(d time.Duration) string {
	switch {
	case d == 0:
		return "0"
	case d < time.Microsecond:
		return strconv.FormatInt(int64(d), 10) + "ns"
	case d < time.Millisecond:
		return threeDigits(float64(d)/1e3) + "µs"
	case d < time.Second:
		return threeDigits(float64(d)/1e6) + "ms"
	case d < time.Minute:
		return threeDigits(d.Seconds()) + "s"
	default:
		return config.FormatDuration(d.Round(time.Second))
	}
}

// shortRate shows a rate to three digits.
func shortRate(perSecond float64) string {
	if perSecond < 1000 {
		return threeDigits(perSecond)
	}
	return shortCount(int64(perSecond))
}

func threeDigits(v float64) string {
	switch {
	case v < 9.995:
		return strconv.FormatFloat(v, 'f', 2, 64)
	case v < 99.95:
		return strconv.FormatFloat(v, 'f', 1, 64)
	default:
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
}

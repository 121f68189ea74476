package optimizer

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"llm-auto-optimizer/config"
)

// Report is all that became of a decision, oldest first, as a person reads it, with times in a zone. There must be one at least; that with the evidence need
// not be the first.
func Report(became []Decision, zone *time.Location) string {
	r := report{zone: zone, whole: &became[0], last: &became[len(became)-1]}
	if at := slices.IndexFunc(became, func(d Decision) bool { return d.Evidence != nil }); at >= 0 {
		r.whole = &became[at]
	}
	d := r.whole
	name := d.ID
	if name == "" {
		name = "a decision"
	}
	fmt.Fprintf(&r.b, "%s about %s, of %s: %s\n", name, orAllRoutes(d.Route), d.Tuner, strings.ReplaceAll(string(r.last.Verdict), "_", " "))
	r.course(became)
	r.why()
	r.evidence()
	r.cache()
	r.limits()
	r.changes()
	r.guard()
	r.end()
	r.measured(became)
	return r.b.String()
}

func orAllRoutes(route string) string {
	if route == "" {
		return "all routes"
	}
	return "route " + route
}

// report is one on its way.
type report struct {
	b           strings.Builder
	zone        *time.Location
	whole, last *Decision // the one with the evidence, and the latest
}

func (r *report) time(t time.Time) string { return t.In(r.zone).Format("2006-01-02 15:04:05") }

func (r *report) head(what string) { fmt.Fprintf(&r.b, "\n%s\n", what) }

// table writes rows in columns, under a head.
func (r *report) table(head, columns string, rows [][]string) {
	if len(rows) == 0 {
		return
	}
	r.head(head)
	w := tabwriter.NewWriter(&r.b, 0, 0, 2, ' ', 0)
	if columns != "" {
		fmt.Fprintf(w, "  %s\n", columns)
	}
	for _, row := range rows {
		fmt.Fprintf(w, "  %s\n", strings.Join(row, "\t"))
	}
	_ = w.Flush() // a string takes everything
}

// lineWidth is how many characters lines of prose have at most.
const lineWidth = 120

// course is what happened, one time after the other; of the stages of a trial with how it stood.
func (r *report) course(became []Decision) {
	r.head("What happened")
	for i := range became {
		d := &became[i]
		r.b.WriteString("  " + r.time(d.At) + "  " + Wrap(d.Sentence(), lineWidth, 23) + "\n")
	}
	var stages [][]string
	for i := range became {
		if t := became[i].Trial; t != nil {
			cost := "–"
			if t.Cost > 0 {
				cost = fmt.Sprintf("%s ± %.1f %%", signed(100*(t.Cost-1), 1), 100*t.CostError)
			}
			pair := func(v [2]float64) string { return fmt.Sprintf("%.2f / %.2f %%", 100*v[1], 100*v[0]) }
			stages = append(stages, []string{
				r.time(became[i].At), fmt.Sprintf("%.3g %%", 100*t.Share), fmt.Sprintf("%.0f / %.0f", t.Exchanges[1], t.Exchanges[0]), pair(t.Failures), pair(t.Violations), cost,
			})
		}
	}
	r.table("Trial, beside its control", "AT\tSESSIONS\tEXCHANGES\tFAILURES\tVIOLATIONS\tCOST", stages)
}

func (r *report) why() {
	d := r.whole
	if d.Proposal.Evidence.Method == "" && d.Reason == "" {
		return
	}
	r.head("Why")
	if _, cause, ok := strings.Cut(d.Reason, ": "); ok {
		r.b.WriteString("  " + Wrap(cause, lineWidth, 2) + "\n")
	}
	e := &d.Proposal.Evidence
	if e.Method == "" {
		return
	}
	relation := "at least"
	if e.Below {
		relation = "at most"
	}
	rows := [][]string{
		{"method", e.Method}, {"statistic", fmt.Sprintf("%s %.4g", e.Statistic, e.Value)}, {"threshold", fmt.Sprintf("%s %.4g", relation, e.Threshold)},
	}
	if e.Baseline.Count > 0 {
		rows = append(rows, []string{"baseline", fmt.Sprintf("%.4g, of %d observations", e.Baseline.Level, e.Baseline.Count)})
	}
	if e.Effect != "" {
		rows = append(rows, []string{"size", e.Effect})
	}
	if d.Expected != (Effect{}) {
		rows = append(rows, []string{"expected", strings.TrimPrefix(d.Expected.String(), "expected ") + fmt.Sprintf("; $%s for 1,000 exchanges", signed(1000*d.Expected.Cost, max(2, digitsOf(1000*d.Expected.Cost))))})
	}
	w := tabwriter.NewWriter(&r.b, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		fmt.Fprintf(w, "  %s\n", strings.Join(row, "\t"))
	}
	_ = w.Flush() // a string takes everything
}

// evidence is what was known of each target and class, with its share of the class before and after.
func (r *report) evidence() {
	e := r.whole.Evidence
	if e == nil || r.whole.Tuner == (Caching{}).Name() || r.whole.Tuner == (Limits{}).Name() {
		return
	}
	next, err := apply(e.InForce, r.whole.Changes)
	if err != nil {
		next = e.InForce
	}
	var rows [][]string
	alike := map[string][]string{}
	for i := range e.Targets {
		if t := &e.Targets[i]; t.Like != "" {
			alike[t.Like] = append(alike[t.Like], t.Name)
		}
	}
	for c := range classes {
		if e.Classes[c].Rate == 0 {
			continue
		}
		before, after := shares(&e.InForce, c), shares(&next, c)
		for i := range e.Targets {
			t := &e.Targets[i]
			violations, cost, capacity := "–", "–", "–"
			if n := t.Cells[c].Count; n > 0 {
				violations = fmt.Sprintf("%.2f %%", 100*t.Cells[c].Violations/n)
			}
			if v, known := e.Cost(i, c); known {
				cost = fmt.Sprintf("%.4g", 1000*v)
			}
			if t.Capacity > 0 {
				capacity = fmt.Sprintf("%.3g/s", t.Capacity)
			}
			rows = append(rows, []string{
				classNames[c], t.Name, fmt.Sprintf("%.0f", t.Cells[c].Count), violations, cost, fmt.Sprintf("%.3g/s", t.Rate), capacity, fmt.Sprintf("%.2f → %.2f %%", 100*before[t.Name], 100*after[t.Name]),
			})
		}
	}
	objective := "no objective"
	switch o := &e.Objective; {
	case o.TTFT > 0:
		objective = fmt.Sprintf("objective: at most %.3g %% fail or begin later than %v", 100*o.Violations, o.TTFT)
	case o.Violations > 0:
		objective = fmt.Sprintf("objective: at most %.3g %% fail", 100*o.Violations)
	}
	r.table("Evidence ("+objective+")", "CLASS\tTARGET\tEXCHANGES\tVIOLATIONS\t$ PER 1,000\tRATE\tCAPACITY\tSHARE", rows)
	for _, like := range slices.Sorted(maps.Keys(alike)) {
		if names := alike[like]; len(names) > 1 {
			fmt.Fprintf(&r.b, "  %s count as one price: what they cost apart is in their prompt caches\n", strings.Join(names, ", "))
		}
	}
}

func (r *report) changes() {
	var rows [][]string
	for _, c := range r.whole.Changes {
		rows = append(rows, []string{c.Name, Value(c.Name, c.From) + " → " + Value(c.Name, c.To)})
	}
	if len(r.whole.Pinned) > 0 {
		rows = append(rows, []string{"left alone", "pinned: " + strings.Join(r.whole.Pinned, ", ")})
	}
	r.table("Changes", "", rows)
}

// guard is what was checked before, and how that stood.
func (r *report) guard() {
	d := r.whole
	if d.Bounds == nil {
		return
	}
	b := d.Bounds
	var rows [][]string
	row := func(name, format string, args ...any) {
		rows = append(rows, []string{name, fmt.Sprintf(format, args...)})
	}
	if d.Verdict == Refused {
		row("refused", "%s", d.Why)
	}
	row("mode", "%s is %s", d.Tuner, d.Mode)
	if d.Evidence != nil {
		if far := distance(&d.Evidence.InForce, d.Changes); far > 0 {
			row("distance", "%.0f %% of the traffic; %.0f %% is the least", 100*far, 100*b.Least)
			row("speed", "at most %.0f %% in %s and %.0f %% in %s", 100*b.Step, config.FormatDuration(b.StepEvery), 100*b.Most, config.FormatDuration(b.MostEvery))
		}
	}
	if g := d.Guard; g != nil {
		last := "none within the hour"
		if n := len(g.Decided); n > 0 {
			last = config.FormatDuration(d.At.Sub(g.Decided[n-1]).Round(time.Second)) + " before"
		}
		urgent := ""
		if d.Urgent {
			urgent = "; urgent: it need not wait"
		}
		row("cool-down", "last decision of %s: %s; %s is the least%s", d.Tuner, last, config.FormatDuration(b.CoolDown), urgent)
		row("frequency", "%d of this tuner and %d of others within the hour; %d freeze the route", len(g.Decided), g.Others, b.PerHour)
		back := "no"
		if along(g.Last, d.Changes) < 0 {
			back = "yes"
		}
		row("turns", "takes the last decision back: %s; %d did so in %s", back, len(g.Turns), config.FormatDuration(b.MostEvery))
	}
	r.table("Guard", "", rows)
}

// end is how it ends: by itself, or by hand.
func (r *report) end() {
	d := r.last
	var rows [][]string
	row := func(name, text string) { rows = append(rows, []string{name, text}) }
	if !d.Expires.IsZero() && d.Verdict != Promoted && d.Verdict != Verified {
		row("expires", r.time(d.Expires))
	}
	if len(d.Changes) > 0 {
		switch d.Verdict {
		case Recommended:
			row("by hand", "llmopt optimizer approve "+d.ID+", or reject "+d.ID)
		case Trying:
			row("rolls back", "by itself on harm beside its control, more cost than planned, too small a saving, or no end in time")
			row("by hand", "llmopt optimizer undo "+d.ID)
		case Applied, Promoted, Verified:
			row("rolls back", fmt.Sprintf("by itself when the hold-back is better off (e-value of harm ≥ %d)", HarmLimit))
			row("by hand", "llmopt optimizer undo "+d.ID)
		default:
		}
	}
	r.table("How it ends", "", rows)
}

// measured is the effect, once it is known.
func (r *report) measured(became []Decision) {
	var m *Measured
	for i := range became {
		if became[i].Measured != nil {
			m = became[i].Measured
		}
	}
	switch {
	case m != nil:
		r.head(fmt.Sprintf("Measured against the hold-back, from %s to %s", r.time(m.From), r.time(m.To)))
		fmt.Fprintf(&r.b, "  %s\n  of %d exchanges and %d in the hold-back\n", Wrap(m.Against(r.whole.Expected), lineWidth, 2), m.Treated, m.Holdback)
	case r.last.Verdict == Applied || r.last.Verdict == Promoted:
		r.head("Measured against the hold-back")
		fmt.Fprintf(&r.b, "  not yet: the first time after %s\n", config.FormatDuration(reviews[0]))
	}
}

// Wrap breaks a line at spaces, though not before a percent sign, so that none is wider than that many characters; all but the first begin with an indent,
// which also the first has before it.
func Wrap(s string, width, indent int) string {
	var b strings.Builder
	at := indent
	for i, word := range strings.Fields(strings.ReplaceAll(s, " %", "\u2060%")) {
		word = strings.ReplaceAll(word, "\u2060%", " %")
		n := len([]rune(word))
		switch {
		case i == 0:
		case at+1+n > width:
			b.WriteString("\n" + strings.Repeat(" ", indent))
			at = indent
		default:
			b.WriteByte(' ')
			at++
		}
		b.WriteString(word)
		at += n
	}
	return b.String()
}

package optimizer

import (
	"fmt"
	"math"
	"strings"
	"text/tabwriter"
)

// Text is the savings as a person reads them.
func (s *Savings) Text() string {
	var b strings.Builder
	for i := range s.Routes {
		s.Routes[i].text(&b)
		b.WriteByte('\n')
	}
	if s.Gone != nil && s.Gone.Saved.Known {
		fmt.Fprintf(&b, "routes that are no more: %s\n", worth(s.Gone.Saved))
	}
	if s.Unproven > 0 {
		fmt.Fprintf(&b, "%d routes have no proof: savings and harm are measured of %d routes at most\n", s.Unproven, proofRoutes)
	}
	switch {
	case len(s.Routes) == 0:
		b.WriteString("no route has had an exchange yet\n")
	case s.Saved.Known:
		fmt.Fprintf(&b, "all routes: %s\n", worth(s.Saved))
	}
	return b.String()
}

// Verdict is what a route has saved, in words.
func (r *RouteSavings) Verdict() string {
	switch {
	case r.Missing != "":
		return "not yet measurable: " + r.Missing
	case !r.Saved.Known:
		return "not measurable: no exchange has a price"
	}
	s := worth(r.Saved)
	if r.Part.Known {
		s += fmt.Sprintf(", %.1f %% ± %.1f of what it would have cost", 100*math.Abs(r.Part.Value), 50*(r.Part.High-r.Part.Low))
	}
	if r.Saved.Excludes(0) && !r.Sure {
		s += "; too early for one who looks again and again"
	}
	return s
}

// worth is an amount that was saved, in words.
func worth(e Estimate) string {
	half := (e.High - e.Low) / 2
	digits := max(digitsOf(e.Value), 2)
	if d := digitsOf(half); math.Abs(e.Value) < half {
		digits = max(d, 2)
	}
	switch {
	case e.Low > 0:
		return fmt.Sprintf("saved $%.*f ± %.*f", digits, e.Value, digits, half)
	case e.High < 0:
		return fmt.Sprintf("lost $%.*f ± %.*f", digits, -e.Value, digits, half)
	}
	return fmt.Sprintf("nothing that stands out from chance, $%.*f ± %.*f", digits, e.Value, digits, half)
}

// digitsOf is how many decimals show three digits of a small amount.
func digitsOf(v float64) int {
	if v = math.Abs(v); !(v > 0 && v < 1) {
		return 0
	}
	return min(2-int(math.Floor(math.Log10(v))), 12)
}

func (r *RouteSavings) text(b *strings.Builder) {
	fmt.Fprintf(b, "%s: %s\n", r.Route, r.Verdict())
	if r.Optimized.Exchanges+r.Holdback.Exchanges > 0 {
		fmt.Fprintf(b, "  %s to %s\n", r.From.UTC().Format("2006-01-02 15:04"), r.To.UTC().Format("2006-01-02 15:04"))
		r.table(b)
	}
	if r.Harm.Harmful {
		fmt.Fprintf(b, "  it does harm: %s\n", r.Harm.Reason)
	}
	for _, e := range r.Earlier {
		what := "not measurable"
		if e.Saved.Known {
			what = worth(e.Saved)
		}
		fmt.Fprintf(b, "  earlier, until %s (%s): %s\n", e.To.UTC().Format("2006-01-02 15:04"), e.Why, what)
	}
}

func (r *RouteSavings) table(b *strings.Builder) {
	w := tabwriter.NewWriter(b, 0, 0, 2, ' ', tabwriter.AlignRight)
	row := func(what string, of func(s *Side) string, e Estimate, scale float64, format string) {
		fmt.Fprintf(w, "  %s\t%s\t%s\t", what, of(&r.Optimized), of(&r.Holdback))
		if e.Known {
			fmt.Fprintf(w, format, scale*e.Value, scale*(e.High-e.Low)/2)
		}
		fmt.Fprint(w, "\t\n")
	}
	fmt.Fprint(w, "  \toptimized\thold-back\tdifference\t\n")
	row("exchanges", func(s *Side) string { return fmt.Sprint(s.Exchanges) }, Estimate{}, 0, "")
	row("$ per 1,000", func(s *Side) string { return fmt.Sprintf("%.4g", 1000*s.Cost) }, r.Cost, 1000, "%+.3g ± %.2g")
	row("violations", func(s *Side) string { return fmt.Sprintf("%.2f %%", 100*s.Violations) }, r.Violations, 100, "%+.2f ± %.2f %%")
	row("failures", func(s *Side) string { return fmt.Sprintf("%.2f %%", 100*s.Failures) }, r.Failures, 100, "%+.2f ± %.2f %%")
	row("wait, mean", func(s *Side) string { return fmt.Sprintf("%.0f ms", 1000*s.Wait) }, r.Wait, 1000, "%+.0f ± %.0f ms")
	if r.WaitRatio.Known {
		low, high := math.Expm1(r.WaitRatio.Low), math.Expm1(r.WaitRatio.High)
		fmt.Fprintf(w, "  wait, typical\t\t\t%+.1f ± %.1f %%\t\n", 100*math.Expm1(r.WaitRatio.Value), 50*(high-low))
	}
	if u := r.Optimized.Unpriced + r.Holdback.Unpriced; u > 0 {
		row("without price", func(s *Side) string { return fmt.Sprint(s.Unpriced) }, Estimate{}, 0, "")
	}
	_ = w.Flush() // a string takes everything
}

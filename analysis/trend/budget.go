package trend

import (
	"fmt"
	"slices"
	"time"

	"llm-auto-optimizer/analysis"
)

// pathsDrawn is how many futures an [Outlook] counts: a probability of one half has a standard error of 2 %.
const pathsDrawn = 500

// Outlook is what a [Forecast] says about a budget until the end of its period.
type Outlook struct {
	Budget, Spent  float64 // in the unit of the history; Spent is what is gone already
	End            time.Time
	P              float64      // of exhaustion before End, in [0, 1]
	Exhausted      [3]time.Time // when 10, 50 and 90 % of the futures have used it up; zero where that is not before End
	Total          [3]float64   // at End: what 10, 50 and 90 % of the futures stay below, with Spent
	Hours, History int
}

// horizon is the longest period an outlook covers.
const horizon = 62 * day

// Outlook draws 500 futures and counts in how many the budget is used up, and when; the same for the same seed. An end before the next
// hour or more than 62 days ahead counts as the nearest of these.
func (f *Forecast) Outlook(budget, spent float64, end time.Time, seed uint64) Outlook {
	hours := int(min(max(end.Sub(f.start)+time.Hour-1, time.Hour), horizon*time.Hour) / time.Hour)
	o := Outlook{Budget: budget, Spent: spent, End: end, Hours: hours, History: f.hours}
	totals := make([]float64, 0, pathsDrawn)
	reached := make([]int, 0, pathsDrawn) // hours until the budget is used up; hours+1 for never
	for _, path := range f.Paths(hours, pathsDrawn, seed) {
		total, at := spent, hours+1
		for i, v := range path {
			if total += v; total >= budget && at > hours {
				at = i + 1
			}
		}
		if spent >= budget {
			at = 0
		}
		totals, reached = append(totals, total), append(reached, at)
	}
	slices.Sort(totals)
	slices.Sort(reached)
	for i, q := range [3]int{10, 50, 90} {
		k := min(pathsDrawn*q/100, pathsDrawn-1)
		o.Total[i] = totals[k]
		if reached[k] <= hours {
			o.Exhausted[i] = f.start.Add(time.Duration(reached[k]) * time.Hour)
		}
	}
	within, _ := slices.BinarySearch(reached, hours+1)
	o.P = float64(within) / pathsDrawn
	return o
}

// Judge says whether exhaustion before the end of the period is likelier than limit.
func (o Outlook) Judge(limit float64) (bool, analysis.Reason) {
	effect := fmt.Sprintf("%.4g of %.4g spent, %.4g (%.4g to %.4g) at the end", o.Spent, o.Budget, o.Total[1], o.Total[0], o.Total[2])
	if at := o.Exhausted[1]; !at.IsZero() {
		effect += ", used up about " + at.UTC().Format("2006-01-02 15:04 MST")
	}
	return o.P > limit, analysis.Reason{
		Method:    "damped Holt, bootstrap",
		Statistic: "probability of exhaustion",
		Value:     o.P,
		Threshold: limit,
		Effect:    effect,
		Baseline:  analysis.Baseline{Count: o.History},
	}
}

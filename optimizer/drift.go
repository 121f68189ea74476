package optimizer

import (
	"fmt"
	"math"
	"slices"
	"time"

	"llm-auto-optimizer/analysis"
	"llm-auto-optimizer/analysis/trend"
)

// LatencyDrift is how the latency of a target has moved over days.
type LatencyDrift struct {
	Target    string        `json:"target"`
	Change    float64       `json:"change"` // over the span, as a part: .3 is 30 % slower at the end than at the beginning
	Low, High float64       // its 95 % interval
	P         float64       `json:"p"` // two-sided
	Span      time.Duration `json:"span_ns"`
	Hours     int           `json:"hours"` // with a value
	Level     float64       `json:"level"` // median, seconds
	Drifts    bool          `json:"drifts"`
	Limit     float64       `json:"limit"` // of P
}

// DriftLimits say which drift counts.
type DriftLimits struct {
	P      float64 // largest p-value
	Change float64 // smallest change over the span, as a part
}

// DefaultDrift are the limits of drift: a change over days, that people notice.
var DefaultDrift = DriftLimits{P: .01, Change: .2}

const (
	driftLeast = 72  // hours: fewer days do not tell the rise of a day from a drift
	driftMost  = 288 // hours
)

// Drift tests a target's hourly latencies, such as medians of the time to first token in seconds, for a trend: Sen's slope and Mann-Kendall on logarithms, freed of
// the profile of the hours of the day. Hours without a value are NaN, infinite or not above 0. Of more than 288 hours the last are used; false for fewer than 72
// with a value, or if all are equal.
func (l DriftLimits) Drift(target string, hourly []float64) (d LatencyDrift, ok bool) {
	hourly = hourly[max(0, len(hourly)-driftMost):]
	logs, seen := make([]float64, len(hourly)), []float64(nil)
	for i, v := range hourly {
		logs[i] = math.NaN()
		if v > 0 && !math.IsInf(v, 0) {
			logs[i] = math.Log(v)
			seen = append(seen, v)
		}
	}
	if len(seen) < driftLeast {
		return d, false
	}
	t, ok := trend.Detect(withoutDay(logs), trend.AR1)
	if !ok {
		return d, false
	}
	steps := float64(len(hourly) - 1)
	change := func(slope float64) float64 { return math.Expm1(slope * steps) }
	d = LatencyDrift{
		Target: target, Change: change(t.Slope), Low: change(t.Low), High: change(t.High), P: t.P, Span: time.Duration(steps) * time.Hour,
		Hours: len(seen), Level: middleOf(seen), Limit: l.P,
	}
	// As much as the change of a rise is, that of the fall which takes it back is less: 1.25 times and back is +25 % and -20 %.
	d.Drifts = t.P < l.P && math.Abs(t.Slope*steps) >= math.Log1p(l.Change)
	return d, true
}

// withoutDay takes the profile of the hours of the day out: the medians of how far hours stand off the day around them. Hours
// without half a day on both sides say nothing about it.
func withoutDay(logs []float64) []float64 {
	var off [hoursADay][]float64
	for i := hoursADay / 2; i+hoursADay/2 <= len(logs); i++ {
		sum, n := 0., 0.
		for _, v := range logs[i-hoursADay/2 : i+hoursADay/2] {
			if !math.IsNaN(v) {
				sum, n = sum+v, n+1
			}
		}
		if !math.IsNaN(logs[i]) && n >= hoursADay/2 {
			off[i%hoursADay] = append(off[i%hoursADay], logs[i]-sum/n)
		}
	}
	rest := slices.Clone(logs)
	for i := range rest {
		rest[i] -= middleOf(off[i%hoursADay])
	}
	return rest
}

// middleOf is the median, and 0 for nothing.
func middleOf(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(v))
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}

// Worse tells whether the target becomes slower.
func (d *LatencyDrift) Worse() bool { return d.Drifts && d.Change > 0 }

// Reason is the drift as evidence.
func (d *LatencyDrift) Reason() analysis.Reason {
	return analysis.Reason{
		Method: "Mann-Kendall, Theil-Sen", Statistic: "p-value", Value: d.P, Threshold: d.Limit, Below: true,
		Effect:   fmt.Sprintf("%+.0f %% (%+.0f to %+.0f %%) over %.0f days", 100*d.Change, 100*d.Low, 100*d.High, d.Span.Hours()/hoursADay),
		Baseline: analysis.Baseline{Count: d.Hours, Level: d.Level},
	}
}

// String is the drift as a sentence.
func (d *LatencyDrift) String() string {
	word := "slower"
	if d.Change < 0 {
		word = "faster"
	}
	return fmt.Sprintf("%s has become %.0f %% %s over %.0f days (%.0f to %.0f %%)", d.Target, 100*math.Abs(d.Change), word, d.Span.Hours()/hoursADay,
		100*min(math.Abs(d.Low), math.Abs(d.High)), 100*max(math.Abs(d.Low), math.Abs(d.High)))
}

package anomaly

import (
	"math"

	"llm-auto-optimizer/analysis"
)

// RobustZ compares the logarithm of a value with the median of the last ones, in units of their median absolute deviation (Iglewicz
// and Hoaglin, "How to Detect and Handle Outliers", 1993). On the raw scale a threshold of 3.5 fires in 3 % of lognormal values; on
// the logarithm in 0.05 %. A step takes O(log memory) searches and a move of 2 KB, and allocates nothing.
type RobustZ struct {
	recent    *analysis.Recent
	threshold float64
}

const (
	robustMemory = 256 // values
	robustLearn  = 30  // values before the first score
	leastSpread  = .01 // of the logarithm: a constant may move by 1 % without being judged
)

// NewRobustZ returns a RobustZ that has seen nothing. An alarm is a score of threshold deviations, such as 6.
func NewRobustZ(threshold float64) *RobustZ {
	return &RobustZ{recent: analysis.NewRecent(robustMemory), threshold: threshold}
}

// Step returns how many deviations v, which is above 0, lies off the values before, signed, and the reason; false for fewer than 30
// values before, or if v is not positive and finite: then it is not learned from either. A value that fires is learned from at the
// edge of what does not.
func (r *RobustZ) Step(v float64) (z float64, reason analysis.Reason, ok bool) {
	if !(v > 0) || math.IsInf(v, 0) {
		return 0, reason, false
	}
	log := math.Log(v)
	middle, _ := r.recent.Median()
	spread, _ := r.recent.MAD()
	spread = max(spread, leastSpread)
	n := r.recent.Len()
	if n < robustLearn {
		r.recent.Add(log)
		return 0, reason, false
	}
	z = (log - middle) / spread
	r.recent.Add(min(max(log, middle-r.threshold*spread), middle+r.threshold*spread))
	return z, analysis.Reason{
		Method:    "robust z on logarithms",
		Statistic: "deviations",
		Value:     math.Abs(z),
		Threshold: r.threshold,
		Baseline:  analysis.Baseline{Count: n, Level: math.Exp(middle), Spread: math.Exp(middle) * math.Expm1(spread)},
	}, true
}

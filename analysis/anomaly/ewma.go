package anomaly

import (
	"math"

	"llm-auto-optimizer/analysis"
)

// Chart is an EWMA control chart (Roberts, "Control chart tests based on geometric moving averages", Technometrics 1959): the average
// of recent values against that of the long run, in exact standard deviations of the former. With weight .2 and limit 2.962 it alarms
// falsely once in 500 independent normal values (Lucas and Saccucci, "Exponentially weighted moving average control schemes",
// Technometrics 1990). O(1) a step, no allocation.
type Chart struct {
	weight, limit float64
	average       float64
	n             int // values since the average began
	long          drift
	frozen        int // values since the alarm began
}

const (
	chartLearn  = 50   // values before the first alarm
	chartFreeze = 360  // values, an hour of 10 s, after which a deviation is the new level
	chartLong   = .002 // weight of the long run
)

// NewChart returns a chart; weight in (0, 1], outside counts as .2, a limit that is not positive as 2.962.
func NewChart(weight, limit float64) *Chart {
	if !(weight > 0 && weight <= 1) {
		weight = .2
	}
	if !(limit > 0) {
		limit = 2.962
	}
	return &Chart{weight: weight, limit: limit, long: drift{weight: chartLong}}
}

// Step takes v in and says whether the average is off. The long run learns nothing while it is, for at most 360 values. NaN and
// infinite values change nothing. False for fewer than 50 values, or while all are equal.
func (c *Chart) Step(v float64) (reason analysis.Reason, ok bool) {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return reason, false
	}
	if c.long.n < chartLearn || c.long.variance == 0 {
		c.long.add(v)
		c.average, c.n = c.long.mean, 0
		return reason, false
	}
	c.n++
	c.average += c.weight * (v - c.average)
	share := c.weight / (2 - c.weight) * (1 - math.Pow(1-c.weight, 2*float64(c.n)))
	reason = analysis.Reason{
		Method:    "EWMA chart",
		Statistic: "standard deviations",
		Value:     math.Abs(c.average-c.long.mean) / (c.long.sd() * math.Sqrt(share)),
		Threshold: c.limit,
		Baseline:  analysis.Baseline{Count: c.long.n, Level: c.long.mean, Spread: c.long.sd()},
	}
	if reason.Fired() {
		c.frozen++
	} else {
		c.frozen = 0
	}
	if c.frozen == 0 || c.frozen > chartFreeze {
		c.long.add(v)
	}
	return reason, true
}

package regime

import (
	"fmt"
	"math"

	"llm-auto-optimizer/analysis"
)

// Shift finds lasting changes in the level of a series whose distribution is not known: latency, throughput, cost. Each value is
// replaced by its normal score among recent ones, freed of first-order autocorrelation, winsorised, and watched by FOCuS. So the
// rate of false alarms depends neither on the distribution nor on AR(1) noise, and slow drifts (of a day, say) are part of the
// baseline. Nothing has to be
// positive or normal.
//
// A step takes two or three binary searches and one move of at most 16 KB, and allocates nothing. A Shift is deterministic and not safe for concurrent use.
type Shift struct {
	threshold float64
	learn     int // values before the first alarm

	baseline *analysis.Recent
	seen     int     // since the start or the last reset
	previous float64 // score
	lag      drift   // product of neighbouring scores: the lag-1 autocorrelation
	watch    focus
}

// Series says what kind of values a [Shift] will see; it sets the memory and chooses the table of thresholds.
type Series int

const (
	// Requests are single observations, several a second: the baseline is the last 2,048.
	Requests Series = iota
	// Ticks are values of 10 s or more each: the baseline is the last 512.
	Ticks
)

const (
	requestsKept  = 2048
	requestsLearn = 200
	ticksKept     = 512
	ticksLearn    = 100
	winsorAt      = 2 // standard deviations
	lagWeight     = 1. / 8192
	lagLimit      = .9
)

// Change is what a detector says after a value.
type Change struct {
	Alarm     bool
	Statistic float64 // log-likelihood ratio of the most likely change, unless the detector says otherwise
	Threshold float64
	Since     int     // values since it began
	Before    float64 // level of the baseline, in the unit of the input
	Spread    float64 // of the baseline
	After     float64 // level since the change
	Count     int     // values in the baseline
	method    string
}

// NewShift returns a Shift for one false alarm in falseEvery values on average. falseEvery below 1,000 counts as 1,000 and above
// 1e10 as 1e10: thresholds outside are not calibrated.
func NewShift(kind Series, falseEvery float64) *Shift {
	kept, learn := requestsKept, requestsLearn
	if kind == Ticks {
		kept, learn = ticksKept, ticksLearn
	}
	return &Shift{
		threshold: ShiftThreshold(kind, falseEvery),
		learn:     learn,
		baseline:  analysis.NewRecent(kept),
		lag:       drift{weight: lagWeight},
	}
}

// SetThreshold makes h the log-likelihood ratio that is an alarm, in place of the calibrated one.
func (s *Shift) SetThreshold(h float64) { s.threshold = h }

// Step takes v in. NaN and infinite values change nothing. After an alarm it learns afresh, from values after the change.
func (s *Shift) Step(v float64) Change {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return s.change(candidate{})
	}
	s.seen++
	z := 0.
	if n := s.baseline.Len(); n > 0 {
		z = normalScore(s.baseline.Rank(v), n)
	}
	c := s.change(candidate{})
	if s.seen > s.learn {
		c = s.change(s.watch.step(s.whiten(z), v))
	}
	s.lag.add(z * s.previous)
	s.previous = z
	if c.Alarm {
		s.Reset()
		return c
	}
	s.baseline.Add(v)
	return c
}

// whiten takes out what the value before explains, and winsorises the rest.
func (s *Shift) whiten(z float64) float64 {
	lag := min(max(s.lag.mean, -lagLimit), lagLimit)
	z = (z - lag*s.previous) / math.Sqrt(1-lag*lag)
	return min(max(z, -winsorAt), winsorAt)
}

func (s *Shift) change(c candidate) Change {
	change := Change{
		Alarm:     c.statistic >= s.threshold,
		Statistic: c.statistic,
		Threshold: s.threshold,
		Since:     int(c.length),
		After:     c.level,
		Count:     s.baseline.Len(),
		method:    "FOCuS on normal scores",
	}
	change.Before, _ = s.baseline.Median()
	low, _ := s.baseline.Quantile(oneBelow)
	high, _ := s.baseline.Quantile(1 - oneBelow)
	change.Spread = (high - low) / 2
	return change
}

// oneBelow is the share of a normal distribution that lies more than a standard deviation below its mean.
const oneBelow = .158655

// Reset forgets everything but the settings.
func (s *Shift) Reset() {
	s.baseline.Reset()
	s.seen, s.previous, s.watch = 0, 0, focus{}
	s.lag = drift{weight: lagWeight}
}

// Reason says why c is or is not an alarm.
func (c Change) Reason() analysis.Reason {
	return analysis.Reason{
		Method:    c.method,
		Statistic: "log-likelihood ratio",
		Value:     c.Statistic,
		Threshold: c.Threshold,
		Effect:    fmt.Sprintf("%.4g -> %.4g for %d values", c.Before, c.After, c.Since),
		Baseline:  analysis.Baseline{Count: c.Count, Level: c.Before, Spread: c.Spread},
	}
}

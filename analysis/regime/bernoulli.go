package regime

import (
	"fmt"
	"math"
)

// ErrorRate finds a rise in the rate of bad outcomes, one Bernoulli trial at a time: the CUSUM of the log-likelihood ratio between
// a raised rate and the usual one (Reynolds and Stoumbos, "A CUSUM chart for monitoring a proportion when inspecting
// continuously", Journal of Quality Technology 1999). The usual rate is learned, but not from the trials that led to an alarm.
//
// A step takes O(1) and allocates nothing. An ErrorRate is deterministic and not safe for concurrent use.
type ErrorRate struct {
	falseEvery float64
	fixed      float64 // threshold set by hand; 0: calibrated
	known      bool    // the usual rate was given, and is not learned

	usual    float64 // rate of bad outcomes
	trials   float64 // that it comes from, at most rateMemory
	pending  int     // trials since the weights were made
	good     float64
	bad      float64
	limit    float64
	cusum    float64
	length   int // trials since the CUSUM was last 0
	badSince int // of them bad
}

const (
	rateFloor   = .002  // usual rates below count as this: two errors in a row are no regime
	rateCeiling = .3    // above it a rise is not this detector's business
	rateMemory  = 65536 // trials
	rateCaution = 1     // standard errors
	rateLearn   = 200   // trials before the first alarm
	raisedTimes = 5     // the raised rate is this times the usual one, or that plus raisedBy, whichever is more
	raisedBy    = .02
	renewEvery  = 64 // trials between new weights, which cost three logarithms
)

// NewErrorRate returns a detector for one false alarm in falseEvery trials on average. start is the rate believed at first, such
// as the last one known or 0 (which NaN counts as); it weighs as much as rateLearn trials. falseEvery below 1,000 counts as 1,000, above 1e10 as 1e10.
func NewErrorRate(start, falseEvery float64) *ErrorRate {
	if math.IsNaN(start) {
		start = 0
	}
	e := &ErrorRate{falseEvery: falseEvery, usual: min(max(start, 0), 1), trials: rateLearn}
	e.renew()
	return e
}

// NewKnownErrorRate returns a detector whose usual rate is given, such as that of an objective, and not learned.
func NewKnownErrorRate(usual, falseEvery float64) *ErrorRate {
	e := NewErrorRate(usual, falseEvery)
	e.known = true
	e.renew()
	return e
}

// SetThreshold makes h, above 0, the log-likelihood ratio that is an alarm, in place of the calibrated one.
func (e *ErrorRate) SetThreshold(h float64) {
	e.fixed = h
	e.renew()
}

// Rates returns the usual rate and the raised rate that it is told from. While the usual rate is learned it is one standard error
// above the estimate: a rate believed too low gives false alarms, one believed too high a later alarm.
func (e *ErrorRate) Rates() (usual, raised float64) {
	usual = e.usual
	if !e.known {
		usual += rateCaution * math.Sqrt(max(usual, rateFloor)/e.trials)
	}
	usual = min(max(usual, rateFloor), rateCeiling)
	return usual, raisedRate(usual)
}

func raisedRate(usual float64) float64 {
	return min(max(raisedTimes*usual, usual+raisedBy), (1+usual)/2)
}

func (e *ErrorRate) renew() {
	usual, raised := e.Rates()
	e.good, e.bad = weights(usual, raised)
	if e.limit = e.fixed; e.fixed == 0 {
		e.limit = RateThreshold(usual, e.falseEvery)
	}
	e.pending = 0
}

// weights returns the log-likelihood ratios of a good and of a bad outcome.
func weights(usual, raised float64) (good, bad float64) {
	return math.Log((1 - raised) / (1 - usual)), math.Log(raised / usual)
}

// Step takes one outcome in. After an alarm the CUSUM begins again at 0; the usual rate stays.
func (e *ErrorRate) Step(bad bool) Change {
	weight := e.good
	if bad {
		weight = e.bad
		e.badSince++
	}
	e.length++
	e.cusum += weight
	c := Change{
		Alarm:     e.cusum >= e.limit,
		Statistic: max(e.cusum, 0),
		Threshold: e.limit,
		Since:     e.length,
		Before:    e.usual,
		After:     float64(e.badSince) / float64(e.length),
		Count:     int(e.trials),
		method:    "Bernoulli CUSUM",
	}
	if c.Alarm || e.cusum <= 0 {
		if !c.Alarm && !e.known {
			e.learn()
		}
		e.cusum, e.length, e.badSince = 0, 0, 0
	}
	return c
}

// learn takes the trials since the CUSUM was last 0 into the usual rate. They come all together, now that they turn out to be usual:
// leaving out the bad ones among them would make it too low.
func (e *ErrorRate) learn() {
	n := float64(e.length)
	e.trials = min(e.trials+n, rateMemory)
	e.usual += n / e.trials * (float64(e.badSince)/n - e.usual)
	if e.pending += e.length; e.pending >= renewEvery {
		e.renew()
	}
}

// String is the detector's setting in words.
func (e *ErrorRate) String() string {
	usual, raised := e.Rates()
	return fmt.Sprintf("Bernoulli CUSUM of %.3g against %.3g, threshold %.3g", raised, usual, e.limit)
}

package regime

import "math"

// Decline finds a fall of the mean of values in [0, 1], such as answer quality, below a level that it may not fall below: a
// Shiryaev-Roberts e-detector over betting e-processes (Shin, Ramdas and Rinaldo, "E-detectors: a nonparametric framework for
// sequential change detection", New England Journal of Statistics in Data Science 2024; bets of Waudby-Smith and Ramdas,
// "Estimating means of bounded random variables by betting", JRSSB 2024). While the conditional mean is at least the level, the
// mean number of values between false alarms is at least what was asked for, whatever the distribution and the dependence.
//
// A step takes O(1) and allocates nothing. A Decline is deterministic and not safe for concurrent use.
type Decline struct {
	level  float64
	limit  float64
	wealth [len(bets)]float64
	recent drift
	n      int
}

// bets are the stakes whose e-processes are averaged, as parts of the largest stake that cannot lose everything.
var bets = [...]float64{.05, .1, .2, .4, .8}

// NewDecline returns a detector of a mean below level, in (0, 1), with at least falseEvery values between false alarms on
// average. A level outside is moved to .001 or .999, falseEvery below 1 counts as 1.
func NewDecline(level, falseEvery float64) *Decline {
	return &Decline{level: min(max(level, .001), .999), limit: max(falseEvery, 1), recent: drift{weight: .02}}
}

// Step takes v in; outside of [0, 1] it counts as 0 or 1, NaN changes nothing. After an alarm it begins again.
func (d *Decline) Step(v float64) Change {
	if math.IsNaN(v) {
		return d.change(0)
	}
	v = min(max(v, 0), 1)
	d.n++
	d.recent.add(v)
	mean := 0.
	for i, bet := range bets {
		// 1 + stake (level - v) is at least 1 - bet > 0, and at most 1 in expectation while the mean is at least the level
		d.wealth[i] = (1 + d.wealth[i]) * (1 + bet/(1-d.level)*(d.level-v))
		mean += d.wealth[i] / float64(len(bets))
	}
	c := d.change(mean)
	if c.Alarm {
		*d = *NewDecline(d.level, d.limit)
	}
	return c
}

func (d *Decline) change(wealth float64) Change {
	return Change{
		Alarm:     wealth >= d.limit,
		Statistic: math.Log(max(wealth, 1)),
		Threshold: math.Log(d.limit),
		Since:     d.n,
		Before:    d.level,
		After:     d.recent.mean,
		method:    "e-detector",
	}
}

package learn

import (
	"math"

	"llm-auto-optimizer/analysis"
)

// Interval holds a quantity with the confidence asked for, at all looks together. Before there is enough to go by it is everything.
type Interval struct{ Low, High float64 }

// Excludes says whether v lies outside.
func (i Interval) Excludes(v float64) bool { return v < i.Low || v > i.High }

var everything = Interval{math.Inf(-1), math.Inf(1)}

const (
	sequenceFrom  = 50  // values before an asymptotic sequence says anything
	sequenceTuned = 500 // values at which it is tightest
)

// Sequence is an asymptotic confidence sequence for a mean (Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, "Time-uniform central
// limit theory and asymptotic confidence sequences", Annals of Statistics 2024, theorem 2.2): intervals, one after each value, that
// all hold the mean with probability 1-alpha, for values of any distribution with a variance. Tightest at 500 values, and used from 50.
// O(1) a value, no allocation. The zero value is empty.
type Sequence struct{ moments analysis.Moments }

// Add takes v in; NaN and infinite values are left out.
func (s *Sequence) Add(v float64) { s.moments.Add(v) }

// Interval returns where the mean is; alpha in (0, 1), outside counts as .05.
func (s *Sequence) Interval(alpha float64) Interval {
	mean, _ := s.moments.Mean()
	sd, ok := s.moments.SD()
	if n := s.moments.Count(); ok && n >= sequenceFrom {
		reach := sd * margin(n, alpha)
		return Interval{mean - reach, mean + reach}
	}
	return everything
}

// margin is the half width after n values of variance 1.
func margin(n, alpha float64) float64 {
	if !(alpha > 0 && alpha < 1) {
		alpha = .05
	}
	log := -2 * math.Log(alpha)
	rho2 := (log + math.Log(log+1)) / sequenceTuned // their eq. 52
	v := n*rho2 + 1
	return math.Sqrt(2 * v / (n * n * rho2) * math.Log(math.Sqrt(v)/alpha))
}

// Difference is an asymptotic confidence sequence for the difference of two means, of values that come in any order: the second group
// less the first. The zero value is empty.
type Difference struct{ groups [2]analysis.Moments }

// Add takes in v of the first or of the second group.
func (d *Difference) Add(second bool, v float64) {
	if second {
		d.groups[1].Add(v)
		return
	}
	d.groups[0].Add(v)
}

// Estimate returns the difference of the means so far; false without values in both groups.
func (d *Difference) Estimate() (float64, bool) {
	from, ok1 := d.groups[0].Mean()
	to, ok2 := d.groups[1].Mean()
	return to - from, ok1 && ok2
}

// Interval returns where the difference is; both groups need 50 values. alpha as for [Sequence.Interval].
func (d *Difference) Interval(alpha float64) Interval {
	n0, n1 := d.groups[0].Count(), d.groups[1].Count()
	if min(n0, n1) < sequenceFrom {
		return everything
	}
	v0, _ := d.groups[0].Variance()
	v1, _ := d.groups[1].Variance()
	n := n0 + n1
	difference, _ := d.Estimate()
	reach := math.Sqrt(n*(v0/n0+v1/n1)) * margin(n, alpha)
	return Interval{difference - reach, difference + reach}
}

// Bounded is a confidence sequence for the mean of values in [0, 1] that holds from the first value on, for every distribution: the
// predictable plug-in empirical Bernstein sequence (Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting",
// JRSSB 2024, theorem 2). O(1) a value, no allocation.
type Bounded struct {
	alpha                   float64
	n, sum, square          float64 // with half a value of 1/2 before the first, as theirs
	stakes, staked, penalty float64
}

// NewBounded returns an empty sequence; alpha as for [Sequence.Interval].
func NewBounded(alpha float64) *Bounded {
	if !(alpha > 0 && alpha < 1) {
		alpha = .05
	}
	return &Bounded{alpha: alpha, sum: .5, square: .25}
}

// Add takes v in; NaN is left out, and values outside of [0, 1] count as the nearest.
func (b *Bounded) Add(v float64) {
	if math.IsNaN(v) {
		return
	}
	v = min(max(v, 0), 1)
	t := b.n + 1
	before := b.sum / t
	stake := min(math.Sqrt(2*math.Log(2/b.alpha)/(b.square/t*t*math.Log(1+t))), .5)
	b.stakes += stake
	b.staked += stake * v
	b.penalty += 4 * (v - before) * (v - before) * (-math.Log1p(-stake) - stake) / 4
	b.n = t
	b.sum += v
	after := b.sum / (t + 1)
	b.square += (v - after) * (v - after)
}

// Interval returns where the mean is, within [0, 1].
func (b *Bounded) Interval() Interval {
	if b.n == 0 {
		return Interval{0, 1}
	}
	middle, reach := b.staked/b.stakes, (math.Log(2/b.alpha)+b.penalty)/b.stakes
	return Interval{max(0, middle-reach), min(1, middle+reach)}
}

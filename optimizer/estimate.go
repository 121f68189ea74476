package optimizer

import (
	"fmt"
	"math"

	"llm-auto-optimizer/analysis/learn"
)

// Estimate is a number that was measured, with its 95 % interval at one look. The zero value says that it is not known.
type Estimate struct {
	Known bool    `json:"known"`
	Value float64 `json:"value"`
	Low   float64 `json:"low"`
	High  float64 `json:"high"`
	Error float64 `json:"standard_error"`
}

// student is the .975 quantile of Student's t with one degree of freedom less than there are groups.
const student = 2.0687

func estimateOf(value, variance float64) Estimate {
	se := math.Sqrt(variance)
	return Estimate{true, value, value - student*se, value + student*se, se}.checked()
}

// against makes an estimate of how much more a mean is than another one, which is above 0 and skewed to the right, as costs and times are: its interval is
// symmetric in its logarithm. A symmetric one is too short upwards, where the few dear exchanges are that a small hold-back has not met.
func (e Estimate) against(mean float64) Estimate {
	other := mean - e.Value
	if !e.Known || !(other > 0) {
		return e
	}
	by := math.Exp(student * e.Error / other)
	e.Low, e.High = mean-other*by, mean-other/by
	return e.checked()
}

// checked is the estimate, or that it is not known where it is no number.
func (e Estimate) checked() Estimate {
	if e.Known && finite(e.Low) && finite(e.High) && finite(e.Value) && finite(e.Error) {
		return e
	}
	return Estimate{}
}

// times is the estimate in another unit.
func (e Estimate) times(by float64) Estimate {
	e.Value, e.Low, e.High, e.Error = e.Value*by, e.Low*by, e.High*by, e.Error*math.Abs(by)
	if by < 0 {
		e.Low, e.High = e.High, e.Low
	}
	return e.checked()
}

// plus is the sum of two independent estimates; what is not known of either is left out. Ends of intervals are as far off as those of both together (Zou and
// Donner, Statistics in Medicine 2008).
func (e Estimate) plus(o Estimate) Estimate {
	switch {
	case !e.Known:
		return o
	case !o.Known:
		return e
	}
	v := e.Value + o.Value
	return Estimate{
		true, v, v - math.Hypot(e.Value-e.Low, o.Value-o.Low), v + math.Hypot(e.High-e.Value, o.High-o.Value), math.Hypot(e.Error, o.Error),
	}.checked()
}

// Excludes tells whether the interval does not hold v.
func (e Estimate) Excludes(v float64) bool { return e.Known && (v < e.Low || v > e.High) }

// Anytime is the interval that holds the value at all looks together with 95 % (see learn.Anytime), with n exchanges in the hold-back.
func (e Estimate) Anytime(n float64) learn.Interval { return learn.Anytime(e.Value, e.Error, n, .05) }

// measure is one of the quantities that sides are compared by: how many exchanges of a group have it, its sum, and the sum of what is known of it in advance.
type measure func(g *groupSums) (n, sum, size float64)

func costOf(g *groupSums) (n, sum, size float64)     { return float64(g.priced), g.cost, g.size }
func failuresOf(g *groupSums) (n, sum, size float64) { return float64(g.n), float64(g.failed), 0 }
func violationsOf(g *groupSums) (n, sum, size float64) {
	return float64(g.n), float64(g.violations), 0
}
func waitOf(g *groupSums) (n, sum, size float64)    { return float64(g.waits), g.wait, 0 }
func logWaitOf(g *groupSums) (n, sum, size float64) { return float64(g.waits), g.logWait, 0 }

const (
	leastHeld    = 50 // exchanges of the hold-back, below which nothing is said
	leastGroups  = 20 // groups that have some of them: there are about forty sessions then
	leastStratum = 20 // exchanges of the hold-back in a class that stands for itself; others go with their neighbours
)

// missing says what there is too little of to compare the sides; empty: nothing.
func (s *span) missing() string {
	held, filled := s.total(holdback), 0
	for i := range groups {
		for class := range s.sums[holdback] {
			if s.sums[holdback][class].groups[i].n > 0 {
				filled++
				break
			}
		}
	}
	switch {
	case held.n < leastHeld:
		return fmt.Sprintf("%d exchanges in the hold-back, %d are the least", held.n, leastHeld)
	case filled < leastGroups:
		return fmt.Sprintf("%d exchanges in the hold-back are of too few sessions", held.n)
	case s.total(treated).n < leastHeld:
		return fmt.Sprintf("%d exchanges outside of the hold-back, %d are the least", s.total(treated).n, leastHeld)
	}
	return ""
}

// stratum is one class, or some that go together.
type stratum struct {
	classes [classes]bool
	n       [sides]float64
	sum     [sides]float64
	size    [sides]float64
	groups  [sides][groups]struct{ n, sum, size float64 }
}

// strata are the classes, put together until each has enough in the hold-back.
func (s *span) strata(m measure) (list []stratum) {
	var k stratum
	for class := range classes {
		k.classes[class] = true
		for side := range s.sums {
			for i := range s.sums[side][class].groups {
				n, sum, size := m(&s.sums[side][class].groups[i])
				g := &k.groups[side][i]
				g.n, g.sum, g.size = g.n+n, g.sum+sum, g.size+size
				k.n[side], k.sum[side], k.size[side] = k.n[side]+n, k.sum[side]+sum, k.size[side]+size
			}
		}
		if k.n[holdback] >= leastStratum && k.n[treated] >= leastStratum {
			list = append(list, k)
			k = stratum{}
		}
	}
	if len(list) == 0 {
		return []stratum{k}
	}
	last := &list[len(list)-1]
	for side := range k.n { // the rest goes with the last one
		last.n[side], last.sum[side], last.size[side] = last.n[side]+k.n[side], last.sum[side]+k.sum[side], last.size[side]+k.size[side]
		for i := range k.groups[side] {
			a, b := &last.groups[side][i], k.groups[side][i]
			a.n, a.sum, a.size = a.n+b.n, a.sum+b.sum, a.size+b.size
		}
	}
	for class := range k.classes {
		last.classes[class] = last.classes[class] || k.classes[class]
	}
	return list
}

// difference is how much more an exchange outside of the hold-back comes to than it would have inside, in the mean. Classes are
// compared one by one and weighted as the treated have them (post-stratification). What was known of an exchange's size before the choice is taken out
// (CUPED: Deng, Xu, Kohavi and Walker, WSDM 2013), with the slope of the treated, of whom there are many, in proportion. So neither a
// hold-back that happens to get long prompts counts as a saving, nor is the slope learned from the few that it is applied to. The variance is that of
// group sums of the linearised estimate. outside is the mean outside of the hold-back, and n how many it is of.
func (s *span) difference(m measure) (e Estimate, outside, n float64) {
	strata := s.strata(m)
	for i := range strata {
		n += strata[i].n[treated]
		if strata[i].n[treated] == 0 || strata[i].n[holdback] == 0 {
			return Estimate{}, 0, 0
		}
	}
	slope := s.slope(strata)
	value, outside := 0., 0.
	var influence [sides][groups]float64
	for i := range strata {
		k := &strata[i]
		weight := k.n[treated] / n
		var mean, size [sides]float64
		for side := range mean {
			mean[side], size[side] = k.sum[side]/k.n[side], k.size[side]/k.n[side]
		}
		outside += weight * mean[treated]
		value += weight * (mean[treated] - mean[holdback] - slope*(size[treated]-size[holdback]))
		for side := range mean {
			for i, g := range k.groups[side] {
				influence[side][i] += weight / k.n[side] * (g.sum - g.n*mean[side] - slope*(g.size-g.n*size[side]))
			}
		}
	}
	variance := 0.
	for side := range influence {
		for _, u := range influence[side] {
			variance += groups / (groups - 1.) * u * u
		}
	}
	return estimateOf(value, variance), outside, n
}

// amount is the difference of what is never below 0.
func (s *span) amount(m measure) (e Estimate, n float64) {
	e, outside, n := s.difference(m)
	return e.against(outside), n
}

// slope is what a thousand tokens more cost in the hold-back: what they cost the treated, in proportion to what sizes do not explain.
func (s *span) slope(strata []stratum) float64 {
	xx, xy, squares := 0., 0., 0.
	outside, inside, off := 0., 0., 0.
	for i := range strata {
		k := &strata[i]
		if k.size[treated] == 0 {
			continue
		}
		for class, in := range k.classes {
			if in {
				squares += s.sums[treated][class].squares
				xx += s.sums[treated][class].squares
				xy += s.sums[treated][class].costSizes
			}
		}
		n := k.n[treated]
		xx -= k.size[treated] * k.size[treated] / n
		xy -= k.size[treated] * k.sum[treated] / n
		outside += k.sum[treated]
		inside += n * k.sum[holdback] / k.n[holdback]
		off += k.size[treated] - n*k.size[holdback]/k.n[holdback]
	}
	const rounding, least = 1e-9, .2
	if !(xx > rounding*squares) || !(outside > 0) {
		return 0
	}
	slope := xy / xx
	predicted := outside - slope*off // what the treated would have come to with sizes as they are in the hold-back
	if !(predicted > least*outside) || !finite(predicted) {
		return 0
	}
	return slope * inside / predicted
}

// share is the difference of a share of exchanges. Where bad ones are rare, groups without any would promise too much: the variance is at least that of
// shares with one bad and one good exchange more on each side (Agresti and Caffo, The American Statistician 2000).
func (s *span) share(m measure) Estimate {
	e, _, _ := s.difference(m)
	if !e.Known {
		return e
	}
	least := 0.
	for side := range s.sums {
		sum := s.total(side)
		n, bad, _ := m(&sum)
		p := (bad + 1) / (n + 2)
		least += p * (1 - p) / (n + 2)
	}
	return estimateOf(e.Value, max(e.Error*e.Error, least))
}

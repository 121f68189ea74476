package analysis

import (
	"math"
	"time"
)

// EMA is an exponential moving average: each value weighs as much as Weight says against all before it. Until there are 1/Weight
// values, all weigh alike, so that the first one does not linger. O(1) a value. It needs a Weight in (0, 1].
type EMA struct {
	Weight float64
	n      int
	mean   float64
	square float64 // variance about the mean
}

// NewEMA returns an EMA in which a value weighs half as much after halfLife further ones. A half-life that is not positive counts
// as one value at a time.
func NewEMA(halfLife float64) *EMA {
	if !(halfLife > 0) {
		return &EMA{Weight: 1}
	}
	return &EMA{Weight: 1 - math.Exp2(-1/halfLife)}
}

// Add takes v in; NaN and infinite values change nothing.
func (e *EMA) Add(v float64) {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return
	}
	e.n++
	w := max(e.Weight, 1/float64(e.n))
	d := v - e.mean
	e.mean += w * d
	e.square = (1 - w) * (e.square + w*d*d) // Finch, "Incremental calculation of weighted mean and variance" (2009), eq. 143
}

// Mean returns the average; false without values.
func (e *EMA) Mean() (float64, bool) { return e.mean, e.n > 0 }

// SD returns the standard deviation under the same weights; false for fewer than two values.
func (e *EMA) SD() (float64, bool) { return math.Sqrt(e.square), e.n > 1 }

// Count returns the number of values.
func (e *EMA) Count() int { return e.n }

// Decayed is a mean and variance in which a value weighs half as much after each half-life of time, whenever and in whatever order
// values come: forward decay (Cormode, Shkapenyuk, Srivastava and Xu, "Forward decay: a practical time decay model for streaming
// systems", ICDE 2009). Mergeable with a Decayed of the same half-life. O(1) a value.
type Decayed struct {
	halfLife time.Duration
	landmark time.Time // weights are those at this time; it moves before they overflow
	moments  Moments
}

const landmarkReach = 500 // half-lives: 2^500 is far from the largest float64, also squared

// NewDecayed returns an empty Decayed. A half-life that is not positive counts as a nanosecond.
func NewDecayed(halfLife time.Duration) *Decayed { return &Decayed{halfLife: max(halfLife, 1)} }

// Add takes in v, the value at this time. NaN and infinite values change nothing.
func (d *Decayed) Add(at time.Time, v float64) {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return
	}
	d.reach(at)
	d.moments.AddWeighted(v, d.weight(at))
}

// Merge adds o, which stays as it is.
func (d *Decayed) Merge(o *Decayed) {
	if o.moments.count == 0 {
		return
	}
	d.reach(o.landmark)
	other := o.moments
	other.scale(d.weight(o.landmark))
	d.moments.Merge(&other)
}

// reach moves the landmark when at is too far from it.
func (d *Decayed) reach(at time.Time) {
	if d.moments.count == 0 {
		d.landmark = at
		return
	}
	if ages := d.ages(at); ages > landmarkReach {
		d.moments.scale(math.Exp2(-ages))
		d.landmark = at
	}
}

func (d *Decayed) ages(at time.Time) float64 {
	return float64(at.Sub(d.landmark)) / float64(d.halfLife)
}

func (d *Decayed) weight(at time.Time) float64 { return math.Exp2(d.ages(at)) }

// Weight returns how many values of now the past ones amount to.
func (d *Decayed) Weight(now time.Time) float64 {
	if d.moments.count == 0 {
		return 0
	}
	return d.moments.count * math.Exp2(-d.ages(now))
}

// Mean returns the mean; false without values.
func (d *Decayed) Mean() (float64, bool) { return d.moments.Mean() }

// SD returns the standard deviation under the weights, of the values as a population; false without values.
func (d *Decayed) SD() (float64, bool) {
	if d.moments.count == 0 {
		return 0, false
	}
	return math.Sqrt(d.moments.m2 / d.moments.count), true
}

// scale multiplies all weights.
func (m *Moments) scale(by float64) {
	m.count *= by
	m.m2 *= by
	m.m3 *= by
	m.m4 *= by
}

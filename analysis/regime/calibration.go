package regime

import "math"

//go:generate go run llm-auto-optimizer/bench/calibrate -out thresholds.go

// A curve is what calibration found: thresholds, ascending, with the mean number of values between false alarms. In between, its
// logarithm is interpolated. The run length of a CUSUM is nearly exponential and its mean grows exponentially with the threshold
// (Siegmund, "Sequential Analysis", 1985), so that a line through the last points holds far beyond what can be simulated.
type curve []struct{ threshold, every float64 }

// Asking for less than leastEvery or more than mostEvery values between false alarms is outside of what was calibrated.
const (
	leastEvery = 1e3
	mostEvery  = 1e10
	tailPoints = 3 // that the line beyond the last point is fitted to
)

func (c curve) thresholdFor(falseEvery float64) float64 {
	if math.IsNaN(falseEvery) {
		falseEvery = mostEvery
	}
	want := math.Log(min(max(falseEvery, leastEvery), mostEvery))
	last := len(c) - 1
	if want >= math.Log(c[last].every) {
		level, slope := c.tail()
		return (want - level) / slope
	}
	i := 1
	for i < last && want > math.Log(c[i].every) {
		i++
	}
	from, to := math.Log(c[i-1].every), math.Log(c[i].every)
	return c[i-1].threshold + (want-from)/(to-from)*(c[i].threshold-c[i-1].threshold)
}

// tail fits the logarithm of the last points by least squares.
func (c curve) tail() (level, slope float64) {
	var n, sx, sy, sxx, sxy float64
	for _, p := range c[max(0, len(c)-tailPoints):] {
		x, y := p.threshold, math.Log(p.every)
		n, sx, sy, sxx, sxy = n+1, sx+x, sy+y, sxx+x*x, sxy+x*y
	}
	slope = (n*sxy - sx*sy) / (n*sxx - sx*sx)
	return (sy - slope*sx) / n, slope
}

// ShiftThreshold returns the threshold of a [Shift] for one false alarm in falseEvery values on average.
func ShiftThreshold(kind Series, falseEvery float64) float64 {
	return shiftCurves[kind].thresholdFor(falseEvery)
}

// RateThreshold returns the threshold of an [ErrorRate] with this usual rate for one false alarm in falseEvery trials on average,
// interpolated in the logarithm of the rate. Rates outside of [0.002, 0.3] count as the nearest.
func RateThreshold(usual, falseEvery float64) float64 {
	last := len(rateCurves) - 1
	i := 0
	for i < last && usual > rateCurves[i+1].rate {
		i++
	}
	low := rateCurves[i]
	if usual <= low.rate || i == last {
		return low.thresholdFor(falseEvery)
	}
	high := rateCurves[i+1]
	part := math.Log(usual/low.rate) / math.Log(high.rate/low.rate)
	return (1-part)*low.thresholdFor(falseEvery) + part*high.thresholdFor(falseEvery)
}

// rateCurve is the curve of one usual rate.
type rateCurve struct {
	rate float64
	curve
}

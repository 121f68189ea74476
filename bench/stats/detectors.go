package stats

import (
	"math"
	"slices"
	"time"

	"llm-auto-optimizer/analysis/anomaly"
	"llm-auto-optimizer/analysis/regime"
)

// Detector scores one series tick by tick: an anomaly score in [0, 1] each, of which it knows nothing later.
type Detector struct {
	Name    string
	Shipped float64 // the threshold it comes with
	New     func() func(at time.Time, v float64) float64
}

// Detectors are the product's first, and then simple ones that it has to beat.
var Detectors = []Detector{
	{"ensemble", anomaly.Threshold, func() func(time.Time, float64) float64 {
		e := anomaly.NewEnsemble()
		return func(at time.Time, v float64) float64 { return e.Step(at, v).Value }
	}},
	{"robust z", .5, func() func(time.Time, float64) float64 {
		r := anomaly.NewRobustZ(6)
		return func(_ time.Time, v float64) float64 {
			z, _, _ := r.Step(v)
			return half(math.Abs(z), 6)
		}
	}},
	{"EWMA chart", .5, func() func(time.Time, float64) float64 {
		c := anomaly.NewChart(.2, 4)
		return func(_ time.Time, v float64) float64 {
			reason, _ := c.Step(v)
			return half(reason.Value, reason.Threshold)
		}
	}},
	{"DSPOT", .5, func() func(time.Time, float64) float64 {
		s := anomaly.NewDSPOT(1e-4, 10)
		return func(_ time.Time, v float64) float64 {
			reason, ok := s.Step(v)
			if !ok || reason.Value <= 0 {
				return 0
			}
			return half(reason.Value, reason.Threshold)
		}
	}},
	{"FOCuS", .5, func() func(time.Time, float64) float64 {
		s := regime.NewShift(regime.Ticks, 1000)
		return func(_ time.Time, v float64) float64 {
			if c := s.Step(v); c.Alarm {
				return half(c.Statistic, c.Threshold)
			}
			return 0
		}
	}},
	{"3 sigma", .5, newThreeSigma},
	{"Page-Hinkley", .5, newPageHinkley},
	{"ADWIN", .5, newADWIN},
}

// half maps [0, infinity) to [0, 1), limit to one half.
func half(v, limit float64) float64 {
	if !(v > 0 && limit > 0) {
		return 0
	}
	return v / (v + limit)
}

// newThreeSigma alarms where a value is three standard deviations off the mean of all before it.
func newThreeSigma() func(time.Time, float64) float64 {
	var n, mean, square float64
	return func(_ time.Time, v float64) float64 {
		if math.IsNaN(v) {
			return 0
		}
		score := 0.
		if n >= 100 && square > 0 {
			score = half(math.Abs(v-mean)/math.Sqrt(square/n), 3)
		}
		n++
		d := v - mean
		mean += d / n
		square += d * (v - mean)
		return score
	}
}

// newPageHinkley is the two-sided test of Page (1954) and Hinkley (1970) on standardised values, with the usual settings of streaming
// libraries: drift .005, limit 50, forgetting .9999; it begins again after an alarm.
func newPageHinkley() func(time.Time, float64) float64 {
	const drift, limit, forget, least = .005, 50, .9999, 30
	var n, mean, square, up, down float64
	return func(_ time.Time, v float64) float64 {
		if math.IsNaN(v) {
			return 0
		}
		n++
		d := v - mean
		mean += d / n
		square += d * (v - mean)
		if n < least || square == 0 {
			return 0
		}
		z := (v - mean) / math.Sqrt(square/n)
		up, down = max(0, forget*up+z-drift), max(0, forget*down-z-drift)
		score := half(max(up, down), limit)
		if score >= .5 {
			n, mean, square, up, down = 0, 0, 0, 0, 0
		}
		return score
	}
}

// newADWIN is the adaptive window of Bifet and Gavaldà (SDM 2007), delta .002, on values scaled to the range seen, with cuts at every
// eighth place of a window of at most 1,024.
func newADWIN() func(time.Time, float64) float64 {
	const delta, most, step = .002, 1024, 8
	var window []float64
	low, high := math.Inf(1), math.Inf(-1)
	return func(_ time.Time, v float64) float64 {
		if math.IsNaN(v) {
			return 0
		}
		low, high = min(low, v), max(high, v)
		if window = append(window, v); len(window) > most {
			window = slices.Delete(window, 0, len(window)-most)
		}
		if high <= low || len(window) < 2*step {
			return 0
		}
		total, square := 0., 0.
		for _, x := range window {
			x = (x - low) / (high - low)
			total, square = total+x, square+x*x
		}
		n := float64(len(window))
		variance := max(0, square/n-total/n*total/n)
		worst, cut, left := 0., 0, 0.
		for i, x := range window {
			left += (x - low) / (high - low)
			n0 := float64(i + 1)
			if (i+1)%step != 0 || n-n0 < step {
				continue
			}
			m := 1 / (1/n0 + 1/(n-n0))
			log := math.Log(2 * math.Log(n) / delta)
			bound := math.Sqrt(2/m*variance*log) + 2/(3*m)*log
			if ratio := math.Abs(left/n0-(total-left)/(n-n0)) / bound; ratio > worst {
				worst, cut = ratio, i+1
			}
		}
		if worst >= 1 {
			window = slices.Delete(window, 0, cut)
		}
		return half(worst, 1)
	}
}

// Scores runs a detector over a series, in the order of its rows.
func (d Detector) Scores(s *Series) []float64 {
	step := d.New()
	scores := make([]float64, len(s.Values))
	for i, v := range s.Values {
		scores[i] = step(s.Times[i], v)
	}
	return scores
}

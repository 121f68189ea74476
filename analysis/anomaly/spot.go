package anomaly

import (
	"math"
	"slices"

	"llm-auto-optimizer/analysis"
)

// SPOT sets a threshold that a value exceeds with a given small probability, from the shape of the upper tail so far: peaks over a high
// quantile follow a generalised Pareto distribution (Siffer, Fouque, Termier and Largouet, "Anomaly detection in streams with extreme
// value theory", KDD 2017). [NewDSPOT] does so for what a moving average leaves, for series that drift.
//
// A step takes O(1), and a fit of 200 peaks at every eighth peak, about once in 400 values; it allocates nothing after the first 1,000
// values. Unlike in the paper alarms are learned from, though as no more than twice the limit's excess: without them the tail ends at
// the limit, which then falls and falls; measured, eight times as many alarms as the risk says.
type SPOT struct {
	risk  float64
	first []float64 // until there are spotLearn; nil afterwards
	t     float64   // the high quantile
	n     float64   // values
	peaks []float64 // excesses over t, the last spotPeaks of them in a ring
	over  float64   // how many there were
	next  int
	limit float64

	depth  *movingMean // of DSPOT
	missed int
}

const (
	spotLearn    = 1000 // values before the first score
	spotQuantile = .98
	spotPeaks    = 200
	spotRefit    = 8 // peaks between fits
	spotTrust    = 2 // times the excess of the limit: what lies further out counts as this
)

// NewSPOT returns a SPOT for alarms with probability risk a value, such as 1e-4; a risk outside of (0, 0.02) counts as 1e-4.
func NewSPOT(risk float64) *SPOT {
	if !(risk > 0 && risk < 1-spotQuantile) {
		risk = 1e-4
	}
	return &SPOT{risk: risk, first: make([]float64, 0, spotLearn), peaks: make([]float64, 0, spotPeaks)}
}

// NewDSPOT returns a SPOT of how far values lie above the mean of the depth before them, at least one.
func NewDSPOT(risk float64, depth int) *SPOT {
	s := NewSPOT(risk)
	m := newMovingMean(max(depth, 1))
	s.depth = &m
	return s
}

// Step takes v in. It is false for the first 1,000 values, and for NaN and infinite ones, which change nothing.
func (s *SPOT) Step(v float64) (analysis.Reason, bool) {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return analysis.Reason{}, false
	}
	x, level := v, 0.
	if s.depth != nil {
		if !s.depth.full() {
			s.depth.add(v)
			return analysis.Reason{}, false
		}
		level = s.depth.sum / float64(s.depth.n)
		x -= level
	}
	reason, ok := s.step(x)
	reason.Baseline.Level += level
	if s.depth != nil && !(ok && reason.Fired()) {
		s.depth.add(v)
	}
	return reason, ok
}

func (s *SPOT) step(x float64) (analysis.Reason, bool) {
	if s.first != nil {
		if s.first = append(s.first, x); len(s.first) == spotLearn {
			s.begin()
		}
		return analysis.Reason{}, false
	}
	reason := analysis.Reason{
		Method:    "SPOT",
		Statistic: "value",
		Value:     x,
		Threshold: s.limit,
		Baseline:  analysis.Baseline{Count: int(s.n), Level: s.t},
	}
	s.n++
	if x > s.t {
		s.peak(min(x-s.t, spotTrust*(s.limit-s.t)))
		if s.missed++; s.missed >= spotRefit {
			s.fit()
		}
	}
	return reason, true
}

func (s *SPOT) begin() {
	sorted := slices.Sorted(slices.Values(s.first))
	s.t = sorted[int(spotQuantile*spotLearn)]
	for _, x := range s.first {
		if x > s.t {
			s.peak(x - s.t)
		}
	}
	s.n, s.first = spotLearn, nil
	s.fit()
}

func (s *SPOT) peak(excess float64) {
	s.over++
	if len(s.peaks) < spotPeaks {
		s.peaks = append(s.peaks, excess)
		return
	}
	s.peaks[s.next] = excess
	s.next = (s.next + 1) % spotPeaks
}

// fit sets the limit by eq. 1 of the paper.
func (s *SPOT) fit() {
	s.missed = 0
	if len(s.peaks) == 0 {
		s.limit = s.t
		return
	}
	shape, scale := paretoFit(s.peaks)
	ratio := s.risk * s.n / s.over
	if math.Abs(shape) < 1e-8 {
		s.limit = s.t - scale*math.Log(ratio)
		return
	}
	s.limit = s.t + scale/shape*(math.Pow(ratio, -shape)-1)
}

// paretoFit fits a generalised Pareto distribution to excesses, at least one, all above 0, by maximum likelihood in the one
// dimension that Grimshaw found to suffice ("Computing maximum likelihood estimates for the generalized Pareto distribution",
// Technometrics 1993): for theta = shape/scale the shape is the mean of log(1+theta x).
func paretoFit(excesses []float64) (shape, scale float64) {
	mean, largest := 0., 0.
	for _, x := range excesses {
		mean += x / float64(len(excesses))
		largest = max(largest, x)
	}
	shapeAt := func(theta float64) (k float64) {
		for _, x := range excesses {
			k += math.Log1p(theta*x) / float64(len(excesses))
		}
		return k
	}
	best, bestTheta := -math.Log(mean)-1, 0. // the exponential distribution
	try := func(theta float64) {
		if k := shapeAt(theta); theta != 0 && k/theta > 0 && k > -1 && k < 2 { // beyond, the likelihood has no maximum worth the name
			if l := -math.Log(k/theta) - k - 1; l > best {
				best, bestTheta = l, theta
			}
		}
	}
	for i := 1; i < paretoGrid; i++ {
		part := float64(i) / paretoGrid
		try(-part / largest)               // shapes below 0 have an end
		try(part / (1 - part) / mean * .5) // shapes above 0
	}
	for width := .5 / paretoGrid; width > 1e-4; width /= 2 {
		centre := bestTheta
		for _, off := range []float64{-width, width} {
			if centre < 0 {
				try(max(centre+off/largest, -(1-1e-9)/largest))
			} else {
				try(centre * (1 + 4*off))
			}
		}
	}
	if bestTheta == 0 {
		return 0, mean
	}
	shape = shapeAt(bestTheta)
	return shape, shape / bestTheta
}

const paretoGrid = 24

package regime

import (
	"math"
	"slices"

	"llm-auto-optimizer/analysis"
)

// A Segmentation dates the changes in a finished series. It explains; alarms are the business of the online detectors.
type Segmentation struct {
	Starts []int  // of the new segments: ascending, without 0
	Trend  []bool // by dimension: segments are straight lines, not levels
	Reason analysis.Reason
}

const (
	segmentPenalty = 8    // times log n, in variances about the model without a change
	trendShare     = .7   // of the variance that one straight line has to explain for segments to be lines
	shortest       = 3    // samples in a segment
	segmentCells   = 4096 // longer series are segmented in cells first and then refined
)

// Segment splits a series, [dimension][sample], all dimensions of the same length, into segments of constant level, or of constant
// slope in dimensions that follow a trend, by penalised least squares solved exactly: PELT (Killick, Fearnhead and Eckley,
// "Optimal detection of changepoints with a linear computational cost", JASA 2012). A change has to pay for itself with 8 log n
// times the variance about the model without any change, which holds its own under noise that is correlated or not constant,
// where a penalty in variances of the noise splits everything. NaN and infinite samples are taken as the one before.
//
// A series of fewer than six samples, or without variance, has no changes. It takes O(n) to O(n^2) time for n up to 4,096; longer
// series are first averaged in cells, and each change is then placed among the samples about it.
func Segment(values [][]float64) Segmentation { return SegmentAt(values, segmentPenalty) }

// SegmentAt is [Segment] with another penalty, in log n.
func SegmentAt(values [][]float64, penalty float64) Segmentation {
	if len(values) == 0 || len(values[0]) < 2*shortest {
		return Segmentation{Reason: segmentReason(0, 0, analysis.Baseline{})}
	}
	n := len(values[0])
	cell := (n + segmentCells - 1) / segmentCells
	var s Segmentation
	var whole, coarse []sums
	for _, column := range values {
		column = filled(column)
		whole = append(whole, newSums(column, &s))
		coarse = append(coarse, newSums(inCells(column, cell), nil))
	}
	for i := range coarse {
		coarse[i].trend, coarse[i].scale = whole[i].trend, whole[i].scale*float64(cell)
	}
	penalty *= math.Log(float64(n))
	s.Starts = pelt(coarse, penalty)
	if cell > 1 {
		refine(whole, s.Starts, cell)
	}
	var m analysis.Moments
	for _, v := range values[0] {
		m.Add(v)
	}
	baseline := analysis.Baseline{Count: n}
	baseline.Level, _ = m.Mean()
	baseline.Spread, _ = m.SD()
	s.Reason = segmentReason(gain(whole, s.Starts), penalty*float64(len(s.Starts)), baseline)
	return s
}

func segmentReason(gain, need float64, b analysis.Baseline) analysis.Reason {
	return analysis.Reason{Method: "PELT", Statistic: "variance explained", Value: gain, Threshold: need, Baseline: b}
}

// filled returns column with missing samples taken as the one before, or the first one that is there.
func filled(column []float64) []float64 {
	all := slices.Clone(column)
	first := slices.IndexFunc(all, func(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) })
	if first < 0 {
		return make([]float64, len(all))
	}
	last := all[first]
	for i, v := range all {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			all[i] = last
		}
		last = all[i]
	}
	return all
}

func inCells(column []float64, cell int) []float64 {
	if cell == 1 {
		return column
	}
	var means []float64
	for part := range slices.Chunk(column, cell) {
		sum := 0.
		for _, v := range part {
			sum += v
		}
		means = append(means, sum/float64(len(part)))
	}
	return means
}

// sums are the running sums of one dimension, about its mean, from which the cost of any segment follows in O(1).
type sums struct {
	value, square, product []float64 // of the samples, their squares, and their products with their index, up to each index
	trend                  bool
	scale                  float64 // of costs: 1/variance about the model without a change
}

func newSums(column []float64, s *Segmentation) sums {
	n := len(column)
	c := sums{value: make([]float64, n+1), square: make([]float64, n+1), product: make([]float64, n+1), scale: 1}
	mean := 0.
	for i, v := range column {
		mean += (v - mean) / float64(i+1)
	}
	for i, v := range column {
		v -= mean
		c.value[i+1] = c.value[i] + v
		c.square[i+1] = c.square[i] + v*v
		c.product[i+1] = c.product[i] + v*float64(i)
	}
	if s == nil {
		return c
	}
	level := c.cost(0, n)
	c.trend = true
	straight := c.cost(0, n)
	c.trend = level > 0 && straight < (1-trendShare)*level
	s.Trend = append(s.Trend, c.trend)
	around := level
	if c.trend {
		around = straight
	}
	if around <= 1e-12*c.square[n] || around == 0 { // a constant, or an exact line: rounding is no signal
		c.scale = 0
	} else {
		c.scale = float64(n) / around
	}
	return c
}

// cost returns the scaled sum of squares of the samples from i to before j about their level or line.
func (c *sums) cost(i, j int) float64 {
	n := float64(j - i)
	sum := c.value[j] - c.value[i]
	about := c.square[j] - c.square[i] - sum*sum/n
	if c.trend && n > 2 {
		middle := float64(i+j-1) / 2
		covariance := c.product[j] - c.product[i] - middle*sum
		about -= covariance * covariance / (n * (n*n - 1) / 12)
	} else if c.trend {
		about = 0
	}
	return max(about, 0) * c.scale
}

func costOf(columns []sums, i, j int) (total float64) {
	for k := range columns {
		total += columns[k].cost(i, j)
	}
	return total
}

// pelt returns the starts of the segments with the least cost plus penalty.
func pelt(columns []sums, penalty float64) []int {
	n := len(columns[0].value) - 1
	least := make([]float64, n+1) // cost of the best segmentation of the samples before each index
	before := make([]int, n+1)    // where its last segment begins
	least[0] = -penalty
	candidates := []int{0}
	for j := shortest; j <= n; j++ {
		least[j] = math.Inf(1)
		for _, i := range candidates {
			if c := least[i] + costOf(columns, i, j) + penalty; c < least[j] {
				least[j], before[j] = c, i
			}
		}
		// A start that was worse than a split at ready, even without the penalty, stays so: a split never raises the cost of what
		// follows, and from here on what follows is long enough for a segment.
		ready := j + 1 - shortest
		candidates = slices.DeleteFunc(candidates, func(i int) bool {
			return ready-i >= shortest && least[i]+costOf(columns, i, ready) > least[ready]
		})
		if ready >= shortest {
			candidates = append(candidates, ready)
		}
	}
	var starts []int
	for j := n; before[j] > 0; j = before[j] {
		starts = append(starts, before[j])
	}
	slices.Reverse(starts)
	return starts
}

// refine turns starts, in cells, into samples: each to the place in the cells next to it that costs least.
func refine(columns []sums, starts []int, cell int) {
	n := len(columns[0].value) - 1
	for k := range starts {
		starts[k] *= cell
	}
	for k, at := range starts {
		from, to := 0, n
		if k > 0 {
			from = starts[k-1]
		}
		if k+1 < len(starts) {
			to = starts[k+1]
		}
		best := math.Inf(1)
		for i := max(from+shortest, at-cell); i <= min(to-shortest, at+cell); i++ {
			if c := costOf(columns, from, i) + costOf(columns, i, to); c < best {
				best, starts[k] = c, i
			}
		}
	}
}

// gain returns how much less the segments cost than none.
func gain(columns []sums, starts []int) float64 {
	n := len(columns[0].value) - 1
	total := costOf(columns, 0, n)
	from := 0
	for _, at := range append(slices.Clone(starts), n) {
		total -= costOf(columns, from, at)
		from = at
	}
	return total
}

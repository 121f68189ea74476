package stats

import (
	"math"
	"slices"

	"llm-auto-optimizer/analysis/regime"
)

// Segmenter finds the first samples of new segments in a series, [dimension][sample].
type Segmenter struct {
	Name string
	Find func(values [][]float64) []int
}

// Segmenters are the product's first, and then others to compare it with.
var Segmenters = []Segmenter{
	{"PELT", func(values [][]float64) []int { return regime.Segment(values).Starts }},
	{"BOCPD", bocpd},
	{"FOCuS, restarted", focus},
	{"binary segmentation", func(values [][]float64) []int { return binarySegments(values, math.MaxInt) }},
	{"at most one change", func(values [][]float64) []int { return binarySegments(values, 1) }},
	{"no change", func([][]float64) []int { return nil }},
}

// bocpd is the online explainer with its defaults, on the first dimension: where the most likely run length falls back.
func bocpd(values [][]float64) (starts []int) {
	column := finite(values[0])
	mean, sd := meanOf(column)
	r := regime.NewRunLength(mean, sd)
	before := 0
	for i, v := range column {
		length, _ := r.Step(v)
		if start := i + 1 - length; length < before && start > 0 && (len(starts) == 0 || start > starts[len(starts)-1]) {
			starts = append(starts, start)
		}
		before = length
	}
	return starts
}

// focus is the online detector at one false alarm in 1,000 values, dated by the beginning of the change that it reports.
func focus(values [][]float64) (starts []int) {
	s := regime.NewShift(regime.Ticks, 1000)
	for i, v := range finite(values[0]) {
		if c := s.Step(v); c.Alarm {
			if start := i + 1 - c.Since; start > 0 {
				starts = append(starts, start)
			}
		}
	}
	return starts
}

// binarySegments splits at the best place as long as that pays 3 log n variances of the noise (Scott and Knott 1974), as the
// published comparison does by default; the noise is that of neighbouring differences. At most so many changes.
func binarySegments(values [][]float64, most int) (starts []int) {
	var columns [][]float64
	for _, column := range values {
		column = finite(column)
		sd := noiseOf(column)
		for i := range column {
			column[i] /= sd
		}
		columns = append(columns, column)
	}
	n := len(columns[0])
	var split func(from, to int)
	split = func(from, to int) {
		best, at := 3*math.Log(float64(n)), -1
		for i := from + 1; i < to; i++ {
			gain := 0.
			for _, c := range columns {
				a, _ := meanOf(c[from:i])
				b, _ := meanOf(c[i:to])
				gain += (a - b) * (a - b) * float64(i-from) * float64(to-i) / float64(to-from)
			}
			if gain > best {
				best, at = gain, i
			}
		}
		if at < 0 || len(starts) >= most {
			return
		}
		starts = append(starts, at)
		split(from, at)
		split(at, to)
	}
	split(0, n)
	slices.Sort(starts)
	return starts
}

// noiseOf is the robust standard deviation of differences of neighbours, over the square root of two.
func noiseOf(v []float64) float64 {
	var d []float64
	for i := 1; i < len(v); i++ {
		d = append(d, math.Abs(v[i]-v[i-1]))
	}
	if len(d) == 0 {
		return 1
	}
	sd := 1.4826 * median(d) / math.Sqrt2
	if sd == 0 {
		_, sd = meanOf(v)
	}
	if sd == 0 {
		return 1
	}
	return sd
}

// finite is column with missing samples taken as the one before.
func finite(column []float64) []float64 {
	all := slices.Clone(column)
	last := 0.
	for _, v := range all {
		if !math.IsNaN(v) {
			last = v
			break
		}
	}
	for i, v := range all {
		if math.IsNaN(v) {
			all[i] = last
		}
		last = all[i]
	}
	return all
}

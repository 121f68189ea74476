package analysis

import (
	"cmp"
	"math"
	"slices"

	"llm-auto-optimizer/analysis/window"
)

// Sample is a set of values in ascending order, each a point, or spread over a bucket of a histogram.
type Sample []Mass

// Mass is Count values from Low to High, both included; Low equals High for a value that is known exactly.
type Mass struct{ Low, High, Count float64 }

// middle is the value that stands for the mass.
func (m Mass) middle() float64 { return m.Low + (m.High-m.Low)/2 }

// Values makes a sample of raw values, in any order, which stay as they are. NaN and infinite ones are left out. O(n log n).
func Values(values []float64) Sample {
	s := make(Sample, 0, len(values))
	for _, v := range values {
		if !math.IsNaN(v) && !math.IsInf(v, 0) {
			s = append(s, Mass{v, v, 1})
		}
	}
	slices.SortFunc(s, func(a, b Mass) int { return cmp.Compare(a.Low, b.Low) })
	return s
}

// Buckets makes a sample of a histogram, in its unit; bucket edges are within 0.8 % of the values. O(buckets).
func Buckets(d *window.Distribution) Sample {
	var s Sample
	for b := range d.Buckets() {
		s = append(s, Mass{float64(b.Low), float64(b.High), float64(b.Count)})
	}
	return s
}

// Count returns the number of values.
func (s Sample) Count() (n float64) {
	for _, m := range s {
		n += m.Count
	}
	return n
}

// Moments returns the moments, those of buckets taken at their middles.
func (s Sample) Moments() (m Moments) {
	for _, one := range s {
		m.AddWeighted(one.middle(), one.Count)
	}
	return m
}

// Quantile returns the q-quantile with linear interpolation between values, type 7 of Hyndman and Fan ("Sample quantiles in
// statistical packages", The American Statistician 1996), the default of R and NumPy. False without values, or for q outside of
// [0, 1]. O(n).
func (s Sample) Quantile(q float64) (float64, bool) {
	n := s.Count()
	if n == 0 || !(q >= 0 && q <= 1) {
		return 0, false
	}
	rank := q * (n - 1)
	whole := math.Floor(rank)
	low, high := s.at(whole), s.at(min(whole+1, n-1))
	return low + (rank-whole)*(high-low), true
}

// at returns the value of this rank, counted from 0.
func (s Sample) at(rank float64) float64 {
	seen := 0.
	for _, m := range s {
		if seen += m.Count; rank < seen {
			return m.middle()
		}
	}
	return s[len(s)-1].middle()
}

// Median returns the middle value; false without values.
func (s Sample) Median() (float64, bool) { return s.Quantile(.5) }

// madScale makes the median absolute deviation estimate the standard deviation of normal values: 1/quantile(3/4).
const madScale = 1.482602218505602

// MAD returns the median absolute deviation from the median, scaled to the standard deviation of normal values (Hampel, "The
// influence curve and its role in robust estimation", JASA 1974). False without values. O(n log n).
func (s Sample) MAD() (float64, bool) {
	middle, ok := s.Median()
	if !ok {
		return 0, false
	}
	off := make(Sample, len(s))
	for i, m := range s {
		d := math.Abs(m.middle() - middle)
		off[i] = Mass{d, d, m.Count}
	}
	slices.SortFunc(off, func(a, b Mass) int { return cmp.Compare(a.Low, b.Low) })
	mad, _ := off.Median()
	return madScale * mad, true
}

// IQR returns the distance between the quartiles; false without values.
func (s Sample) IQR() (float64, bool) {
	low, ok := s.Quantile(.25)
	high, _ := s.Quantile(.75)
	return high - low, ok
}

// Winsorised returns the moments with the lowest and the highest share of values moved to the nearest value that stays (Dixon and
// Tukey, "Approximate behavior of the distribution of winsorized t", Technometrics 1968). False without values, or for a share
// outside of [0, 0.5).
func (s Sample) Winsorised(share float64) (m Moments, ok bool) {
	n := s.Count()
	if n == 0 || !(share >= 0 && share < .5) {
		return m, false
	}
	cut := math.Floor(share * n)
	low, high := s.at(cut), s.at(n-1-cut)
	for _, one := range s {
		m.AddWeighted(min(max(one.middle(), low), high), one.Count)
	}
	return m, true
}

// Trimmed returns the mean without the lowest and the highest share of values. False as for [Sample.Winsorised].
func (s Sample) Trimmed(share float64) (float64, bool) {
	n := s.Count()
	if n == 0 || !(share >= 0 && share < .5) {
		return 0, false
	}
	cut := math.Floor(share * n)
	var m Moments
	seen := 0.
	for _, one := range s {
		from, to := max(seen, cut), min(seen+one.Count, n-cut)
		m.AddWeighted(one.middle(), to-from)
		seen += one.Count
	}
	return m.Mean()
}

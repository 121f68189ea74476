package analysis

import "math"

// Moments are count, mean and central moments up to the fourth, gathered one value at a time and mergeable, without the loss of
// digits that sums of powers suffer: Pébay, "Formulas for robust, one-pass parallel computation of covariances and arbitrary-order
// statistical moments" (Sandia report SAND2008-6212, 2008). The zero value is empty. Adding and merging take O(1).
type Moments struct {
	count      float64
	mean       float64
	m2, m3, m4 float64 // sums of powers of the deviations
	low, high  float64
	dropped    int
}

// Add takes v in. NaN and infinite values are left out and counted in [Moments.Dropped].
func (m *Moments) Add(v float64) { m.AddWeighted(v, 1) }

// AddWeighted takes v in as often as count says: a bucket of a histogram. A count that is not positive is no value.
func (m *Moments) AddWeighted(v, count float64) {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		m.dropped += int(count)
		return
	}
	if count > 0 {
		m.Merge(&Moments{count: count, mean: v, low: v, high: v})
	}
}

// Merge adds o, which stays as it is.
func (m *Moments) Merge(o *Moments) {
	m.dropped += o.dropped
	if o.count == 0 {
		return
	}
	if m.count == 0 {
		dropped := m.dropped
		*m = *o
		m.dropped = dropped
		return
	}
	a, b := m.count, o.count
	n := a + b
	d := o.mean - m.mean
	dn := d / n
	m.m4 += o.m4 + d*dn*dn*dn*a*b*(a*a-a*b+b*b) + 6*dn*dn*(a*a*o.m2+b*b*m.m2) + 4*dn*(a*o.m3-b*m.m3)
	m.m3 += o.m3 + d*dn*dn*a*b*(a-b) + 3*dn*(a*o.m2-b*m.m2)
	m.m2 += o.m2 + d*dn*a*b
	m.mean += dn * b
	m.count = n
	m.low, m.high = min(m.low, o.low), max(m.high, o.high)
}

// Count returns the number of values.
func (m *Moments) Count() float64 { return m.count }

// Dropped returns how many values were NaN or infinite.
func (m *Moments) Dropped() int { return m.dropped }

// Mean returns the mean; false without values.
func (m *Moments) Mean() (float64, bool) { return m.mean, m.count > 0 }

// Range returns the lowest and the highest value; false without values.
func (m *Moments) Range() (low, high float64, ok bool) { return m.low, m.high, m.count > 0 }

// Variance returns the unbiased sample variance; false for fewer than two values.
func (m *Moments) Variance() (float64, bool) {
	if m.count < 2 {
		return 0, false
	}
	return m.m2 / (m.count - 1), true
}

// SD returns the square root of [Moments.Variance].
func (m *Moments) SD() (float64, bool) {
	v, ok := m.Variance()
	return math.Sqrt(v), ok
}

// Skewness returns the adjusted Fisher-Pearson coefficient G1 (Joanes and Gill, "Comparing measures of sample skewness and
// kurtosis", The Statistician 1998): 0 for symmetry, positive for a tail to the right. False for fewer than three values, or if
// all are equal.
func (m *Moments) Skewness() (float64, bool) {
	n := m.count
	if n < 3 || m.m2 <= 0 {
		return 0, false
	}
	return math.Sqrt(n*(n-1)) / (n - 2) * math.Sqrt(n) * m.m3 / math.Pow(m.m2, 1.5), true
}

// Kurtosis returns the adjusted excess kurtosis G2 of the same source: 0 for the normal distribution, positive for heavy tails.
// False for fewer than four values, or if all are equal.
func (m *Moments) Kurtosis() (float64, bool) {
	n := m.count
	if n < 4 || m.m2 <= 0 {
		return 0, false
	}
	g2 := n*m.m4/(m.m2*m.m2) - 3
	return (n - 1) / ((n - 2) * (n - 3)) * ((n+1)*g2 + 6), true
}

package trend

import (
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/gonum/stat/distuv"

	"llm-auto-optimizer/analysis"
)

// Trend is what [Detect] finds in a series of equally spaced values.
type Trend struct {
	Slope     float64 // per step: Sen's, the median of the slopes of all pairs
	Low, High float64 // its 95 % interval
	Intercept float64 // so that half the values lie above the line
	Tau       float64 // Kendall's tau-b against time, in [-1, 1]
	Z         float64
	P         float64 // two-sided
	N         int     // values used
	Inflation float64 // of the variance by autocorrelation, at least 1 except for [HamedRao]
}

// Correction says how the autocorrelation of a series is taken into account.
type Correction int

// The corrections.
const (
	// AR1 takes the noise about the line for an AR(1) process, with the bias of its estimated coefficient removed, and inflates the
	// variance as Hamed and Rao do. It is the one to use: see [Detect].
	AR1 Correction = iota
	// HamedRao takes the sample autocorrelations of the ranks that are significant at 5 % (Hamed and Rao, "A modified Mann-Kendall
	// trend test for autocorrelated data", Journal of Hydrology 1998), as pyMannKendall and R's modifiedmk do.
	HamedRao
	// None takes values for independent.
	None
)

// Least and Most are how many values [Detect] takes. It looks at all pairs.
const (
	Least = 10
	Most  = 1000
)

// Detect tests a series for a monotonic trend: Mann-Kendall with ties, and Sen's slope with his interval (Sen, "Estimates of the
// regression coefficient based on Kendall's tau", JASA 1968). NaN and infinite values are missing and keep their place in time. False
// for fewer than ten values, or if all are equal; of more than 1,000 the last 1,000 are used. O(n^2 log n) time, O(n^2) memory.
//
// How often a test at 5 % finds a trend in noise without one, n = 48 and 96 (1,000 series each): AR1 in 4 to 5 % of cases for lag-1
// autocorrelations of 0, .3 and .6; HamedRao in 9 to 19 %; None in 5, 14 and 32 %.
func Detect(values []float64, c Correction) (Trend, bool) {
	values = values[max(0, len(values)-Most):]
	var at, v []float64
	for i, x := range values {
		if !math.IsNaN(x) && !math.IsInf(x, 0) {
			at, v = append(at, float64(i)), append(v, x)
		}
	}
	n := len(v)
	if n < Least || slices.Min(v) == slices.Max(v) {
		return Trend{N: n}, false
	}
	slopes, s := pairs(at, v)
	variance, ties := kendallVariance(v)
	t := Trend{N: n, Slope: middle(slopes), Inflation: 1}
	t.Intercept = intercept(at, v, t.Slope)
	rest := make([]float64, n)
	for i := range v {
		rest[i] = v[i] - t.Slope*at[i]
	}
	switch c {
	case AR1:
		t.Inflation = inflationAR1(rest)
	case HamedRao:
		t.Inflation = inflationRanks(rest)
	}
	sd := math.Sqrt(variance * t.Inflation)
	all := float64(n) * float64(n-1) / 2
	t.Tau = s / math.Sqrt(all*(all-ties))
	if s != 0 && sd > 0 {
		t.Z = (s - math.Copysign(1, s)) / sd // correction for continuity
	}
	t.P = t.pValue()
	t.Low, t.High = interval(slopes, sd)
	return t, true
}

// pValue takes Z for Student's t with as many degrees of freedom as independent values, less the two of the line: the variance of S
// is estimated, and from few values badly.
func (t Trend) pValue() float64 {
	df := max(float64(t.N)/max(t.Inflation, 1)-2, 1)
	return min(1, 2*distuv.StudentsT{Sigma: 1, Nu: df}.Survival(math.Abs(t.Z)))
}

// pairs returns the slopes of all pairs, ascending, and Kendall's S, the number of rising less that of falling ones.
func pairs(at, v []float64) (slopes []float64, s float64) {
	slopes = make([]float64, 0, len(v)*(len(v)-1)/2)
	for j := range v {
		for i := range j {
			switch d := v[j] - v[i]; {
			case d > 0:
				s++
			case d < 0:
				s--
			}
			slopes = append(slopes, (v[j]-v[i])/(at[j]-at[i]))
		}
	}
	slices.Sort(slopes)
	return slopes, s
}

func middle(sorted []float64) float64 {
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// intercept is Conover's: the line passes the medians ("Practical Nonparametric Statistics", 1980).
func intercept(at, v []float64, slope float64) float64 {
	return middle(slices.Sorted(slices.Values(v))) - slope*middle(at)
}

// kendallVariance returns the variance of S for independent values, and the number of pairs that are tied.
func kendallVariance(v []float64) (variance, ties float64) {
	n := float64(len(v))
	variance = n * (n - 1) * (2*n + 5)
	sorted := slices.Sorted(slices.Values(v))
	for i := 0; i < len(sorted); {
		j := i
		for j < len(sorted) && sorted[j] == sorted[i] {
			j++
		}
		t := float64(j - i)
		variance -= t * (t - 1) * (2*t + 5)
		ties += t * (t - 1) / 2
		i = j
	}
	return variance / 18, ties
}

// interval is Sen's, from the ranks of slopes that are 1.96 standard deviations of S apart.
func interval(slopes []float64, sd float64) (low, high float64) {
	const z = 1.959963984540054
	n := float64(len(slopes))
	from, to := (n-z*sd)/2, (n+z*sd)/2
	at := func(rank float64) float64 { return slopes[int(min(max(math.Round(rank), 0), n-1))] }
	return at(from - 1), at(to)
}

// inflationAR1 is Hamed and Rao's factor for the rank correlations of an AR(1) process: (6/pi) asin(r/2) of the correlations r^k
// (Kendall and Gibbons, "Rank Correlation Methods", 1990). The coefficient is that of rest, the values about their line, freed of the
// bias -(2+4r)/n that taking out a line leaves (Kang, Shin and Lee, 2003), within .95 of 0.
func inflationAR1(rest []float64) float64 {
	n := float64(len(rest))
	r := (n*autocorrelations(rest, 1)[0] + 2) / (n - 4)
	r = min(max(r, -.95), .95)
	sum, power := 0., 1.
	for k := 1.; k < n-2; k++ {
		power *= r
		sum += (n - k) * (n - k - 1) * (n - k - 2) * 6 / math.Pi * math.Asin(power/2)
	}
	return 1 + 2*sum/(n*(n-1)*(n-2))
}

// inflationRanks is the factor of Hamed and Rao (1998), eq. 14, from the autocorrelations of ranks beyond 1.96/sqrt(n).
func inflationRanks(rest []float64) float64 {
	n := float64(len(rest))
	sum := 0.
	for i, r := range autocorrelations(ranksOf(rest), len(rest)-1) {
		k := float64(i + 1)
		if math.Abs(r) > 1.959963984540054/math.Sqrt(n) {
			sum += (n - k) * (n - k - 1) * (n - k - 2) * r
		}
	}
	return max(1+2*sum/(n*(n-1)*(n-2)), 1e-6)
}

// autocorrelations returns those of lags 1 to last; 0 for a constant.
func autocorrelations(v []float64, last int) []float64 {
	var m analysis.Moments
	for _, x := range v {
		m.Add(x)
	}
	mean, _ := m.Mean()
	square := 0.
	for _, x := range v {
		square += (x - mean) * (x - mean)
	}
	all := make([]float64, last)
	if square == 0 {
		return all
	}
	for k := range all {
		for i := k + 1; i < len(v); i++ {
			all[k] += (v[i] - mean) * (v[i-k-1] - mean) / square
		}
	}
	return all
}

// ranksOf returns the ranks from 1, the mean one for ties.
func ranksOf(v []float64) []float64 {
	sorted := slices.Sorted(slices.Values(v))
	ranks := make([]float64, len(v))
	for i, x := range v {
		first, _ := slices.BinarySearch(sorted, x)
		last := first
		for last+1 < len(sorted) && sorted[last+1] == x {
			last++
		}
		ranks[i] = float64(first+last)/2 + 1
	}
	return ranks
}

// Judge says whether the trend is both significant, P at most alpha, and moves the series over all its values by at least
// minEffect, in the unit of the values, in either direction.
func (t Trend) Judge(alpha, minEffect float64) (bool, analysis.Reason) {
	moved := t.Slope * float64(t.N-1)
	reason := analysis.Reason{
		Method:    "Mann-Kendall",
		Statistic: "p-value",
		Value:     t.P,
		Threshold: alpha,
		Below:     true,
		Effect:    fmt.Sprintf("%+.4g a step (%.4g to %.4g), %+.4g in all", t.Slope, t.Low, t.High, moved),
		Baseline:  analysis.Baseline{Count: t.N, Level: t.Intercept},
	}
	if !(math.Abs(moved) >= minEffect) {
		reason.Effect += fmt.Sprintf(", less than %.4g", minEffect)
		return false, reason
	}
	return t.P <= alpha, reason
}

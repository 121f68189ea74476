package hypothesis

import (
	"math"
	"sort"

	"gonum.org/v1/gonum/stat/distuv"

	"llm-auto-optimizer/analysis"
)

// MannWhitney compares the ranks of two groups, of raw values or of histogram buckets, by the normal approximation with corrections
// for ties and continuity (Lehmann, "Nonparametrics", 1975). The effect is the Hodges-Lehmann ratio: the factor by which the first
// group has to be multiplied to be like the second, with the interval that inverts the test; a difference, where there are values
// that are not positive. False for fewer than five independent values in a group, or if all are equal. O(n log n) in masses.
func MannWhitney(a, b Group) (Result, bool) {
	r, sd, ok := rankTest(a, b)
	if !ok {
		return Result{}, false
	}
	ratio := a.Sample[0].Low > 0 && b.Sample[0].Low > 0
	if ratio {
		r.Kind = Ratio
	}
	r.Effect = moved(a.Sample, b.Sample, ratio, .5)
	r.Low = moved(a.Sample, b.Sample, ratio, .5-z95*sd)
	r.High = moved(a.Sample, b.Sample, ratio, .5+z95*sd)
	return r, true
}

// rankTest is MannWhitney without the effect, and the standard deviation of the superiority.
func rankTest(a, b Group) (r Result, sd float64, ok bool) {
	na, nb := a.Count(), b.Count()
	ea, eb := a.effective(), b.effective()
	if ea < 5 || eb < 5 {
		return r, 0, false
	}
	above, ties := compare(a.Sample, b.Sample)
	n := na + nb
	spread := 1 - ties/(n*n*n-n) // 0 if all are equal
	if spread <= 1e-12 {
		return r, 0, false
	}
	r = unknown("Mann-Whitney", na, nb)
	r.Statistic = above * na * nb // U of the second group
	r.Superiority = above
	r.Level, _ = a.Median()
	r.P = shareP(math.Abs(above-.5), na, nb, ea, eb, spread)
	return r, shareSD(ea, eb, spread), true
}

// shareSD is the standard deviation of the share of pairs above, among this many independent values; spread is 1 without ties.
func shareSD(ea, eb, spread float64) float64 {
	return math.Sqrt((ea + eb + 1) / (12 * ea * eb) * spread)
}

// shareP is the p-value of a share that is off by this much from one half, with correction for continuity.
func shareP(off, na, nb, ea, eb, spread float64) float64 {
	return min(1, 2*distuv.UnitNormal.Survival(max(0, off-.5/(na*nb))/shareSD(ea, eb, spread)))
}

// compare returns the share of pairs in which the value of b is above that of a, ties counting half, and the sum of t^3-t over
// ties of t values.
func compare(a, b analysis.Sample) (above, ties float64) {
	var below, pairs float64 // values of a below the present one
	for i, j := 0, 0; i < len(a) || j < len(b); {
		var at float64
		switch {
		case i == len(a):
			at = b[j].Low
		case j == len(b):
			at = a[i].Low
		default:
			at = min(a[i].Low, b[j].Low)
		}
		var inA, inB float64
		for ; i < len(a) && a[i].Low == at; i++ {
			inA += a[i].Count
		}
		for ; j < len(b) && b[j].Low == at; j++ {
			inB += b[j].Count
		}
		pairs += inB * (below + inA/2)
		below += inA
		t := inA + inB
		ties += t*t*t - t
	}
	return pairs / (a.Count() * b.Count()), ties
}

// moved returns the factor, or else the summand, with which the share of pairs in which b is below a is the wanted one; the middle,
// where there is a range of them.
func moved(a, b analysis.Sample, ratio bool, below float64) float64 {
	move := func(v, by float64) float64 { return v + by }
	low := min(a[0].Low, b[0].Low) - max(a[len(a)-1].High, b[len(b)-1].High)
	if ratio {
		move = func(v, log float64) float64 { return v * math.Exp(log) }
		low = math.Log(b[0].Low / a[len(a)-1].High)
	}
	high := -low
	if ratio {
		high = math.Log(b[len(b)-1].High / a[0].Low)
	}
	cumulated, n := cumulative(b), a.Count()
	share := func(by float64) (total float64) { // grows with by, from 0 at low to 1 at high
		for _, m := range a {
			total += m.Count * cumulated(move(m.Low, by), move(m.High, by)) / n
		}
		return total
	}
	first := bisect(low, high, func(by float64) bool { return share(by) < below-1e-9 })
	last := bisect(low, high, func(by float64) bool { return share(by) <= below+1e-9 })
	if ratio {
		return math.Exp((first + last) / 2)
	}
	return (first + last) / 2
}

// bisect returns where before turns from true to false, to a part in 3e7 of the interval.
func bisect(low, high float64, before func(float64) bool) float64 {
	for range 25 {
		if middle := (low + high) / 2; before(middle) {
			low = middle
		} else {
			high = middle
		}
	}
	return (low + high) / 2
}

// cumulative returns the function that gives the share of s below a value known to lie from low to high, taken at its middle;
// values in a bucket of s are spread evenly over it, and ties count half.
func cumulative(s analysis.Sample) func(low, high float64) float64 {
	sums := make([]float64, len(s)+1)
	for i, m := range s {
		sums[i+1] = sums[i] + m.Count
	}
	n := sums[len(s)]
	return func(low, high float64) float64 {
		v := low + (high-low)/2
		i := sort.Search(len(s), func(i int) bool { return s[i].High >= v })
		seen := sums[i]
		for ; i < len(s) && s[i].Low <= v; i++ {
			part := .5
			if s[i].High > s[i].Low {
				part = (v - s[i].Low) / (s[i].High - s[i].Low)
			}
			seen += s[i].Count * part
		}
		return seen / n
	}
}

// KolmogorovSmirnov is the two-sample test with the asymptotic p-value (Smirnov, "Table for estimating the goodness of fit of
// empirical distributions", 1948); conservative with ties and buckets. The effect is the largest distance. False for fewer than five
// independent values in a group. O(n).
func KolmogorovSmirnov(a, b Group) (Result, bool) {
	ea, eb := a.effective(), b.effective()
	if ea < 5 || eb < 5 {
		return Result{}, false
	}
	r := unknown("Kolmogorov-Smirnov", a.Count(), b.Count())
	r.Kind = Distance
	var fa, fb float64
	for i, j := 0, 0; i < len(a.Sample) && j < len(b.Sample); {
		at := min(a.Sample[i].Low, b.Sample[j].Low)
		for ; i < len(a.Sample) && a.Sample[i].Low == at; i++ {
			fa += a.Sample[i].Count / r.Counts[0]
		}
		for ; j < len(b.Sample) && b.Sample[j].Low == at; j++ {
			fb += b.Sample[j].Count / r.Counts[1]
		}
		r.Effect = max(r.Effect, math.Abs(fa-fb))
	}
	r.Level, _ = a.Median()
	r.Statistic = r.Effect
	r.P = kolmogorov(r.Effect * math.Sqrt(ea*eb/(ea+eb)))
	return r, true
}

// kolmogorov is the probability that the scaled distance is at least x.
func kolmogorov(x float64) float64 {
	if x < .2 {
		return 1
	}
	sum := 0.
	for k := 1.; k <= 100; k++ {
		term := 2 * math.Exp(-2*k*k*x*x)
		if math.Mod(k, 2) == 0 {
			term = -term
		}
		sum += term
		if math.Abs(term) < 1e-17 {
			break
		}
	}
	return min(max(sum, 0), 1)
}

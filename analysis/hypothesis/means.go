package hypothesis

import (
	"math"

	"gonum.org/v1/gonum/stat/distuv"

	"llm-auto-optimizer/analysis"
)

// Student is the t-test for equal variances. False for fewer than two independent values in a group, or if nothing varies. O(n).
func Student(a, b Group) (Result, bool) {
	ma, mb := a.Moments(), b.Moments()
	na, nb := a.effective(), b.effective()
	va, ok := ma.Variance()
	vb, ok2 := mb.Variance()
	if !ok || !ok2 || na+nb <= 2 {
		return Result{}, false
	}
	df := na + nb - 2
	pooled := ((na-1)*va + (nb-1)*vb) / df
	return tResult("Student t", ma, mb, pooled*(1/na+1/nb), df)
}

// Welch is the t-test for unequal variances (Welch, "The generalization of Student's problem", Biometrika 1947). False as for
// [Student]. O(n).
func Welch(a, b Group) (Result, bool) {
	ma, mb := a.Moments(), b.Moments()
	va, ok := ma.Variance()
	vb, ok2 := mb.Variance()
	if !ok || !ok2 {
		return Result{}, false
	}
	return welch("Welch t", ma, mb, va, vb, a.effective(), b.effective())
}

// welch takes the variances apart from the moments, since those of winsorised values go with the means of trimmed ones.
func welch(method string, ma, mb analysis.Moments, va, vb, na, nb float64) (Result, bool) {
	ea, eb := va/na, vb/nb
	if na <= 1 || nb <= 1 || ea+eb <= 0 {
		return Result{}, false
	}
	return tResult(method, ma, mb, ea+eb, (ea+eb)*(ea+eb)/(ea*ea/(na-1)+eb*eb/(nb-1)))
}

func tResult(method string, ma, mb analysis.Moments, variance, df float64) (Result, bool) {
	if !(variance > 0) || !(df > 0) {
		return Result{}, false
	}
	r := unknown(method, ma.Count(), mb.Count())
	from, _ := ma.Mean()
	to, _ := mb.Mean()
	r.Level, r.Effect, r.DF = from, to-from, df
	t := distuv.StudentsT{Sigma: 1, Nu: df}
	r.Statistic = r.Effect / math.Sqrt(variance)
	r.P = 2 * t.CDF(-math.Abs(r.Statistic))
	reach := t.Quantile(.975) * math.Sqrt(variance)
	r.Low, r.High = r.Effect-reach, r.Effect+reach
	return r, true
}

// Yuen compares means of what is left when the lowest and the highest share of either group are cut off, by winsorised variances
// (Yuen, "The two-sample trimmed t for unequal population variances", Biometrika 1974): one request of a million tokens decides
// nothing. share is in [0, 0.5). False as for [Student], or where fewer than two values are left. O(n).
func Yuen(a, b Group, share float64) (Result, bool) {
	ma, va, na, ok := trim(a, share)
	mb, vb, nb, ok2 := trim(b, share)
	if !ok || !ok2 {
		return Result{}, false
	}
	r, ok := welch("Yuen t", ma, mb, va, vb, na, nb)
	r.Counts = [2]float64{a.Count(), b.Count()}
	return r, ok
}

// trim returns the moments of one value, the trimmed mean; the variance that goes with it; and how many values that is worth.
func trim(g Group, share float64) (m analysis.Moments, variance, n float64, ok bool) {
	winsorised, ok := g.Winsorised(share)
	if !ok {
		return m, 0, 0, false
	}
	mean, _ := g.Trimmed(share)
	all := g.Count()
	left := all - 2*math.Floor(share*all)
	variance, ok = winsorised.Variance()
	if !ok || left < 2 {
		return m, 0, 0, false
	}
	m.Add(mean)
	// Yuen's error is (all-1) variance / (left (left-1)), with left-1 degrees of freedom
	inflation := max(g.Inflation, 1)
	n = left / inflation
	return m, variance * (all - 1) / (left - 1), n, n > 1
}

// Paired is the t-test of the differences between values that belong together, x[i] and y[i]. Pairs that are not finite are left out.
// False for different lengths, fewer than two pairs, or differences that are all equal. O(n).
func Paired(x, y []float64) (Result, bool) {
	if len(x) != len(y) {
		return Result{}, false
	}
	var d, from analysis.Moments
	for i := range x {
		if diff := y[i] - x[i]; !math.IsNaN(diff) && !math.IsInf(diff, 0) {
			d.Add(diff)
			from.Add(x[i])
		}
	}
	variance, ok := d.Variance()
	if !ok {
		return Result{}, false
	}
	var none analysis.Moments
	none.AddWeighted(0, d.Count())
	r, ok := tResult("paired t", none, d, variance/d.Count(), d.Count()-1)
	r.Level, _ = from.Mean()
	return r, ok
}

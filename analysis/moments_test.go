package analysis

import (
	"math"
	"math/rand/v2"
	"testing"
)

func near(t *testing.T, what string, got, want, tolerance float64) {
	t.Helper()
	if !(math.Abs(got-want) <= tolerance*max(1, math.Abs(want))) {
		t.Errorf("%s: %.15g, want %.15g", what, got, want)
	}
}

// NIST StRD univariate: NumAcc1, NumAcc3 and NumAcc4 are made to defeat sums of squares. Certified means and deviations.
func TestMoments_NIST(t *testing.T) {
	t.Parallel()
	check := func(name string, values []float64, mean, sd, digits float64) {
		t.Helper()
		var m Moments
		for _, v := range values {
			m.Add(v)
		}
		got, _ := m.Mean()
		near(t, name+" mean", got, mean, 1e-15)
		got, _ = m.SD()
		near(t, name+" sd", got, sd, digits)
	}
	pairs := func(first, a, b float64) []float64 {
		all := []float64{first}
		for range 500 {
			all = append(all, a, b)
		}
		return all
	}
	check("NumAcc1", []float64{10000001, 10000003, 10000002}, 10000002, 1, 1e-15)
	check("NumAcc2", pairs(1.2, 1.1, 1.3), 1.2, .1, 1e-14)
	check("NumAcc3", pairs(1000000.2, 1000000.1, 1000000.3), 1000000.2, .1, 1e-9)
	check("NumAcc4", pairs(10000000.2, 10000000.1, 10000000.3), 10000000.2, .1, 1e-8)
}

// The worked example of Joanes and Gill's G1 and G2 in the documentation of Excel's SKEW and KURT: 3 4 5 2 3 4 5 6 4 7.
func TestMoments_SkewnessAndKurtosis(t *testing.T) {
	t.Parallel()
	m := Values([]float64{3, 4, 5, 2, 3, 4, 5, 6, 4, 7}).Moments()
	got, _ := m.Skewness()
	near(t, "skewness", got, .359543071, 1e-8)
	got, _ = m.Kurtosis()
	near(t, "kurtosis", got, -.151799637, 1e-8)
}

func TestMoments_TooLittle(t *testing.T) {
	t.Parallel()
	check := func(values []float64, mean, variance, skewness, kurtosis bool) {
		t.Helper()
		m := Values(values).Moments()
		_, gotMean := m.Mean()
		_, gotVariance := m.Variance()
		_, gotSkewness := m.Skewness()
		_, gotKurtosis := m.Kurtosis()
		if gotMean != mean || gotVariance != variance || gotSkewness != skewness || gotKurtosis != kurtosis {
			t.Errorf("%v: mean %v, variance %v, skewness %v, kurtosis %v", values, gotMean, gotVariance, gotSkewness, gotKurtosis)
		}
	}
	check(nil, false, false, false, false)
	check([]float64{math.NaN(), math.Inf(1)}, false, false, false, false)
	check([]float64{1}, true, false, false, false)
	check([]float64{1, 2}, true, true, false, false)
	check([]float64{5, 5, 5, 5, 5}, true, true, false, false)
	check([]float64{1, 2, 4}, true, true, true, false)
	check([]float64{1, 2, 4, 9}, true, true, true, true)
	var m Moments
	m.Add(math.NaN())
	m.Add(2)
	if m.Dropped() != 1 || m.Count() != 1 {
		t.Errorf("dropped %d, counted %v", m.Dropped(), m.Count())
	}
}

func FuzzMoments_PartsMakeTheWhole(f *testing.F) {
	f.Add(uint64(1), uint8(10), uint8(3))
	f.Fuzz(func(t *testing.T, seed uint64, n, cut uint8) {
		draw := rand.New(rand.NewPCG(seed, 0))
		var whole, left, right, repeated Moments
		for i := range int(n) {
			v := math.Round(draw.NormFloat64()*100) + 1e4
			count := 1 + draw.IntN(3)
			whole.AddWeighted(v, float64(count))
			for range count {
				repeated.Add(v)
			}
			if i < int(cut) {
				left.AddWeighted(v, float64(count))
			} else {
				right.AddWeighted(v, float64(count))
			}
		}
		left.Merge(&right)
		for _, o := range []*Moments{&left, &repeated} {
			scale := 1 + whole.m2
			for i, d := range []float64{o.count - whole.count, (o.mean - whole.mean) / 1e4, (o.m2 - whole.m2) / scale,
				(o.m3 - whole.m3) / math.Pow(scale, 1.5), (o.m4 - whole.m4) / (scale * scale), o.low - whole.low, o.high - whole.high} {
				if math.Abs(d) > 1e-9 {
					t.Fatalf("moment %d is off by %v", i, d)
				}
			}
		}
	})
}

package analysis

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"llm-auto-optimizer/analysis/window"
)

// Type 7 quantiles: the example of R's documentation style, quantile(1:10) and of NumPy's percentile.
func TestSample_Quantile(t *testing.T) {
	t.Parallel()
	check := func(values []float64, q, want float64, ok bool) {
		t.Helper()
		got, gotOK := Values(values).Quantile(q)
		if gotOK != ok || math.Abs(got-want) > 1e-12 {
			t.Errorf("quantile(%v, %v): %v %v, want %v %v", values, q, got, gotOK, want, ok)
		}
	}
	ten := []float64{10, 9, 8, 7, 6, 5, 4, 3, 2, 1}
	check(ten, .25, 3.25, true) // R: quantile(1:10)
	check(ten, .75, 7.75, true)
	check(ten, .9, 9.1, true)
	check(ten, 0, 1, true)
	check(ten, 1, 10, true)
	check([]float64{10, 7, 4, 3, 2, 1}, .5, 3.5, true) // NumPy: percentile([[10, 7, 4], [3, 2, 1]], 50)
	check(ten, 1.1, 0, false)
	check(ten, math.NaN(), 0, false)
	check(nil, .5, 0, false)
	check([]float64{math.NaN(), 4, math.Inf(-1)}, .3, 4, true)
	if ten[0] != 10 {
		t.Error("the input was sorted")
	}
}

// R: mad(c(1:9)) = 2.9652; SciPy's scipy.stats.mstats.winsorize([10, 4, 9, 8, 5, 3, 7, 2, 1, 6], limits=0.1) has sum 55;
// scipy.stats.trim_mean(range(20), 0.1) = 9.5.
func TestSample_Robust(t *testing.T) {
	t.Parallel()
	got, _ := Values([]float64{1, 2, 3, 4, 5, 6, 7, 8, 9}).MAD()
	near(t, "mad", got, 2.9652, 1e-4)
	m, _ := Values([]float64{10, 4, 9, 8, 5, 3, 7, 2, 1, 6}).Winsorised(.1)
	mean, _ := m.Mean()
	near(t, "winsorised sum", mean*10, 55, 1e-12)
	low, high, _ := m.Range()
	if low != 2 || high != 9 {
		t.Errorf("winsorised to %v, %v", low, high)
	}
	twenty := make([]float64, 20)
	for i := range twenty {
		twenty[i] = float64(i)
	}
	got, _ = Values(twenty).Trimmed(.1)
	near(t, "trimmed", got, 9.5, 1e-12)
	got, _ = Values(twenty).IQR()
	near(t, "iqr", got, 9.5, 1e-12)
	for _, share := range []float64{-.1, .5, math.NaN()} {
		if _, ok := Values(twenty).Winsorised(share); ok {
			t.Errorf("winsorised by %v", share)
		}
		if _, ok := Values(twenty).Trimmed(share); ok {
			t.Errorf("trimmed by %v", share)
		}
	}
	if _, ok := (Sample{}).MAD(); ok {
		t.Error("an empty sample has a deviation")
	}
}

// distributionOf records values, in microseconds, as the proxy does.
func distributionOf(micros []float64) *window.Distribution {
	start := time.Unix(1e9, 0)
	r := window.NewRecorder(1)
	series := r.Series(window.Key{Target: "t"})
	for _, v := range micros {
		series.Record(start, &window.Observation{Duration: time.Duration(v) * time.Microsecond})
	}
	return r.Sum(window.Last(start, time.Minute), series).Latency().Distribution
}

func TestBuckets_WithinTheirWidth(t *testing.T) {
	t.Parallel()
	values := make([]float64, 5000)
	draw := rand.New(rand.NewPCG(1, 1))
	for i := range values {
		values[i] = math.Round(math.Exp(12 + draw.NormFloat64()))
	}
	raw, buckets := Values(values), Buckets(distributionOf(values))
	near(t, "count", buckets.Count(), raw.Count(), 0)
	for _, q := range []float64{0, .01, .5, .9, 1} {
		got, _ := buckets.Quantile(q)
		want, _ := raw.Quantile(q)
		near(t, "quantile", got, want, .008)
	}
	a, b := raw.Moments(), buckets.Moments()
	near(t, "mean", b.mean, a.mean, .001)
	near(t, "variance", b.m2, a.m2, .002)
	for _, f := range []Family{Normal, Lognormal, Gamma} {
		fit, _ := buckets.Fit(f)
		want, _ := raw.Fit(f)
		near(t, f.String()+" first parameter", fit.Parameters[0], want.Parameters[0], .003)
		near(t, f.String()+" second parameter", fit.Parameters[1], want.Parameters[1], .003)
		near(t, f.String()+" distance", fit.KS, want.KS, .005)
	}
	if best, ok := buckets.BestFit(); !ok || best.Family != Lognormal {
		t.Errorf("best is %v, %v", best.Family, ok)
	}
}

package load

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestHistogram_QuantilesAreNearExactOnes(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	check := func(name string, n int, draw func() float64) {
		t.Helper()
		var h Histogram
		all := make([]time.Duration, n)
		for i := range all {
			all[i] = time.Duration(draw())
			h.Record(all[i])
		}
		slices.Sort(all)
		for _, q := range []float64{-1, 0, .01, .5, .9, .99, .999, 1, 2} {
			want := all[min(n, max(1, int(math.Ceil(min(q, 1)*float64(n)))))-1]
			got := h.Quantile(q)
			if off := math.Abs(float64(got-want)) / max(1, float64(want)); off > .004 {
				t.Errorf("%s: quantile %v: got %v, want %v, off by %.2f %%", name, q, got, want, 100*off)
			}
		}
		if h.Count() != int64(n) || h.Max() != all[n-1] {
			t.Errorf("%s: got count %d and max %v, want %d and %v", name, h.Count(), h.Max(), n, all[n-1])
		}
	}
	check("lognormal around 1 ms", 10_000, func() float64 { return 1e6 * math.Exp(2*rng.NormFloat64()) })
	check("few nanoseconds", 1000, func() float64 { return float64(rng.IntN(300)) })
	check("one", 1, func() float64 { return 123_456_789 })
}

func TestHistogram_Ends(t *testing.T) {
	t.Parallel()
	var h Histogram
	if got := h.Quantile(.5); got != 0 {
		t.Errorf("quantile of nothing: got %v", got)
	}
	h.Record(-time.Second)
	if got := h.Quantile(.5); got != 0 {
		t.Errorf("a negative duration: got %v, want 0", got)
	}
	h.Record(math.MaxInt64)
	if got := h.Quantile(1); got < 73*time.Minute || h.Max() != math.MaxInt64 {
		t.Errorf("a huge duration: got quantile %v and max %v", got, h.Max())
	}
}

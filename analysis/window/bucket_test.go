package window

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestBucket(t *testing.T) {
	t.Parallel()
	check := func(v uint64, bucket int, low, high int64) {
		t.Helper()
		b := bucketOf(v)
		if b != bucket {
			t.Errorf("bucketOf(%d): got %d, want %d", v, b, bucket)
			return
		}
		if l, h := bucketBounds(b); l != low || h != high {
			t.Errorf("bucketBounds(%d): got [%d, %d], want [%d, %d]", b, l, h, low, high)
		}
	}
	check(0, 0, 0, 0)
	check(63, 63, 63, 63)
	check(64, 64, 64, 64)
	check(127, 127, 127, 127) // the last exact one
	check(128, 128, 128, 129)
	check(129, 128, 128, 129)
	check(255, 191, 254, 255)
	check(1_000_000, 954, 999_424, 1_007_615)
	check(maxValue, bucketCount-1, 127<<30, maxValue)
	check(maxValue+1, bucketCount-1, 127<<30, maxValue) // clamped
	check(math.MaxUint64, bucketCount-1, 127<<30, maxValue)
}

func TestBucket_Adjoin(t *testing.T) {
	t.Parallel()
	next := int64(0)
	for b := range bucketCount {
		low, high := bucketBounds(b)
		if low != next || high < low {
			t.Fatalf("bucket %d is [%d, %d], want it to begin at %d", b, low, high, next)
		}
		next = high + 1
	}
	if next != maxValue+1 {
		t.Errorf("buckets end at %d, want %d", next-1, int64(maxValue))
	}
}

func FuzzBucket(f *testing.F) {
	for _, v := range []uint64{0, 1, 127, 128, 1 << 20, maxValue, maxValue + 1, math.MaxUint64} {
		f.Add(v)
	}
	f.Fuzz(func(t *testing.T, v uint64) {
		b := bucketOf(v)
		v = min(v, maxValue)
		low, high := bucketBounds(b)
		if v < uint64(low) || v > uint64(high) {
			t.Fatalf("%d is in bucket %d, which is [%d, %d]", v, b, low, high)
		}
		if bucketOf(uint64(low)) != b || bucketOf(uint64(high)) != b {
			t.Fatalf("bucket %d does not hold its bounds [%d, %d]", b, low, high)
		}
		if off := math.Abs(float64(bucketValue(b)) - float64(v)); off > 0.0079*float64(v) {
			t.Fatalf("bucket %d stands for %d, %.2f %% off %d", b, bucketValue(b), 100*off/float64(v), v)
		}
	})
}

// The values of a distribution's quantiles are those of the sorted values at the same rank, within 0.79 %.
func TestDistribution_QuantileMatchesSort(t *testing.T) {
	t.Parallel()
	rng := newRNG()
	check := func(name string, n int, draw func() float64) {
		t.Helper()
		var d Distribution
		values := make([]int64, n)
		for i := range values {
			values[i] = int64(min(max(draw(), 0), maxValue))
			d.add(bucketOf(uint64(values[i])), 1)
		}
		slices.Sort(values)
		for _, q := range []float64{-1, 0, 0.001, 0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 1, 2} {
			want := values[min(max(int(math.Ceil(q*float64(n))), 1), n)-1]
			got, ok := d.Quantile(q)
			if off := math.Abs(float64(got - want)); !ok || off > 0.0079*float64(want) {
				t.Errorf("%s, n=%d, q=%v: got %d, want %d", name, n, q, got, want)
			}
		}
	}
	for _, n := range []int{1, 2, 10, 1_000, 50_000} {
		check("uniform", n, func() float64 { return rng.Float64() * 1e6 })
		check("lognormal", n, func() float64 { return math.Exp(13 + 1.5*rng.NormFloat64()) })
		check("pareto", n, func() float64 { return 1e3 / math.Pow(1-rng.Float64(), 1.2) })
		check("small integers", n, func() float64 { return float64(rng.IntN(5)) })
		check("two modes", n, func() float64 { return []float64{100, 5e9}[rng.IntN(2)] * (1 + rng.Float64()) })
		check("all zero", n, func() float64 { return 0 })
		check("above the range", n, func() float64 { return 1e12 })
	}
}

func TestDistribution_Empty(t *testing.T) {
	t.Parallel()
	var d, o Distribution
	d.Merge(&o)
	if v, ok := d.Quantile(0.5); v != 0 || ok {
		t.Errorf("Quantile: got %d, %v, want no answer", v, ok)
	}
	if m, ok := d.Mean(); m != 0 || ok {
		t.Errorf("Mean: got %v, %v, want no answer", m, ok)
	}
	d.add(5, 1)
	if v, ok := d.Quantile(math.NaN()); v != 0 || ok {
		t.Errorf("Quantile(NaN): got %d, %v, want no answer", v, ok)
	}
}

// Merging equals recording everything in one.
func TestDistribution_MergeIsVectorAdd(t *testing.T) {
	t.Parallel()
	rng := newRNG()
	var parts [5]Distribution
	var whole, merged Distribution
	for range 10_000 {
		v := rng.Uint64() >> (27 + rng.UintN(37))
		p := &parts[rng.IntN(len(parts))]
		for _, d := range []*Distribution{p, &whole} {
			d.add(bucketOf(v), 1)
			d.sum += v
		}
	}
	for i := range parts {
		merged.Merge(&parts[i])
	}
	if !slices.Equal(slices.Collect(merged.Buckets()), slices.Collect(whole.Buckets())) {
		t.Error("merged buckets differ from those of the whole")
	}
	if merged.Count() != whole.Count() || merged.Sum() != whole.Sum() {
		t.Errorf("merged count and sum: got %d, %d, want %d, %d", merged.Count(), merged.Sum(), whole.Count(), whole.Sum())
	}
}

// randomTally draws a tally with sparse and dense, small and large counts.
func randomTally(rng *rand.Rand) *tally {
	var t tally
	for i := range t.counts {
		t.counts[i] = rng.Uint64() >> rng.UintN(65)
	}
	for m := range t.dists {
		d := &t.dists[m]
		d.sum = rng.Uint64() >> rng.UintN(65)
		step, bits := 1+rng.IntN(300), 1+rng.UintN(48)
		for b := rng.IntN(bucketCount + 1); b < bucketCount; b += 1 + rng.IntN(step) {
			d.add(b, 1+rng.Uint64()>>(64-rng.UintN(bits)-1))
		}
	}
	return &t
}

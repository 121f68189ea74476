package load

import (
	"math"
	"slices"
	"testing"
	"time"
)

func TestPoisson_GapsAreExponential(t *testing.T) {
	t.Parallel()
	const rate, n = 50.0, 20_000
	var gaps []float64
	last := time.Duration(0)
	for at := range Poisson(rate, 7) {
		if at < last {
			t.Fatalf("arrival at %v after one at %v", at, last)
		}
		gaps = append(gaps, (at - last).Seconds())
		if last = at; len(gaps) == n {
			break
		}
	}
	// Kolmogorov-Smirnov against 1-exp(-rate x): beyond 1.95/√n one sample in a thousand.
	slices.Sort(gaps)
	distance := 0.0
	for i, g := range gaps {
		want := 1 - math.Exp(-rate*g)
		distance = max(distance, math.Abs(want-float64(i)/n), math.Abs(want-float64(i+1)/n))
	}
	if limit := 1.95 / math.Sqrt(n); distance > limit {
		t.Errorf("distance from the exponential distribution is %.4f, want at most %.4f", distance, limit)
	}
}

func TestPoisson_DependsOnTheSeedOnly(t *testing.T) {
	t.Parallel()
	second := Until(Poisson(100, 1), time.Second)
	first := slices.Collect(second)
	if again := slices.Collect(second); !slices.Equal(first, again) {
		t.Error("the same arrivals differ when they are taken again")
	}
	if other := slices.Collect(Until(Poisson(100, 2), time.Second)); slices.Equal(first, other) {
		t.Error("another seed gave the same arrivals")
	}
}

func TestUntil_EndsBeforeTheTime(t *testing.T) {
	t.Parallel()
	at := []time.Duration{0, 5, 9, 10, 11}
	if got := slices.Collect(Until(slices.Values(at), 10)); !slices.Equal(got, at[:3]) {
		t.Errorf("got %v, want %v", got, at[:3])
	}
}

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
	for a := range Poisson(rate, 7) {
		at := a.At
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
	first := times(second)
	if again := times(second); !slices.Equal(first, again) {
		t.Error("the same arrivals differ when they are taken again")
	}
	if other := times(Until(Poisson(100, 2), time.Second)); slices.Equal(first, other) {
		t.Error("another seed gave the same arrivals")
	}
}

func TestUntil_EndsBeforeTheTime(t *testing.T) {
	t.Parallel()
	if got, want := times(Until(at(0, 5, 9, 10, 11), 10*time.Millisecond)), times(at(0, 5, 9)); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestConstant_IsEven(t *testing.T) {
	t.Parallel()
	if got, want := times(Until(Constant(250), 13*time.Millisecond)), times(at(0, 4, 8, 12)); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if n := len(times(Until(Constant(3), 1000*time.Second))); n != 3000 {
		t.Errorf("got %d in 1000 s at 3 per second: rounding adds up", n)
	}
}

func TestReplay_BeginsLaterAndGoesFaster(t *testing.T) {
	t.Parallel()
	if got, want := times(replay(at(0, 99, 100, 140, 500), 100*time.Millisecond, 4)), times(at(0, 10, 100)); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

package learn

import (
	"math"
	"math/rand/v2"
	"testing"
)

// With the standard error of a plain mean it is the sequence of means.
func TestAnytime_IsTheSequenceOfWhateverStandardError(t *testing.T) {
	t.Parallel()
	draw := rand.New(rand.NewPCG(1, 1))
	var s Sequence
	for n := 1; n <= 2000; n++ {
		s.Add(draw.ExpFloat64())
		mean, _ := s.moments.Mean()
		sd, _ := s.moments.SD()
		if got, want := Anytime(mean, sd/math.Sqrt(float64(n)), float64(n), .05), s.Interval(.05); got != want && !(math.Abs(got.Low-want.Low) < 1e-12 && math.Abs(got.High-want.High) < 1e-12) {
			t.Fatalf("after %d values: %v, want %v", n, got, want)
		}
	}
	for _, bad := range [][2]float64{{math.NaN(), 100}, {-1, 100}, {1, 49}, {1, math.NaN()}} {
		if got := Anytime(0, bad[0], bad[1], .05); got != everything {
			t.Errorf("of %v: %v", bad, got)
		}
	}
}

func TestHarm_GoesOnFromItsState(t *testing.T) {
	t.Parallel()
	draw := rand.New(rand.NewPCG(1, 1))
	var whole, parts Harm
	for range 3000 {
		treated, bad := draw.IntN(10) > 0, float64(draw.IntN(2))
		whole.Add(treated, bad)
		parts.Add(treated, bad)
		var next Harm
		if !next.Restore(parts.State()) {
			t.Fatalf("state %v is refused", parts.State())
		}
		parts = next
	}
	if parts != whole {
		t.Errorf("%+v, want %+v", parts, whole)
	}
	for i, v := range map[int]float64{0: math.NaN(), 1: -1, 2: 2e9, 5: math.Inf(1), 8: -.5} {
		state := whole.State()
		state[i] = v
		if was := parts; parts.Restore(state) || parts != was {
			t.Errorf("state with %v at %d is accepted", v, i)
		}
	}
}

package optimizer

import (
	"math"
	"math/rand/v2"
	"testing"
)

// The e-values are likelihood ratios, which has a closed form where nothing was hit.
func TestSure_ClosedForm(t *testing.T) {
	t.Parallel()
	want := math.Pow(.95, -100)
	for _, odds := range sureOdds {
		q := .05 / odds / (.95 + .05/odds)
		want += math.Pow((1-q)/.95, 100)
	}
	if got := below(0, 100, .05); math.Abs(got*8/want-1) > 1e-9 {
		t.Errorf("got %v, want %v", got, want/8)
	}
	if above(0, 100, .05) >= 1 || below(50, 100, .05) >= 1 || above(0, 0, .5) != 1 || below(0, 0, .5) != 1 {
		t.Error("what speaks for the claim does not make it unlikelier")
	}
	check := func(sure bool, want bool, what string) {
		t.Helper()
		if sure != want {
			t.Errorf("%s: %v", what, sure)
		}
	}
	check(surelyAbove(3, 380, .0005), true, "3 of 380 are more than 1 in 2,000")
	check(surelyAbove(1, 2000, .0005), false, "1 of 2,000 is not")
	check(surelyAbove(30, 100, .15), true, "30 % are more than 15")
	check(surelyAbove(18, 100, .15), false, "18 % of 100 may be 15")
	check(surelyBelow(0, 20_000, .0005), true, "none of 20,000")
	check(surelyBelow(0, 2_000, .0005), false, "none of 2,000")
}

// Looking after each outcome errs seldom, at the bound itself.
func TestSure_HoldsUnderPeeking(t *testing.T) {
	t.Parallel()
	const runs, length = 200, 600
	for _, p := range []float64{.05, .15, .5} {
		draw, high, low := rand.New(rand.NewPCG(7, uint64(1000*p))), 0, 0
		for range runs {
			hits, wasHigh, wasLow := 0., false, false
			for n := 1.; n <= length; n++ {
				if draw.Float64() < p {
					hits++
				}
				wasHigh, wasLow = wasHigh || surelyAbove(hits, n, p), wasLow || surelyBelow(hits, n, p)
			}
			if wasHigh {
				high++
			}
			if wasLow {
				low++
			}
		}
		if most := int(runs * .05 * 1.5); high > most || low > most {
			t.Errorf("%v: %d and %d of %d wrong", p, high, low, runs)
		}
	}
}

package optimizer

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// What is known of a steady rate does not waver: a mix that is at the end of its objective would be changed with it time and again.
func TestOutcomeSums_KnowASteadyRateWell(t *testing.T) {
	t.Parallel()
	check := func(rate, within float64) {
		t.Helper()
		draw, o := rand.New(rand.NewPCG(1, 2)), outcomeSums{}
		for i := range 300_000 {
			o.add(draw.Float64() < rate)
			if i%100 != 0 {
				continue
			}
			o.settle()
			if count, bad := o.known(); i > 50_000 && (count < 30_000 || math.Abs(bad/count/rate-1) > within) {
				t.Fatalf("%v: after %d exchanges %v of %.0f", rate, i, bad/count, count)
			}
		}
	}
	check(.3, .03)
	check(.01, .15)
	check(.001, .5)
}

// A rate that has changed is known anew at once.
func TestOutcomeSums_NoticeAChange(t *testing.T) {
	t.Parallel()
	check := func(before, after float64, within int) {
		t.Helper()
		draw, o := rand.New(rand.NewPCG(3, 4)), outcomeSums{}
		for range 100_000 {
			o.add(draw.Float64() < before)
		}
		for i := range 20_000 {
			o.add(draw.Float64() < after)
			if i%100 == 0 {
				o.settle()
			}
			if count, bad := o.known(); math.Abs(bad/count-after) < math.Abs(before-after)/2 {
				if i > within {
					t.Errorf("from %v to %v: known after %d exchanges, want %d", before, after, i, within)
				}
				return
			}
		}
		t.Errorf("from %v to %v: never known", before, after)
	}
	check(.005, .03, 1500)
	check(.005, .1, 1000)
	check(.03, .005, 2500)
	check(.001, 1, 1000)
	check(0, .02, 1500)
	check(.5, 0, 1500)
}

// A route with a few exchanges an hour does not go by what was weeks ago; where none come, what was known last stays known, but is no reason to doubt others.
func TestOutcomeSums_TimePasses(t *testing.T) {
	t.Parallel()
	draw, o := rand.New(rand.NewPCG(5, 6)), outcomeSums{}
	hours := func(n int, rate float64) {
		for range n {
			for range 5 {
				o.add(draw.Float64() < rate)
			}
			for range 360 {
				o.fade(10 * time.Second)
			}
			o.settle()
		}
	}
	hours(30*24, .2)
	if count, bad := o.known(); count > 250 || count < 100 || bad/count < .1 || bad/count > .3 {
		t.Errorf("after a month: %v of %v", bad, count)
	}
	hours(4*24, 0)
	if count, bad := o.known(); count > 250 || bad/count > .02 {
		t.Errorf("after four days without: %v of %v", bad, count)
	}
	_, before := o.known()
	o.fade(-time.Hour)
	o.fade(365 * 24 * time.Hour)
	if count, bad := o.known(); math.Abs(count-outcomesKept) > 1e-9 || bad > before {
		t.Errorf("a year later: %v of %v", bad, count)
	}
	few := outcomeSums{}
	few.add(true)
	few.fade(365 * 24 * time.Hour)
	if count, bad := few.known(); count != 1 || bad != 1 {
		t.Errorf("of one: %v of %v", bad, count)
	}
}

func TestDivergence(t *testing.T) {
	t.Parallel()
	check := func(of, from, want float64) {
		t.Helper()
		if got := divergence(of, from); math.Abs(got-want) > 1e-4 {
			t.Errorf("%v from %v: %v, want %v", of, from, got, want)
		}
	}
	check(.5, .5, 0)
	check(1, .5, math.Ln2)
	check(0, .5, math.Ln2)
	check(.02, .01, .02*math.Ln2+.98*math.Log(.98/.99))
	check(.5, 0, 0)
	check(.5, 1, 0)
	check(.5, math.NaN(), 0)
}

package analysis

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// The best time to live within the bounds and the cap on stale hits, by trying 4,000 of them.
func bestTTL(rate, change, stale, eps float64) (best float64) {
	for i := range 4000 {
		ttl := time.Duration(MinTTL.Seconds() * math.Pow(MaxTTL.Seconds()/MinTTL.Seconds(), float64(i)/3999) * float64(time.Second))
		if StaleShare(change, ttl) <= eps {
			best = max(best, NetSaving(rate, change, stale, ttl))
		}
	}
	return best
}

func TestTTL_SavesWhatTheBestOneDoes(t *testing.T) {
	t.Parallel()
	const eps = 0.01
	worst, cases := 1.0, 0
	for rate := 1e-5; rate < 20; rate *= 3 {
		for change := 1e-9; change < 5e-4; change *= 3 {
			for _, stale := range []float64{0, 0.5, 1, 3, 10, 30, 100} {
				best := bestTTL(rate, change, stale, eps)
				if best <= 0 {
					continue // nothing should be cached
				}
				cases++
				ttl := TTL(rate, change, stale, eps)
				got := NetSaving(rate, change, stale, ttl)
				worst = min(worst, got/best)
				if got < 0.95*best {
					t.Errorf("rate %.3g, change %.3g, stale %v: TTL %v saves %.4f, the best one %.4f", rate, change, stale, ttl, got, best)
				}
				if share := StaleShare(change, ttl); share > eps && ttl > MinTTL {
					t.Errorf("rate %.3g, change %.3g, stale %v: TTL %v, %.4f of the hits are stale", rate, change, stale, ttl, share)
				}
			}
		}
	}
	t.Logf("at worst %.4f of the best saving, in %d cases", worst, cases)
	if cases < 500 {
		t.Errorf("%d cases only", cases)
	}
}

func TestTTL_Bounds(t *testing.T) {
	t.Parallel()
	check := func(rate, change, stale, eps float64, want time.Duration) {
		t.Helper()
		if got := TTL(rate, change, stale, eps); got != want {
			t.Errorf("TTL(%v, %v, %v, %v): got %v, want %v", rate, change, stale, eps, got, want)
		}
	}
	nan := math.NaN()
	check(1, 0, 10, 0.01, MaxTTL)
	check(1, 1, 10, 0.01, MinTTL)
	check(0, 1e-6, 10, 0.01, MinTTL)
	check(nan, 1e-6, 10, 0.01, MinTTL)
	check(1, nan, 10, 0.01, MinTTL)
	check(1, 1e-6, 10, 0, MinTTL)
	check(1, math.Inf(1), 10, 0.01, MinTTL)
	check(1, 1e-5, 0, 0.01, 2000*time.Second) // the cap
	check(1e6, 1e-5, 2e-3, 1, 10*time.Second+20*time.Second)
	// The square-root rule, where hits are many: sqrt(2/(10 × 1e-7 × 100)) = 141.4 s.
	if got := TTL(10, 1e-7, 100, 0.01).Seconds(); math.Abs(got-141.42) > 0.2 {
		t.Errorf("got %v s, want 141.4", got)
	}
}

func TestStaleShare_IsThatOfASimulation(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	const change, ttl, n = 1e-3, 500.0, 200_000
	stale := 0
	for range n {
		if r.ExpFloat64()/change < r.Float64()*ttl {
			stale++
		}
	}
	if got, want := StaleShare(change, time.Duration(ttl*float64(time.Second))), float64(stale)/n; math.Abs(got-want) > 0.004 {
		t.Errorf("got %v, want %v", got, want)
	}
	if got, want := StaleShare(1e-9, time.Second), 5e-10; math.Abs(got-want) > 1e-15 {
		t.Errorf("got %v, want %v", got, want)
	}
}

// revalidations draws some at ages spread over a range.
func revalidations(r *rand.Rand, n int, change, from, to float64) *Hazard {
	h := &Hazard{}
	for range n {
		age := from * math.Pow(to/from, r.Float64())
		h.Add(time.Duration(age*float64(time.Second)), r.Float64() < -math.Expm1(-change*age))
	}
	return h
}

func TestHazard_Estimate(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(3, 4))
	for _, change := range []float64{1e-6, 1e-4, 1e-3} {
		got, upper, enough := revalidations(r, 100_000, change, 30, 5000).Estimate(0.95)
		if !enough || math.Abs(got/change-1) > 0.25 || upper < got {
			t.Errorf("got %.3g, at most %.3g, want %.3g", got, upper, change)
		}
	}
	h := &Hazard{}
	if _, _, enough := h.Estimate(0.95); enough {
		t.Error("an estimate from nothing")
	}
	for range 100 {
		h.Add(100*time.Second, false)
	}
	if got, upper, _ := h.Estimate(0.95); got != 0 || math.Abs(upper-2.9957/10_000) > 1e-7 { // the rule of three
		t.Errorf("no change: got %v, at most %v", got, upper)
	}
	other := &Hazard{}
	other.Merge(h)
	other.Forget(0.5)
	if all, changed := other.Count(); all != 50 || changed != 0 {
		t.Errorf("half of it: %v, %v", all, changed)
	}
	changed := &Hazard{}
	changed.Add(time.Minute, true)
	if got, upper, _ := changed.Estimate(0.95); !math.IsInf(got, 1) || !math.IsInf(upper, 1) {
		t.Errorf("nothing but changes: %v, %v", got, upper)
	}
}

// The bound holds as often as it says, for few changes, for many, and for answers looked at long after they have changed.
func TestHazard_BoundHolds(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(5, 6))
	for _, c := range []struct {
		n                int
		change, from, to float64
	}{{30, 1e-4, 30, 5000}, {300, 1e-5, 30, 5000}, {200, 1e-3, 30, 5000}, {100, 1e-3, 2000, 5000}, {1000, 1e-4, 1000, 1100}} {
		const rounds = 1000
		held := 0
		for range rounds {
			if _, upper, _ := revalidations(r, c.n, c.change, c.from, c.to).Estimate(0.95); upper >= c.change {
				held++
			}
		}
		share := float64(held) / rounds
		t.Logf("%+v: %.3f", c, share)
		if share < 0.93 {
			t.Errorf("%+v: the bound held in %.3f of the cases", c, share)
		}
	}
}

// Answers that differ always do not pass for changed ones, and changed ones not for those.
func TestHazard_EstimateNoisy(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ change, noise float64 }{{1e-4, 0}, {1e-4, .1}, {1e-4, .4}, {1e-6, .2}, {1e-5, .05}, {1e-3, 0}} {
		below, near, noisy := 0, 0, 0
		const rounds = 20
		for seed := range uint64(rounds) {
			r := rand.New(rand.NewPCG(seed, 9))
			var h Hazard
			for range 2000 {
				age := 7200 * r.Float64()
				h.Add(time.Duration(age*float64(time.Second)), r.Float64() < c.noise || r.Float64() < -math.Expm1(-c.change*age))
			}
			change, upper, noise, enough := h.EstimateNoisy(.8)
			if !enough || !(upper >= change) {
				t.Fatalf("%+v: %v, %v, %t", c, change, upper, enough)
			}
			if upper < c.change {
				below++
			}
			if math.Abs(change-c.change) < .3*c.change || c.change <= 1e-5 && change < 3e-5 {
				near++
			}
			if noise > 0 {
				noisy++
			}
		}
		if below > rounds*35/100 || near < rounds*7/10 || c.noise > 0 && noisy < rounds*9/10 || c.noise == 0 && noisy > rounds/8 {
			t.Errorf("%+v: the bound is below the truth in %d of %d, the estimate near it in %d, noise is seen in %d", c, below, rounds, near, noisy)
		}
	}
	var none Hazard
	if _, _, _, enough := none.EstimateNoisy(.8); enough {
		t.Error("nothing is enough")
	}
	for range 10 {
		none.Add(time.Hour, false)
	}
	if change, upper, noise, _ := none.EstimateNoisy(.95); change != 0 || noise != 0 || math.Abs(upper-2.9957/36_000) > 1e-7 {
		t.Errorf("no change: %v, %v, %v", change, upper, noise)
	}
}

func TestHazard_Between(t *testing.T) {
	t.Parallel()
	var h Hazard
	for i := range 100 {
		h.Add(time.Duration(i+1)*time.Minute, i >= 50)
	}
	check := func(from, to time.Duration, all, changed float64) {
		t.Helper()
		if a, c := h.Between(from, to); math.Abs(a-all) > .2*all || math.Abs(c-changed) > .2*all {
			t.Errorf("%v to %v: %v of %v, want about %v of %v", from, to, c, a, changed, all)
		}
	}
	check(0, 1000*time.Hour, 100, 50)
	check(0, 32*time.Minute, 31, 0)
	check(64*time.Minute, 1000*time.Hour, 37, 37)
	if a, _ := h.Between(time.Hour, time.Minute); a != 0 {
		t.Errorf("%v between an hour and a minute", a)
	}
}

// Where not one answer was the same, nothing tells change from answers that differ each time.
func TestHazard_NothingIsTheSame(t *testing.T) {
	t.Parallel()
	var h Hazard
	for range 50 {
		h.Add(time.Minute, true)
	}
	if change, _, noise, enough := h.EstimateNoisy(.8); !math.IsInf(change, 1) || noise != 1 || !enough {
		t.Errorf("change %v, noise %v, %v", change, noise, enough)
	}
	h.Add(time.Minute, false)
	if _, _, noise, enough := h.EstimateNoisy(.8); !(noise >= 0 && noise <= 1) || !enough {
		t.Errorf("noise %v, %v", noise, enough)
	}
}

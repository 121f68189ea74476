package learn

import (
	"math"
	"math/rand/v2"
	"testing"
)

// A/A: nothing to find, and a look after every observation. At 5 %, at most 5 % of 1,000 experiments may find something; a z-test that is
// peeked at finds something in most.
func TestPeeking_FalseWinners(t *testing.T) {
	t.Parallel()
	const experiments, length = 1000, 3000
	kinds := []struct {
		name string
		draw func(r *rand.Rand) float64
	}{
		{"normal", func(r *rand.Rand) float64 { return r.NormFloat64() }},
		{"skewed", func(r *rand.Rand) float64 { return r.ExpFloat64() }},
		{"errors of 2 %", func(r *rand.Rand) float64 {
			if r.Float64() < .02 {
				return 1
			}
			return 0
		}},
	}
	for k, kind := range kinds {
		found := map[string]float64{}
		for e := range uint64(experiments) {
			r := rand.New(rand.NewPCG(e, uint64(k)))
			var d Difference
			var harm Harm
			seen := map[string]bool{}
			for i := range length {
				v := kind.draw(r)
				second := i%2 == 1
				d.Add(second, v)
				if kind.name == "errors of 2 %" {
					harm.Add(r.Float64() < .05, v) // a canary of 5 %
					seen["harm e-process"] = seen["harm e-process"] || harm.Log() >= math.Log(20)
				}
				if i < 100 {
					continue
				}
				seen["confidence sequence"] = seen["confidence sequence"] || d.Interval(.05).Excludes(0)
				a, _ := d.groups[0].Variance()
				b, _ := d.groups[1].Variance()
				difference, _ := d.Estimate()
				if z := difference / math.Sqrt(a/d.groups[0].Count()+b/d.groups[1].Count()); math.Abs(z) > 1.96 {
					seen["z-test"] = true
				}
			}
			for name, s := range seen {
				if s {
					found[name] += 1. / experiments
				}
			}
		}
		t.Logf("%s: %v", kind.name, found)
		if found["confidence sequence"] > .05 || found["harm e-process"] > .05 {
			t.Errorf("%s: false winners %v", kind.name, found)
		}
		if found["z-test"] < .25 {
			t.Errorf("%s: a z-test that is peeked at errs in %v: then these are for nothing", kind.name, found["z-test"])
		}
	}
}

// Harm of 5 percentage points is found within the requests of an early canary stage.
func TestHarm_Finds(t *testing.T) {
	t.Parallel()
	total := 0.
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 3))
		var h Harm
		n := 0.
		for h.Log() < math.Log(100) && n < 20_000 {
			treated := r.Float64() < .5
			p := .01
			if treated {
				p = .06
			}
			bad := 0.
			if r.Float64() < p {
				bad = 1
			}
			h.Add(treated, bad)
			n++
		}
		total += n / 200
		if reason := h.Reason(100); !reason.Fired() || reason.Baseline.Count == 0 {
			t.Fatalf("seed %d: %v", seed, reason)
		}
	}
	t.Logf("1 %% -> 6 %%: e-value 100 after %.0f requests on average", total)
	if total > 900 {
		t.Errorf("%.0f requests", total)
	}
	var h Harm
	h.Add(true, math.NaN())
	for range 100 {
		h.Add(true, 0)
	}
	if _, _, n0, n1 := h.Rates(); h.Log() != 0 || n0 != 0 || n1 != 100 {
		t.Error("without a control there is no bet")
	}
}

// Waudby-Smith et al. (2024), theorem 2.2 and eq. 52, written out; and it is tightest, relative to 1/sqrt(n), near the n it is
// tuned for.
func TestSequence_ClosedForm(t *testing.T) {
	t.Parallel()
	log := -2 * math.Log(.05)
	rho2 := (log + math.Log(log+1)) / 500
	want := math.Sqrt(2 * (800*rho2 + 1) / (800 * 800 * rho2) * math.Log(math.Sqrt(800*rho2+1)/.05))
	near(t, "margin", margin(800, .05), want, 1e-12)
	for _, other := range []float64{50, 100, 5000, 50_000} {
		if margin(other, .05)*math.Sqrt(other) < margin(500, .05)*math.Sqrt(500) {
			t.Errorf("it is tighter at %v than at 500", other)
		}
	}
	var s Sequence
	for range 49 {
		s.Add(1)
	}
	s.Add(math.NaN())
	if i := s.Interval(.05); i != everything {
		t.Errorf("after 49 values %v", i)
	}
	s.Add(3)
	if i := s.Interval(.05); i.Excludes(1.04) || !i.Excludes(3) || s.Interval(math.NaN()) != i {
		t.Errorf("after 50 values %v", i)
	}
	var d Difference
	if d.Interval(.05) != everything {
		t.Error("an empty difference is known")
	}
}

// Both hold the mean at all times in at least 95 % of runs, of a distribution at its hardest: rare ones.
func TestBounded_HoldsAtAllTimes(t *testing.T) {
	t.Parallel()
	const runs = 1000
	missed, bets := 0., 0.
	for seed := range uint64(runs) {
		r := rand.New(rand.NewPCG(seed, 9))
		b, bet := NewBounded(.05), NewBet(.1)
		out, won := false, false
		for range 2000 {
			v := 0.
			if r.Float64() < .1 {
				v = 1
			}
			b.Add(v)
			bet.Add(v)
			out = out || b.Interval().Excludes(.1)
			won = won || bet.Log() >= math.Log(20)
		}
		if out {
			missed++
		}
		if won {
			bets++
		}
	}
	t.Logf("the interval misses in %.1f %%, the bet wins in %.1f %%", missed/runs*100, bets/runs*100)
	if missed > .05*runs || bets > .05*runs {
		t.Errorf("the interval misses in %v of %v, the bet wins in %v", missed, runs, bets)
	}
	b, bet := NewBounded(0), NewBet(.5)
	if b.Interval() != (Interval{0, 1}) {
		t.Error("an empty interval is not everything")
	}
	b.Add(math.NaN())
	bet.Add(math.NaN())
	for range 500 {
		b.Add(7)
		bet.Add(.9)
	}
	if i := b.Interval(); i.Low < .9 || i.High != 1 || bet.Log() < 50 {
		t.Errorf("always 1: %v; always .9 against .5: %v", i, bet.Log())
	}
}

func TestConfidence_DoesNotAllocate(t *testing.T) {
	var s Sequence
	var d Difference
	var h Harm
	b, bet := NewBounded(.05), NewBet(.5)
	i := 0
	if n := testing.AllocsPerRun(200, func() {
		i++
		s.Add(1)
		d.Add(i%2 == 0, 1)
		h.Add(i%2 == 0, 0)
		b.Add(.5)
		bet.Add(.5)
		s.Interval(.05)
		d.Interval(.05)
		b.Interval()
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// Where the truth is known, the 95 % interval holds it in 93 to 97 % of logs, with a model that is biased.
func TestEstimate_IntervalCovers(t *testing.T) {
	t.Parallel()
	const runs, n = 2000, 600
	rewards := [3]float64{.9, .5, .2}
	logging, target := [3]float64{.2, .5, .3}, [3]float64{.6, .3, .1}
	truth := 0.
	for k := range rewards {
		truth += target[k] * rewards[k]
	}
	model := [3]float64{.6, .5, .5} // wrong for two of three
	expected := target[0]*model[0] + target[1]*model[1] + target[2]*model[2]
	covered, plain, robust := 0., 0., 0.
	for seed := range uint64(runs) {
		r := rand.New(rand.NewPCG(seed, 11))
		log := make([]Logged, n)
		for i := range log {
			k, u := 0, r.Float64()
			for u -= logging[k]; u >= 0 && k < 2; u -= logging[k] {
				k++
			}
			reward := 0.
			if r.Float64() < rewards[k] {
				reward = 1
			}
			log[i] = Logged{reward, logging[k], target[k], model[k], expected}
		}
		w, ok := Estimate(log)
		if !ok {
			continue // the check on weights refuses a few in a thousand
		}
		if w.Low <= truth && truth <= w.High {
			covered++
		}
		plain += (w.IPS - truth) * (w.IPS - truth)
		robust += (w.Value - truth) * (w.Value - truth)
	}
	t.Logf("covered %.1f %%, error %.4f, by inverse propensity alone %.4f", covered/runs*100, math.Sqrt(robust/runs), math.Sqrt(plain/runs))
	if share := covered / runs; share < .93 || share > .97 {
		t.Errorf("covered %v", share)
	}
	if robust >= plain {
		t.Error("the model makes it worse")
	}
}

func TestEstimate_Refuses(t *testing.T) {
	t.Parallel()
	check := func(name string, log []Logged) {
		t.Helper()
		if w, ok := Estimate(log); ok || w.Reason.String() == "" {
			t.Errorf("%s: %+v", name, w)
		}
	}
	repeat := func(n int, l Logged) (all []Logged) {
		for range n {
			all = append(all, l)
		}
		return all
	}
	check("nothing", nil)
	check("few", repeat(99, Logged{1, .5, .5, 0, 0}))
	check("a propensity of 0", repeat(500, Logged{1, 0, .5, 0, 0}))
	check("a propensity above 1", repeat(500, Logged{1, 1.1, .5, 0, 0}))
	check("NaN", repeat(500, Logged{math.NaN(), .5, .5, 0, 0}))
	check("nothing in common", repeat(500, Logged{1, .5, 0, 0, 0}))
	wrong := append(repeat(300, Logged{1, .5, .9, 0, 0}), repeat(300, Logged{0, .5, .7, 0, 0})...) // weights of 1.8 and 1.4
	check("propensities that were not executed", wrong)
	if w, ok := Estimate(repeat(200, Logged{2, .5, .5, 1, 1})); !ok || w.Value != 2 || w.SNIPS != 2 {
		t.Errorf("the same policy: %+v %v", w, ok)
	}
}

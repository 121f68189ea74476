package regime

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// FOCuS is defined as the maximum over every start of the change of sum^2/(2n) (Romano et al. 2023, eq. 3): here by brute force.
func TestFocus_EqualsTheDefinition(t *testing.T) {
	t.Parallel()
	for seed := range uint64(50) {
		draw := rand.New(rand.NewPCG(seed, 7))
		var f focus
		var values []float64
		for i := range 300 {
			z := draw.NormFloat64()
			if i > 200 {
				z += draw.NormFloat64()
			}
			if i%50 == 0 {
				z = math.Round(z) // ties
			}
			values = append(values, z)
			got := f.step(z, 2*z)
			want, sum := 0., 0.
			for j, v := range slices.Backward(values) {
				sum += v
				want = max(want, sum*sum/(2*float64(len(values)-j)))
			}
			if math.Abs(got.statistic-want) > 1e-9*(1+want) {
				t.Fatalf("seed %d, value %d: %v, want %v", seed, i, got, want)
			}
			if math.Abs(got.shift*2-got.level) > 1e-9 {
				t.Fatalf("the level since is %v, the shift %v", got.level, got.shift)
			}
		}
	}
}

// Blom (1958): normal scores of three values and their gaps, quantiles at 1/8, 3/8, 5/8 and 7/8.
func TestNormalScore(t *testing.T) {
	t.Parallel()
	for i, want := range []float64{-1.1503493803760079, -.3186393639643752, .3186393639643752, 1.1503493803760079} {
		if got := normalScore(float64(i), 3); math.Abs(got-want) > 1e-12 {
			t.Errorf("score %d: %v, want %v", i, got, want)
		}
	}
}

// The mean run length of a Bernoulli CUSUM by the Markov chain of Brook and Evans, "An approach to the probability distribution of cusum
// run length" (Biometrika 1972). With weights -1 and 4 (in units of the good one) the chain is exact.
func TestErrorRate_RunLengthByMarkovChain(t *testing.T) {
	t.Parallel()
	const p, limit, up = .05, 12, 4
	// expected lengths e[s] = 1 + p e[s+up] + (1-p) e[max(s-1, 0)], 0 from limit on, by iteration
	var e [limit]float64
	for range 200_000 {
		for s := range e {
			next := 1 + (1-p)*e[max(s-1, 0)]
			if s+up < limit {
				next += p * e[s+up]
			}
			e[s] = next
		}
	}
	draw := rand.New(rand.NewPCG(4, 5))
	const runs = 4000
	steps := 0
	for range runs {
		d := &ErrorRate{good: -1, bad: up, limit: limit, usual: p, trials: rateLearn, known: true}
		for alarm := false; !alarm; steps++ {
			alarm = d.Step(draw.Float64() < p).Alarm
		}
	}
	if got := float64(steps) / runs; math.Abs(got/e[0]-1) > .05 {
		t.Errorf("mean run length %.0f, the chain says %.0f", got, e[0])
	}
}

func TestErrorRate_FollowsTheUsualRate(t *testing.T) {
	t.Parallel()
	draw := rand.New(rand.NewPCG(6, 7))
	d := NewErrorRate(.05, 1e7)
	for range 100_000 {
		d.Step(draw.Float64() < .02)
	}
	usual, raised := d.Rates()
	if math.Abs(usual-.02) > .004 || math.Abs(raised-raisedRate(usual)) > 1e-9 {
		t.Errorf("usual %v, raised %v", usual, raised)
	}
	var c Change
	n := 0
	for !c.Alarm {
		c = d.Step(draw.Float64() < .3)
		n++
	}
	if n > 60 || c.Since > n+100 || c.After < .1 || !c.Reason().Fired() {
		t.Errorf("seen after %d: %v", n, c.Reason())
	}
	for range 3000 { // the raised rate is not learned while it lasts
		d.Step(draw.Float64() < .3)
	}
	if now, _ := d.Rates(); now > .05 {
		t.Errorf("after a while at .3 the usual rate is %v", now)
	}
	for _, p := range []float64{0, 1, math.NaN()} {
		d := NewErrorRate(p, math.NaN())
		if u, r := d.Rates(); !(u >= rateFloor && u <= rateCeiling && r > u && r < 1) {
			t.Errorf("start %v: %v %v", p, u, r)
		}
	}
}

// Shin, Ramdas and Rinaldo, theorem 2.4: at least as long as asked for, on average, for any distribution in [0, 1] with this mean.
func TestDecline_RunLengthIsAtLeastTheOneAskedFor(t *testing.T) {
	t.Parallel()
	draw := rand.New(rand.NewPCG(8, 9))
	previous := 0.
	for name, next := range map[string]func() float64{
		"two points": func() float64 {
			if draw.Float64() < .9 {
				return 1
			}
			return 0
		},
		"uniform":        func() float64 { return .8 + .2*draw.Float64() },
		"dependent pair": func() float64 { previous = 1.8 - previous; return min(max(previous, .8), 1) },
	} {
		previous = 1
		total, runs := 0, 400
		for range runs {
			d := NewDecline(.9, 500)
			for range 20_000 {
				total++
				if d.Step(next()).Alarm {
					break
				}
			}
		}
		if mean := float64(total) / float64(runs); mean < 500 {
			t.Errorf("%s: one in %.0f", name, mean)
		}
	}
	d := NewDecline(.9, 500)
	n := 0
	for !d.Step(.5 + .5*draw.Float64()).Alarm { // mean .75
		n++
	}
	if n > 200 {
		t.Errorf("a fall to .75 took %d values", n)
	}
	if c := d.Step(math.NaN()); c.Alarm || c.Since != 0 {
		t.Errorf("NaN: %+v", c)
	}
}

func TestShift_FindsAndDates(t *testing.T) {
	t.Parallel()
	draw := rand.New(rand.NewPCG(10, 11))
	for _, up := range []float64{-1, .5, 1, 3} {
		s := NewShift(Requests, 1e7)
		for range 5000 {
			if c := s.Step(draw.NormFloat64()); c.Alarm {
				t.Fatalf("nothing has changed: %v", c.Reason())
			}
		}
		s.Step(math.NaN())
		s.Step(math.Inf(1))
		n := 0
		var c Change
		for ; !c.Alarm && n < 1000; n++ {
			c = s.Step(up + draw.NormFloat64())
		}
		if !c.Alarm || n > int(60/(up*up))+20 {
			t.Errorf("%+v sd: seen after %d", up, n)
		}
		if c.Since < n/2 || c.Since > 2*n+20 || math.Abs(c.After-up) > .6 || math.Abs(c.Before) > .1 || math.Abs(c.Spread-1) > .1 {
			t.Errorf("%+v sd after %d: %v", up, n, c.Reason())
		}
		for range 3000 { // what lasts is the new normal
			if c := s.Step(up + draw.NormFloat64()); c.Alarm {
				t.Fatalf("%+v sd is normal now: %v", up, c.Reason())
			}
		}
	}
}

// A score is the same for every increasing transformation, and so are alarms.
func TestShift_KnowsNoDistribution(t *testing.T) {
	t.Parallel()
	plain, logged := NewShift(Ticks, 2000), NewShift(Ticks, 2000)
	draw := rand.New(rand.NewPCG(12, 13))
	alarms := 0
	for i := range 20_000 {
		v := draw.NormFloat64()
		a, b := plain.Step(v), logged.Step(math.Exp(2*v))
		if a.Alarm != b.Alarm || a.Statistic != b.Statistic {
			t.Fatalf("value %d: %v and %v", i, a.Reason(), b.Reason())
		}
		if a.Alarm {
			alarms++
		}
	}
	if alarms == 0 || alarms > 30 {
		t.Errorf("%d alarms in 20,000 values, one in 2,000 was asked for", alarms)
	}
	s := NewShift(Ticks, 2000)
	for range 5000 {
		if s.Step(7).Alarm {
			t.Fatal("a constant does not change")
		}
	}
	n := 0
	for !s.Step(8).Alarm {
		n++
	}
	if n > 20 {
		t.Errorf("a constant's change was seen after %d", n)
	}
}

func TestThresholds_Ascend(t *testing.T) {
	t.Parallel()
	check := func(name string, threshold func(every float64) float64) {
		t.Helper()
		previous := 0.
		for every := 1e3; every <= 1e10; every *= 1.5 {
			h := threshold(every)
			if h < previous || h > 40 {
				t.Errorf("%s: one in %.3g has threshold %v, one in %.3g had %v", name, every, h, every/1.5, previous)
			}
			previous = h
		}
		if threshold(1) != threshold(1e3) || threshold(math.Inf(1)) != threshold(1e10) || threshold(math.NaN()) != threshold(1e10) {
			t.Errorf("%s: outside of what is calibrated", name)
		}
	}
	for _, kind := range []Series{Requests, Ticks} {
		check("shift", func(every float64) float64 { return ShiftThreshold(kind, every) })
	}
	for _, rate := range []float64{0, .001, .002, .003, .01, .07, .3, 1} {
		check("rate", func(every float64) float64 { return RateThreshold(rate, every) })
	}
}

func TestDetectors_DoNotAllocate(t *testing.T) {
	draw := rand.New(rand.NewPCG(1, 1))
	shift, rate, decline, length := NewShift(Requests, 1e9), NewErrorRate(.01, 1e9), NewDecline(.5, 1e9), NewRunLength(0, 1)
	if n := testing.AllocsPerRun(5000, func() {
		v := draw.NormFloat64()
		shift.Step(v)
		rate.Step(v > 2)
		decline.Step(.6)
		length.Step(v)
	}); n != 0 {
		t.Errorf("%v allocations a step", n)
	}
}

func BenchmarkStep(b *testing.B) {
	draw := rand.New(rand.NewPCG(1, 1))
	values := make([]float64, 1<<14)
	for i := range values {
		values[i] = math.Exp(draw.NormFloat64())
	}
	shift, ticks, rate, decline := NewShift(Requests, 1e9), NewShift(Ticks, 1e9), NewErrorRate(.01, 1e9), NewDecline(.5, 1e9)
	run := func(name string, step func(v float64)) {
		b.Run("detector="+name, func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				step(values[i&(len(values)-1)])
			}
		})
	}
	run("shift-requests", func(v float64) { shift.Step(v) })
	run("shift-ticks", func(v float64) { ticks.Step(v) })
	run("error-rate", func(v float64) { rate.Step(v > 10) })
	run("decline", func(v float64) { decline.Step(min(v, 1)) })
}

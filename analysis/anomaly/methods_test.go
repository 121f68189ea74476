package anomaly

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// The reason for logarithms: of lognormal values a robust z of 3.5 on the raw scale is passed by one in thirty.
func TestRobustZ_OnLogarithms(t *testing.T) {
	t.Parallel()
	draw := rand.New(rand.NewPCG(1, 2))
	r := NewRobustZ(3.5)
	fired, scored := 0, 0
	for range 100_000 {
		if _, reason, ok := r.Step(math.Exp(draw.NormFloat64())); ok {
			scored++
			if reason.Fired() {
				fired++
			}
		}
	}
	// P[|z| > 3.5] is .00047; the window of 256 makes it about twice that
	if share := float64(fired) / float64(scored); scored != 100_000-robustLearn || share > .0015 || share < .0002 {
		t.Errorf("%v of %d", share, scored)
	}
	if z, _, _ := r.Step(math.Exp(5)); math.Abs(z-5) > 1 {
		t.Errorf("five deviations are %v", z)
	}
	for _, bad := range []float64{0, -1, math.NaN(), math.Inf(1)} {
		if _, _, ok := r.Step(bad); ok {
			t.Errorf("%v is judged", bad)
		}
	}
	constant := NewRobustZ(6)
	for range 100 {
		constant.Step(4)
	}
	if z, _, _ := constant.Step(4.01); z > 1 {
		t.Errorf("a constant may move by 1 %%: %v", z)
	}
	if _, reason, _ := constant.Step(8); !reason.Fired() || reason.Baseline.Level != 4 {
		t.Errorf("a constant that doubles: %v", reason)
	}
}

// Lucas and Saccucci (1990), table 3: weight .2, limit 2.962, mean run length 500 (for a shift of one deviation 9.98, rounded).
func TestChart_RunLengths(t *testing.T) {
	t.Parallel()
	draw := rand.New(rand.NewPCG(3, 4))
	check := func(shift, want float64) {
		t.Helper()
		const runs = 3000
		total := 0
		for range runs {
			c := NewChart(.2, 2.962)
			c.long = drift{weight: 1e-12, n: 1e9, variance: 1} // known, as in the table
			c.n = 1e6                                          // whose chart has its full deviation from the start
			for fired := false; !fired; total++ {
				reason, _ := c.Step(shift + draw.NormFloat64())
				fired = reason.Fired()
			}
		}
		if got := float64(total) / runs; math.Abs(got/want-1) > .05 {
			t.Errorf("shift %v: %v, want %v", shift, got, want)
		}
	}
	check(0, 500)
	check(1, 10.5)
	c := NewChart(0, math.NaN())
	if c.weight != .2 || c.limit != 2.962 {
		t.Errorf("defaults %+v", c)
	}
	for range 500 {
		if _, ok := c.Step(3); ok {
			t.Fatal("a constant is judged")
		}
	}
	if _, ok := c.Step(math.NaN()); ok {
		t.Error("NaN is judged")
	}
}

func TestChart_FreezesThenAccepts(t *testing.T) {
	t.Parallel()
	draw := rand.New(rand.NewPCG(5, 6))
	c := NewChart(.2, 3)
	for range 2000 {
		c.Step(draw.NormFloat64())
	}
	alarms := 0
	for range 3000 {
		if r, _ := c.Step(4 + draw.NormFloat64()); r.Fired() {
			alarms++
		}
	}
	if alarms < chartFreeze || alarms > 2000 {
		t.Errorf("%d alarms on the new level", alarms)
	}
}

// The maximum of the likelihood, by the truth: generalised Pareto values by inversion (Hosking and Wallis 1987), their own quantiles.
func TestParetoFit(t *testing.T) {
	t.Parallel()
	for _, want := range []struct{ shape, scale float64 }{{.3, 2}, {0, 1}, {-.2, 5}, {.8, .01}} {
		x := make([]float64, 2000)
		for i := range x {
			u := (float64(i) + .5) / 2000
			if x[i] = -want.scale * math.Log1p(-u); want.shape != 0 {
				x[i] = want.scale / want.shape * (math.Pow(1-u, -want.shape) - 1)
			}
		}
		shape, scale := paretoFit(x)
		if math.Abs(shape-want.shape) > .03 || math.Abs(scale/want.scale-1) > .03 {
			t.Errorf("%+v: shape %v, scale %v", want, shape, scale)
		}
	}
	if shape, scale := paretoFit([]float64{2}); math.IsNaN(shape) || !(scale > 0) {
		t.Errorf("one excess: %v %v", shape, scale)
	}
}

// Alarms come about as often as the risk says, for tails of every kind.
func TestSPOT_Risk(t *testing.T) {
	t.Parallel()
	for name, draw := range map[string]func(r *rand.Rand) float64{
		"normal":      func(r *rand.Rand) float64 { return r.NormFloat64() },
		"exponential": func(r *rand.Rand) float64 { return r.ExpFloat64() },
		"Pareto":      func(r *rand.Rand) float64 { return math.Pow(1-r.Float64(), -.3) },
		"uniform":     func(r *rand.Rand) float64 { return r.Float64() },
	} {
		const n, risk = 100_000, 1e-3
		for kind, s := range map[string]*SPOT{"SPOT": NewSPOT(risk), "DSPOT": NewDSPOT(risk, 50)} {
			r := rand.New(rand.NewPCG(7, 8))
			alarms := 0
			for range n {
				if reason, ok := s.Step(draw(r)); ok && reason.Fired() {
					alarms++
				}
			}
			if alarms < n*risk*4/10 || alarms > n*risk*25/10 {
				t.Errorf("%s, %s: %d alarms in %d at a risk of %v", kind, name, alarms, n, risk)
			}
		}
	}
	drifting := NewDSPOT(1e-4, 50)
	r := rand.New(rand.NewPCG(9, 9))
	alarms := 0
	for i := range 20_000 {
		if reason, ok := drifting.Step(float64(i)/100 + r.NormFloat64()); ok && reason.Fired() {
			alarms++
		}
	}
	if alarms > 12 {
		t.Errorf("%d alarms on a drift", alarms)
	}
	if reason, ok := drifting.Step(math.NaN()); ok || reason.Fired() && reason.Threshold != 0 {
		t.Error("NaN is judged")
	}
	constant := NewSPOT(7)
	for range 3000 {
		if reason, ok := constant.Step(1); ok && reason.Fired() && reason.Threshold > 1 {
			t.Fatal("a constant alarms")
		}
	}
}

func TestNormaliser(t *testing.T) {
	t.Parallel()
	draw := rand.New(rand.NewPCG(11, 12))
	n := NewNormaliser()
	usual := func(tokens int64) float64 { return .2 * math.Pow(float64(tokens+1), .4) }
	for i := range 3000 {
		tokens := int64(math.Exp(2 + 8*draw.Float64()))
		r, ok := n.TTFT(time.Duration(usual(tokens)*math.Exp(.1*draw.NormFloat64())*1e9), tokens)
		if ok != (i >= normaliseLearn) || ok && math.Abs(r) > .8 {
			t.Fatalf("request %d: %v %v", i, r, ok)
		}
	}
	if r, _ := n.TTFT(time.Duration(2*usual(50_000)*1e9), 50_000); math.Abs(r-math.Ln2) > .1 {
		t.Errorf("twice as long leaves %v", r)
	}
	if d, ok := n.Typical(1000); !ok || math.Abs(d.Seconds()/usual(1000)-1) > .1 {
		t.Errorf("typical %v, want %v", d, usual(1000))
	}
	if _, ok := n.TTFT(0, 1); ok {
		t.Error("no time")
	}
	if _, ok := n.TTFT(time.Second, -1); ok {
		t.Error("no tokens")
	}
	if v, ok := PerToken(2*time.Second, 3); !ok || v != 0 {
		t.Errorf("a second a token is %v", v)
	}
	if _, ok := PerToken(time.Second, 1); ok {
		t.Error("one token has no time between")
	}
}

package analysis

import (
	"math"
	"math/rand/v2"
	"testing"
)

// The rainfall-like example of Minka (2002) is random; the closed checks are the likelihood equations themselves: at the maximum
// log(shape) - digamma(shape) = log(mean) - mean(log). For shape 1 that is Euler's constant, for 2 it is log 2 + gamma - 1.
func TestGammaShape(t *testing.T) {
	t.Parallel()
	const euler = .577215664901532860606512
	near(t, "shape 1", gammaShape(euler), 1, 1e-10)
	near(t, "shape 2", gammaShape(math.Ln2+euler-1), 2, 1e-9)
	near(t, "shape 1/2", gammaShape(math.Log(.5)+euler+2*math.Ln2), .5, 1e-10)
	if s := gammaShape(0); math.IsNaN(s) || s < 1e6 {
		t.Errorf("no spread at all: %v", s)
	}
}

// R's MASS::fitdistr on the danish-like log-normal is closed form; for a sample 1, 2, 4 it is log 2 and sqrt(2/3) log 2.
func TestFit_ClosedForms(t *testing.T) {
	t.Parallel()
	f, ok := Values([]float64{4, 1, 2}).Fit(Lognormal)
	if !ok {
		t.Fatal("no fit")
	}
	near(t, "mean of the log", f.Parameters[0], math.Ln2, 1e-12)
	near(t, "sd of the log", f.Parameters[1], math.Ln2*math.Sqrt(2./3), 1e-12)
	near(t, "likelihood", f.LogLikelihood, -3*(math.Ln2+math.Log(f.Parameters[1])+.5*math.Log(2*math.Pi)+.5), 1e-12)
	b, ok := Values([]float64{.2, .4, .6, .8}).Fit(Beta)
	if !ok {
		t.Fatal("no fit")
	}
	near(t, "alpha", b.Parameters[0], 2, 1e-12) // mean 1/2, variance 1/20 of beta(2, 2)
	near(t, "beta", b.Parameters[1], 2, 1e-12)
}

func TestFit_FindsTheFamily(t *testing.T) {
	t.Parallel()
	draw := rand.New(rand.NewPCG(3, 4))
	check := func(want Family, next func() float64) {
		t.Helper()
		values := make([]float64, 3000)
		for i := range values {
			values[i] = next()
		}
		s := Values(values)
		best, ok := s.BestFit()
		if !ok || best.Family != want {
			t.Errorf("%v: best is %v %v", want, best.Family, ok)
		}
		if r := best.Reason(); r.Fired() {
			t.Errorf("%v: %v", want, r)
		}
		median, _ := s.Median()
		near(t, want.String()+" median", best.Quantile(.5), median, .05)
		for f := range familiesEnd {
			if other, fits := s.Fit(f); fits && other.KS < best.KS-.01 {
				t.Errorf("%v fits better than %v: %v, %v", f, want, other.KS, best.KS)
			}
		}
	}
	check(Normal, func() float64 { return 3 + draw.NormFloat64() })
	check(Lognormal, func() float64 { return math.Exp(1 + .8*draw.NormFloat64()) })
	check(Gamma, func() float64 { return draw.ExpFloat64() + draw.ExpFloat64() })
	check(Beta, func() float64 { a, b := draw.ExpFloat64()+draw.ExpFloat64(), draw.ExpFloat64(); return a / (a + b) })
}

func TestFit_Refuses(t *testing.T) {
	t.Parallel()
	check := func(f Family, values ...float64) {
		t.Helper()
		if fit, ok := Values(values).Fit(f); ok {
			t.Errorf("%v: %+v", f, fit)
		}
	}
	for f := range familiesEnd {
		check(f)
		check(f, 1, 2)
		check(f, 3, 3, 3, 3)
		check(f, math.NaN(), math.NaN(), math.Inf(1), 1)
	}
	check(Lognormal, 0, 1, 2)
	check(Gamma, -1, 1, 2)
	check(Beta, .5, .6, 1)
	check(Family(9), 1, 2, 3, 4)
	if _, ok := (Sample{}).BestFit(); ok {
		t.Error("nothing fits best")
	}
	f, _ := Values([]float64{1, 2, 3}).Fit(Normal)
	if !math.IsNaN(f.Quantile(1)) || !math.IsNaN(f.Quantile(math.NaN())) {
		t.Error("a quantile that is none")
	}
}

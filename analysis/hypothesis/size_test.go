package hypothesis

import (
	"math"
	"math/rand/v2"
	"testing"
)

// Where there is no difference, a test at 5 % and at 1 % finds one in about so many cases, autocorrelated values or not.
func TestSeries_SizesHoldUnderAutocorrelation(t *testing.T) {
	t.Parallel()
	const runs = 2000
	tests := map[string]func(a, b Group) (Result, bool){"Welch": Welch, "Mann-Whitney": func(a, b Group) (Result, bool) { r, _, ok := rankTest(a, b); return r, ok },
		"Yuen": func(a, b Group) (Result, bool) { return Yuen(a, b, .1) }}
	for _, n := range []int{100, 300} {
		for _, rho := range []float64{0, .3, .6} {
			draw := rand.New(rand.NewPCG(uint64(n), uint64(10*rho)))
			found := map[string][2]float64{}
			for range runs {
				a, b := autoregressive(draw, n, rho), autoregressive(draw, n, rho)
				first, second := Series(a), Series(b)
				for name, test := range tests {
					r, ok := test(first, second)
					if !ok {
						t.Fatal(name, "has no result")
					}
					f := found[name]
					if r.P <= .05 {
						f[0]++
					}
					if r.P <= .01 {
						f[1]++
					}
					found[name] = f
				}
			}
			for name, f := range found {
				at5, at1 := f[0]/runs, f[1]/runs
				t.Logf("%-12s n %3d, rho %.1f: %.3f at 5 %%, %.4f at 1 %%", name, n, rho, at5, at1)
				if at5 < .025 || at5 > .075 || at1 < .005 || at1 > .015 {
					t.Errorf("%s, n %d, rho %.1f: %.3f at 5 %%, %.4f at 1 %%", name, n, rho, at5, at1)
				}
			}
		}
	}
}

// What the correction is for: without it, a third of the cases.
func TestIndependent_ErrsUnderAutocorrelation(t *testing.T) {
	t.Parallel()
	draw := rand.New(rand.NewPCG(1, 2))
	found := 0
	for range 500 {
		r, _ := Welch(raw(autoregressive(draw, 100, .6)...), raw(autoregressive(draw, 100, .6)...))
		if r.P <= .05 {
			found++
		}
	}
	if found < 100 {
		t.Errorf("%d of 500: then the correction is for nothing", found)
	}
}

// autoregressive returns n values with this lag-1 autocorrelation, mean 0 and variance 1.
func autoregressive(draw *rand.Rand, n int, rho float64) []float64 {
	values := make([]float64, n)
	x := draw.NormFloat64()
	for i := range values {
		x = rho*x + math.Sqrt(1-rho*rho)*draw.NormFloat64()
		values[i] = x
	}
	return values
}

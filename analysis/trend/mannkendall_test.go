package trend

import (
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
)

func near(t *testing.T, what string, got, want, tolerance float64) {
	t.Helper()
	if !(math.Abs(got-want) <= tolerance*max(1, math.Abs(want))) {
		t.Errorf("%s: %.10g, want %.10g", what, got, want)
	}
}

// pyMannKendall's hamed_rao_modification_test of this series: S 79, variance 67.04510073260073, Z 9.526011004578889.
func TestDetect_PyMannKendall(t *testing.T) {
	t.Parallel()
	values := []float64{1, 2, 1.5, 3, 2.5, 4, 3.5, 5, 4.5, 6, 5.5, 7, 6.5, 8}
	r, ok := Detect(values, HamedRao)
	if !ok {
		t.Fatal("no result")
	}
	near(t, "Z", r.Z, 9.526011004578889, 1e-9)
	plain, _ := Detect(values, None)
	variance, _ := kendallVariance(values)
	near(t, "variance", variance*r.Inflation, 67.04510073260073, 1e-9)
	near(t, "plain variance", variance, 14*13*33/18., 1e-12)
	near(t, "plain Z", plain.Z, 78/math.Sqrt(14*13*33/18.), 1e-12)
	near(t, "tau", plain.Tau, 79./91, 1e-12)
	if !slices.Equal(values[:3], []float64{1, 2, 1.5}) {
		t.Error("the input has changed")
	}
}

// Sen (1968), the example after his theorem: the estimate of the slope is 4.
func TestPairs_Sen(t *testing.T) {
	t.Parallel()
	slopes, s := pairs([]float64{1, 2, 3, 4, 10, 12, 18}, []float64{9, 15, 19, 20, 45, 55, 78})
	near(t, "slope", middle(slopes), 4, 1e-12)
	near(t, "S", s, 21, 0)
}

func TestDetect_Defined(t *testing.T) {
	t.Parallel()
	nan := math.NaN()
	for name, values := range map[string][]float64{"nothing": nil, "two points": {1, 2}, "constant": slices.Repeat([]float64{4}, 30),
		"mostly missing": {1, nan, 2, nan, 3, math.Inf(1), 4, nan, 5, nan, 6, nan, 7, nan, 8, nan, 9, nan}} {
		if r, ok := Detect(values, AR1); ok {
			t.Errorf("%s: %+v", name, r)
		}
	}
	line := make([]float64, 3000)
	for i := range line {
		line[i] = 5 - float64(i)/100
	}
	line[2500] = nan
	r, ok := Detect(line, AR1)
	if !ok || r.N != Most-1 || math.Abs(r.Slope+.01) > 1e-12 || r.P > 1e-6 || r.Tau != -1 {
		t.Errorf("a falling line: %+v %v", r, ok)
	}
	if fired, reason := r.Judge(.01, 5); !fired {
		t.Error(reason)
	}
	if fired, reason := r.Judge(.01, 50); fired {
		t.Error(reason)
	}
	ties := []float64{1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 1, 1}
	if r, ok := Detect(ties, AR1); !ok || math.IsNaN(r.Z) {
		t.Errorf("ties: %+v %v", r, ok)
	}
}

func TestDetect_IntervalCovers(t *testing.T) {
	t.Parallel()
	draw := rand.New(rand.NewPCG(1, 2))
	const runs = 400
	for _, rho := range []float64{0, .6} {
		covered, found := 0, 0
		for range runs {
			v := autoregressive(draw, 96, rho)
			for i := range v {
				v[i] += .03 * float64(i)
			}
			r, _ := Detect(v, AR1)
			if r.Low <= .03 && .03 <= r.High {
				covered++
			}
			if r.P <= .01 {
				found++
			}
		}
		if covered < runs*90/100 || found < runs*7/10 {
			t.Errorf("rho %v: the 95 %% interval covers %d of %d, %d trends are found", rho, covered, runs, found)
		}
	}
}

// Where there is no trend, a test at 5 % and at 1 % finds one in about so many cases.
func TestDetect_SizesHoldUnderAutocorrelation(t *testing.T) {
	t.Parallel()
	const runs = 2000
	sizes := []int{48, 96}
	if on, _ := strconv.ParseBool(os.Getenv("CALIBRATION")); on {
		sizes = append(sizes, 288) // half a minute
	}
	for _, n := range sizes {
		for _, rho := range []float64{0, .3, .6} {
			draw := rand.New(rand.NewPCG(uint64(n), uint64(10*rho)))
			var found [2]float64
			for range runs {
				p := trendP(autoregressive(draw, n, rho))
				if p <= .05 {
					found[0] += 1. / runs
				}
				if p <= .01 {
					found[1] += 1. / runs
				}
			}
			t.Logf("n %3d, rho %.1f: %.3f at 5 %%, %.4f at 1 %%", n, rho, found[0], found[1])
			if found[0] < .025 || found[0] > .075 || found[1] < .005 || found[1] > .015 {
				t.Errorf("n %d, rho %.1f: %.3f at 5 %%, %.4f at 1 %%", n, rho, found[0], found[1])
			}
		}
	}
}

// trendP is the p-value of Detect.
func trendP(values []float64) float64 {
	r, _ := Detect(values, AR1)
	return r.P
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

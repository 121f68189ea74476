package regime

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestSegment_Defined(t *testing.T) {
	t.Parallel()
	check := func(name string, values [][]float64, want ...int) {
		t.Helper()
		if got := Segment(values); !slices.Equal(got.Starts, want) {
			t.Errorf("%s: %v, want %v", name, got.Starts, want)
		}
	}
	nan := math.NaN()
	steps := func(n int, levels ...float64) (all []float64) {
		for _, l := range levels {
			for i := range n {
				all = append(all, l+.1*math.Sin(float64(i*i)))
			}
		}
		return all
	}
	check("nothing", nil)
	check("empty", [][]float64{{}})
	check("two points", [][]float64{{1, 2}})
	check("constant", [][]float64{slices.Repeat([]float64{3}, 50)})
	check("a line", [][]float64{steps(1, 1, 2, 3, 4, 5, 6, 7, 8, 9)})
	check("missing", [][]float64{slices.Repeat([]float64{nan}, 50)})
	check("one step", [][]float64{steps(40, 1, 2)}, 40)
	check("two steps", [][]float64{steps(40, 1, 2, 1)}, 40, 80)
	check("a step in one of two dimensions", [][]float64{steps(40, 1, 2, 1), slices.Repeat([]float64{1}, 120)}, 40, 80)
	withGap := steps(40, 1, 2)
	withGap[0], withGap[39], withGap[60] = nan, math.Inf(1), nan
	check("a gap", [][]float64{withGap}, 40)
	kink := make([]float64, 200)
	for i := range kink {
		kink[i] = float64(max(i, 120)) + float64(min(i, 120))/4 + .3*math.Sin(float64(i*i))
	}
	check("a change of slope", [][]float64{kink}, 120)
}

// Without pruning and cells, the same least cost.
func TestSegment_EqualsPlainDynamicProgramming(t *testing.T) {
	t.Parallel()
	draw := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		column := make([]float64, 10+draw.IntN(60))
		level := 0.
		for i := range column {
			if draw.Float64() < .08 {
				level = 3 * draw.NormFloat64()
			}
			column[i] = level + draw.NormFloat64()
		}
		var s Segmentation
		columns := []sums{newSums(column, &s)}
		penalty := 2 + 10*draw.Float64()
		n := len(column)
		least := make([]float64, n+1)
		least[0] = -penalty
		for j := 1; j <= n; j++ {
			least[j] = math.Inf(1)
			for i := 0; i+shortest <= j; i++ {
				least[j] = min(least[j], least[i]+costOf(columns, i, j)+penalty)
			}
		}
		starts := pelt(columns, penalty)
		cost, from := -penalty, 0
		for _, at := range append(starts, n) {
			cost += costOf(columns, from, at) + penalty
			from = at
		}
		if math.Abs(cost-least[n]) > 1e-9*(1+math.Abs(least[n])) {
			t.Fatalf("cost %v, least %v of %v", cost, least[n], column)
		}
	}
}

func TestSegment_LongSeriesInCells(t *testing.T) {
	t.Parallel()
	draw := rand.New(rand.NewPCG(3, 4))
	column := make([]float64, 50_000)
	for i := range column {
		column[i] = draw.NormFloat64()
		if i >= 17_001 && i < 33_333 {
			column[i] += 2
		}
	}
	got := Segment([][]float64{column})
	if len(got.Starts) != 2 || abs(got.Starts[0]-17_001) > 5 || abs(got.Starts[1]-33_333) > 5 {
		t.Errorf("%v, want 17001, 33333", got.Starts)
	}
	if !got.Reason.Fired() {
		t.Error(got.Reason)
	}
}

func abs(i int) int { return max(i, -i) }

// A run's belief is that of Murphy (2007), eqs. 86-89, and the predictive integrates to one.
func TestRunLength_PredictiveIsADensity(t *testing.T) {
	t.Parallel()
	b := normalGamma{0, 1, 1, 1}
	for _, v := range []float64{1, 2, 4} {
		b = b.after(v)
	}
	// by the closed form for n = 3 values with mean 7/3: kappa 4, alpha 2.5, mean 7/4, beta 1 + 14/3/2 + 1*3*(7/3)^2/(2*4)
	want := normalGamma{7. / 4, 4, 2.5, 1 + 14./6 + 3*49./9/8}
	for i, got := range [4]float64{b.mean - want.mean, b.kappa - want.kappa, b.alpha - want.alpha, b.beta - want.beta} {
		if math.Abs(got) > 1e-12 {
			t.Errorf("parameter %d: %v, want %v", i, b, want)
		}
	}
	area := 0.
	for x := -400.; x < 400; x += .01 {
		area += .01 * b.density(x)
	}
	if math.Abs(area-1) > 1e-4 {
		t.Errorf("the predictive has area %v", area)
	}
}

func TestRunLength_Dates(t *testing.T) {
	t.Parallel()
	draw := rand.New(rand.NewPCG(5, 6))
	values := make([]float64, 900)
	for i := range values {
		values[i] = draw.NormFloat64()
		if i >= 700 {
			values[i] += 2
		}
	}
	if at, p, ok := Date(values); !ok || abs(at-700) > 5 || p < .05 {
		t.Errorf("%d, %v, %v: want about 700", at, p, ok)
	}
	if _, _, ok := Date([]float64{1, 1, 1, 1, 1, 1, 1}); ok {
		t.Error("a constant has no change")
	}
	if _, _, ok := Date(nil); ok {
		t.Error("nothing has no change")
	}
	r := NewRunLength(0, 1)
	for range 1000 {
		r.Step(draw.NormFloat64())
	}
	if len(r.runs) > runsKept {
		t.Errorf("%d runs are kept", len(r.runs))
	}
	r.Step(math.NaN())
	r.Step(1e300)
	if l, p := r.Step(0); math.IsNaN(p) || l > 2 {
		t.Errorf("after a value beyond all belief: %v %v", l, p)
	}
}

package analysis

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

func TestEMA(t *testing.T) {
	t.Parallel()
	e := NewEMA(1) // weight 1/2
	for _, v := range []float64{2, 4, 4, math.NaN(), math.Inf(1)} {
		e.Add(v)
	}
	got, _ := e.Mean() // 2, (2+4)/2, (3+4)/2
	near(t, "mean", got, 3.5, 1e-15)
	// weights 1/4, 1/4, 1/2 about 3.5: 1/4 (1.5^2 + .5^2) + 1/2 .5^2
	got, _ = e.SD()
	near(t, "sd", got, math.Sqrt(.75), 1e-15)
	if e.Count() != 3 {
		t.Errorf("counted %d", e.Count())
	}
	for _, bad := range []float64{0, -1, math.NaN()} {
		e := NewEMA(bad)
		e.Add(1)
		e.Add(5)
		if got, ok := e.Mean(); !ok || got != 5 {
			t.Errorf("half-life %v: %v", bad, got)
		}
	}
	if _, ok := NewEMA(3).Mean(); ok {
		t.Error("an empty average has a mean")
	}
}

// Example 1 of Cormode et al. (ICDE 2009): items (105, 4), (107, 8), (103, 3), (108, 6), (104, 4). They decay polynomially there;
// here the weights are those of exponential decay, computed one by one.
func TestDecayed_AnyOrderAnySplit(t *testing.T) {
	t.Parallel()
	at := []int{105, 107, 103, 108, 104}
	values := []float64{4, 8, 3, 6, 4}
	now := time.Unix(110, 0)
	var weight, sum, square float64
	for i := range at {
		w := math.Exp2(float64(at[i]-110) / 2)
		weight, sum, square = weight+w, sum+w*values[i], square+w*values[i]*values[i]
	}
	mean := sum / weight
	all, left, right := NewDecayed(2*time.Second), NewDecayed(2*time.Second), NewDecayed(2*time.Second)
	for i := range at {
		all.Add(time.Unix(int64(at[i]), 0), values[i])
		[]*Decayed{left, right}[i%2].Add(time.Unix(int64(at[i]), 0), values[i])
	}
	left.Merge(right)
	left.Merge(NewDecayed(2 * time.Second))
	for _, d := range []*Decayed{all, left} {
		near(t, "weight", d.Weight(now), weight, 1e-12)
		got, _ := d.Mean()
		near(t, "mean", got, mean, 1e-12)
		got, _ = d.SD()
		near(t, "sd", got, math.Sqrt(square/weight-mean*mean), 1e-12)
	}
}

func TestDecayed_OutlivesItsLandmark(t *testing.T) {
	t.Parallel()
	d := NewDecayed(time.Second)
	for i := range 10_000 {
		d.Add(time.Unix(int64(i), 0), float64(i))
	}
	d.Add(time.Unix(0, 0), math.NaN())
	got, ok := d.Mean()
	near(t, "mean", got, 9998, 1e-9) // sum of k 2^-k is 2, weights sum to 2: one behind the last
	near(t, "weight", d.Weight(time.Unix(9999, 0)), 2, 1e-9)
	if !ok || d.Weight(time.Unix(1e9, 0)) != 0 {
		t.Error("it does not fade")
	}
	if _, ok := NewDecayed(0).SD(); ok {
		t.Error("an empty one has a deviation")
	}
}

// NIST StRD Norris, certified values.
func TestLine_Norris(t *testing.T) {
	t.Parallel()
	x := []float64{.2, 337.4, 118.2, 884.6, 10.1, 226.5, 666.3, 996.3, 448.6, 777, 558.2, .4, .6, 775.5, 666.9, 338, 447.5, 11.6, 556,
		228.1, 995.8, 887.6, 120.2, .3, .3, 556.8, 339.1, 887.2, 999, 779, 11.1, 118.3, 229.2, 669.1, 448.9, .5}
	y := []float64{.1, 338.8, 118.1, 888, 9.2, 228.1, 668.5, 998.5, 449.1, 778.9, 559.2, .3, .1, 778.1, 668.8, 339.3, 448.9, 10.8, 557.7,
		228.3, 998, 888.8, 119.6, .3, .6, 557.6, 339.3, 888, 998.5, 778.9, 10.2, 117.6, 228.9, 668.4, 449.2, .2}
	var l, left, right Line
	for i := range x {
		l.Add(x[i], y[i])
		[]*Line{&left, &right}[i%2].Add(x[i], y[i])
	}
	l.Add(math.NaN(), 1)
	left.Merge(&right)
	for _, line := range []*Line{&l, &left} {
		f, ok := line.Fit()
		if !ok {
			t.Fatal("no fit")
		}
		near(t, "intercept", f.Intercept, -0.262323073774029, 1e-12)
		near(t, "slope", f.Slope, 1.00211681802045, 1e-13)
		near(t, "slope error", f.SlopeError, 0.429796848199937e-3, 1e-13)
		near(t, "residual", f.Residual, 0.884796396144373, 1e-10)
		near(t, "r2", f.R2, 0.999993745883712, 1e-14)
	}
	p, ok := Polynomial(x, y, 1)
	if !ok {
		t.Fatal("no polynomial")
	}
	near(t, "polynomial", p[0], -0.262323073774029, 1e-10)
	near(t, "polynomial", p[1], 1.00211681802045, 1e-12)
}

// NIST StRD Wampler1 and Wampler2: fifth degree, certified coefficients 1 and 10^-k.
func TestPolynomial_Wampler(t *testing.T) {
	t.Parallel()
	var x, y1, y2 []float64
	for i := range 21 {
		v := float64(i)
		x = append(x, v)
		y1 = append(y1, 1+v+v*v+v*v*v+v*v*v*v+v*v*v*v*v)
		y2 = append(y2, 1+v/10+v*v/100+v*v*v/1e3+v*v*v*v/1e4+v*v*v*v*v/1e5)
	}
	p1, _ := Polynomial(x, y1, 5)
	p2, _ := Polynomial(x, y2, 5)
	for i := range p1 {
		near(t, "Wampler1", p1[i], 1, 1e-7)
		near(t, "Wampler2", p2[i], math.Pow(10, -float64(i)), 1e-10)
	}
	for _, bad := range []struct {
		x, y   []float64
		degree int
	}{{nil, nil, 0}, {x, y1[:3], 1}, {x, y1, 6}, {x, y1, -1}, {[]float64{1, 1, 1}, []float64{1, 2, 3}, 1}, {[]float64{1, 2}, []float64{1, 2}, 2}} {
		if p, ok := Polynomial(bad.x, bad.y, bad.degree); ok {
			t.Errorf("degree %d through %v: %v", bad.degree, bad.x, p)
		}
	}
	if p, ok := Polynomial([]float64{7, 7, math.NaN()}, []float64{1, 3, 9}, 0); !ok || math.Abs(p[0]-2) > 1e-12 {
		t.Errorf("the constant is %v", p)
	}
}

func TestLine_TooLittle(t *testing.T) {
	t.Parallel()
	var l Line
	for _, x := range []float64{1, 1, 1, 1} {
		if _, ok := l.Fit(); ok {
			t.Error("a line through one x")
		}
		l.Add(x, x)
	}
	l.Add(2, 1)
	if f, ok := l.Fit(); !ok || f.R2 != 1 || f.Slope != 0 {
		t.Errorf("a level line: %+v %v", f, ok)
	}
}

// Without forgetting, RLS is least squares over all points; its own source (Ljung 1999, section 11.2) makes that the check.
func TestRLS(t *testing.T) {
	t.Parallel()
	draw := rand.New(rand.NewPCG(1, 2))
	r := NewRLS()
	r.forget = 1
	var l Line
	for range 200 {
		x := 5 + draw.NormFloat64()
		y := 2 - 3*x + .1*draw.NormFloat64()
		r.Step(x, y)
		l.Add(x, y)
	}
	f, _ := l.Fit()
	a, b, n := r.Line()
	near(t, "intercept", a, f.Intercept, 1e-4)
	near(t, "slope", b, f.Slope, 1e-4)
	if n != 200 {
		t.Errorf("%d points", n)
	}
	for range 20_000 { // the line moves, and is followed
		x := 5 + draw.NormFloat64()
		r.forget = rlsForget
		r.Step(x, 4-x+.1*draw.NormFloat64())
	}
	near(t, "slope after the change", mustSlope(r), -1, .02)
	for range 100_000 { // inputs that do not vary must not blow up the covariance
		r.Step(5, -1)
	}
	if res := r.Step(6, -2); math.Abs(res) > .5 || math.IsNaN(res) {
		t.Errorf("after a long constant input the residual is %v", res)
	}
	if r.Step(math.NaN(), 1) != 0 || r.Step(1, math.Inf(1)) != 0 {
		t.Error("a point that is none has a residual")
	}
}

func mustSlope(r *RLS) float64 {
	_, b, _ := r.Line()
	return b
}

func TestStreamingForms_DoNotAllocate(t *testing.T) {
	var m Moments
	var l Line
	e, d, r := NewEMA(10), NewDecayed(time.Second), NewRLS()
	at := time.Unix(0, 0)
	if n := testing.AllocsPerRun(100, func() {
		at = at.Add(time.Second)
		m.Add(1)
		l.Add(1, 2)
		e.Add(1)
		d.Add(at, 1)
		r.Step(1, 2)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

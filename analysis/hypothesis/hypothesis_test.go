package hypothesis

import (
	"math"
	"slices"
	"strings"
	"testing"

	"llm-auto-optimizer/analysis"
)

func near(t *testing.T, what string, got, want, tolerance float64) {
	t.Helper()
	if !(math.Abs(got-want) <= tolerance*max(1, math.Abs(want))) {
		t.Errorf("%s: %.10g, want %.10g", what, got, want)
	}
}

func raw(values ...float64) Group { return Independent(analysis.Values(values)) }

// R's dataset sleep and the results that its help page for t.test prints; the second group less the first.
func TestT_Sleep(t *testing.T) {
	t.Parallel()
	a := []float64{.7, -1.6, -.2, -1.2, -.1, 3.4, 3.7, .8, 0, 2}
	b := []float64{1.9, .8, 1.1, .1, -.1, 4.4, 5.5, 1.6, 4.6, 3.4}
	r, _ := Welch(raw(a...), raw(b...))
	near(t, "t", r.Statistic, 1.8608, 5e-5)
	near(t, "df", r.DF, 17.776, 5e-5)
	near(t, "p", r.P, .07939, 5e-5)
	near(t, "low", r.Low, -.2054832, 1e-6)
	near(t, "high", r.High, 3.3654832, 1e-6)
	r, _ = Student(raw(a...), raw(b...))
	near(t, "pooled p", r.P, .07919, 5e-5)
	r, _ = Paired(a, b)
	near(t, "paired t", r.Statistic, 4.0621, 5e-5)
	near(t, "paired p", r.P, .002833, 1e-5)
	near(t, "paired effect", r.Effect, 1.58, 1e-9)
}

// SciPy's documentation of ttest_ind with trim=.2, which pools the variances (Yuen and Dixon 1973); ours does not, but trims alike.
func TestYuen(t *testing.T) {
	t.Parallel()
	a, b := raw(1.1, 2.9, 4.2), raw(56, 128.6, 12, 123.8, 64.34, 78, 763.3)
	ma, va, na, _ := trim(a, .2)
	mb, vb, nb, _ := trim(b, .2)
	pooled := ((na-1)*va + (nb-1)*vb) / (na + nb - 2)
	r, _ := tResult("", ma, mb, pooled*(1/na+1/nb), na+nb-2)
	near(t, "pooled t", r.Statistic, 3.4463884028073513, 1e-12)
	near(t, "pooled p", r.P, .01369338726499547, 1e-9)
	r, ok := Yuen(a, b, .2)
	if !ok || r.Effect != 90.148-(1.1+2.9+4.2)/3 || r.DF > 5 || r.Counts != [2]float64{3, 7} {
		t.Errorf("%+v %v", r, ok)
	}
	plain, _ := Welch(a, b)
	if untrimmed, _ := Yuen(a, b, 0); math.Abs(untrimmed.P-plain.P) > 1e-12 {
		t.Errorf("nothing trimmed: p %v, Welch has %v", untrimmed.P, plain.P)
	}
}

// SciPy's documentation of chi2_contingency, plain and with lambda_="log-likelihood", and of chisquare.
func TestChiSquared(t *testing.T) {
	t.Parallel()
	table := [][]float64{{10, 10, 20}, {20, 20, 20}}
	r, _ := ChiSquared(table)
	near(t, "chi-squared", r.Statistic, 2.7777777777777777, 1e-12)
	near(t, "p", r.P, .24935220877729619, 1e-9)
	near(t, "df", r.DF, 2, 0)
	near(t, "G", gStatistic(table), 2.7688587616781319, 1e-9)
	r, _ = GoodnessOfFit([]float64{16, 18, 16, 14, 12, 12}, []float64{1, 1, 1, 1, 1, 1})
	near(t, "fit", r.Statistic, 2, 1e-12)
	near(t, "fit p", r.P, .84914503608460956, 1e-9)
}

// Fisher's tea (R's help page for fisher.test, two-sided 0.4857) and the convictions of twins there (0.0005367).
func TestFisher(t *testing.T) {
	t.Parallel()
	r, _ := Rates(3, 4, 1, 4, 1)
	near(t, "tea", r.P, .4857, 5e-5)
	r, _ = Rates(2, 17, 10, 13, 1)
	near(t, "twins", fisher(2, 17, 10, 13), .0005367, 5e-8)
	if r.Method != "G-test" {
		t.Errorf("twins are compared by %s", r.Method)
	}
}

// Newcombe (1998), table II, method 10: 56/70 against 48/80, and 9/10 against 3/10. Our difference is the second less the first.
func TestRates_NewcombeInterval(t *testing.T) {
	t.Parallel()
	r, _ := Rates(48, 80, 56, 70, 1)
	near(t, "low", r.Low, .0524, 5e-5)
	near(t, "high", r.High, .3339, 5e-5)
	r, _ = Rates(3, 10, 9, 10, 1)
	near(t, "low", r.Low, .1705, 5e-5)
	near(t, "high", r.High, .8090, 5e-5)
}

// SciPy's documentation of mannwhitneyu: U 17 for the first group, so 3 for the second, and p .11134688653314041 by the
// approximation with continuity correction.
func TestMannWhitney_SciPy(t *testing.T) {
	t.Parallel()
	if _, ok := MannWhitney(raw(19, 22, 16, 29, 24), raw(20, 11, 17, 12, math.NaN())); ok {
		t.Error("four values are enough")
	}
	above, _ := compare(analysis.Values([]float64{19, 22, 16, 29, 24}), analysis.Values([]float64{20, 11, 17, 12}))
	near(t, "U", above*20, 3, 1e-12)
	near(t, "p", shareP(.5-3./20, 5, 4, 5, 4, 1), .11134688653314041, 1e-9)
}

// R's help page for wilcox.test: permeability constants of the human chorioamnion; the Hodges-Lehmann estimate of location is 0.305
// and W 35 of 50 for the first group.
func TestMannWhitney_HodgesLehmann(t *testing.T) {
	t.Parallel()
	term := []float64{.80, .83, 1.89, 1.04, 1.45, 1.38, 1.91, 1.64, .73, 1.46}
	weeks := []float64{1.15, .88, .90, .74, 1.21}
	r, ok := MannWhitney(raw(weeks...), raw(term...))
	if !ok {
		t.Fatal("no result")
	}
	near(t, "U", r.Statistic, 35, 1e-9)
	near(t, "difference", moved(analysis.Values(weeks), analysis.Values(term), false, .5), .305, .005)
	var ratios []float64
	for _, a := range weeks {
		for _, b := range term {
			ratios = append(ratios, b/a)
		}
	}
	slices.Sort(ratios)
	if r.Kind != Ratio || r.Effect < ratios[24]-1e-9 || r.Effect > ratios[25]+1e-9 {
		t.Errorf("ratio %v, the middle ones are %v and %v", r.Effect, ratios[24], ratios[25])
	}
	if !(r.Low < 1 && r.Low < r.Effect && r.Effect < r.High) {
		t.Errorf("interval %v to %v", r.Low, r.High)
	}
	negative, _ := MannWhitney(raw(-5, -4, -3, -2, -1), raw(0, 1, 2, 3, 4))
	if negative.Kind != Difference || math.Abs(negative.Effect-5) > 1e-6 {
		t.Errorf("difference %+v", negative)
	}
}

// Smirnov's table (1948): the distribution of the scaled distance is .950514 at 1.36 and .990 at 1.63 (.9901540).
func TestKolmogorovSmirnov(t *testing.T) {
	t.Parallel()
	near(t, "1.36", 1-kolmogorov(1.36), .950514, 1e-6)
	near(t, "1.63", 1-kolmogorov(1.63), .990154, 1e-6)
	near(t, "0", kolmogorov(0), 1, 0)
	r, _ := KolmogorovSmirnov(raw(1, 2, 3, 4, 5), raw(3.5, 4.5, 5.5, 6.5, 7.5))
	near(t, "distance", r.Effect, .6, 1e-12)
}

// The fifteen p-values of Benjamini and Hochberg (1995), section 3.2: four are discoveries at .05, three by Bonferroni.
func TestAdjusted_BenjaminiHochberg(t *testing.T) {
	t.Parallel()
	p := []float64{.0459, .0001, .0004, .0019, .0095, .0201, .0278, .0298, .0344, .3240, .4262, .5719, .6528, .7590, 1}
	found := 0
	for _, q := range Adjusted(p) {
		if q <= .05 {
			found++
		}
	}
	if found != 4 {
		t.Errorf("%d discoveries", found)
	}
	got := Adjusted([]float64{.01, .04, math.NaN(), .02}) // as R's p.adjust by "BH"
	for i, want := range []float64{.04, .16 / 3, 1, .04} {
		near(t, "adjusted", got[i], want, 1e-12)
	}
	if len(Adjusted(nil)) != 0 {
		t.Error("nothing to adjust")
	}
}

// e-BH: reject the k largest for the largest k with e(k) >= n/(k q).
func TestDiscoveries(t *testing.T) {
	t.Parallel()
	check := func(e []float64, q float64, want ...bool) {
		t.Helper()
		if got := Discoveries(e, q); !slices.Equal(got, want) {
			t.Errorf("%v at %v: %v", e, q, got)
		}
	}
	check([]float64{100, 39, 1, math.NaN()}, .05, true, false, false, false) // 80, 40
	check([]float64{70, 50, 1, 0}, .05, true, true, false, false)            // the second carries the first
	check([]float64{math.Inf(1), 1}, .05, true, false)
	check([]float64{1e9}, 0, false)
	check([]float64{-1, 0}, .5, false, false)
	near(t, "e at 1", EValue(1), .5, 1e-12)
	near(t, "e just below", EValue(1-2e-4), .5, 1e-3)
	near(t, "e at .01", EValue(.01), (1-.01+.01*math.Log(.01))/(.01*math.Log(.01)*math.Log(.01)), 1e-12)
	if EValue(math.NaN()) != 0 || math.IsInf(EValue(0), 0) {
		t.Error("e-values of no p-value")
	}
}

func TestJudge_NeedsAnEffect(t *testing.T) {
	t.Parallel()
	r, _ := Rates(500, 1e6, 700, 1e6, 1)
	if fired, reason := r.Judge(.01, .005); fired || r.P > 1e-6 || !strings.Contains(reason.String(), "less than 0.005") {
		t.Errorf("%v: %v", fired, reason)
	}
	if fired, reason := r.Judge(.01, .0001); !fired || !reason.Fired() {
		t.Errorf("%v: %v", fired, reason)
	}
	a := []float64{1, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7}
	b := make([]float64, len(a))
	for i, v := range a {
		b[i] = v / 2
	}
	m, _ := MannWhitney(raw(a...), raw(b...))
	if fired, reason := m.Judge(.05, 1.5); !fired {
		t.Errorf("half is more than a half less: %v", reason)
	}
	if fired, _ := m.Judge(.05, 3); fired {
		t.Error("half is a third")
	}
}

func TestTests_TooLittle(t *testing.T) {
	t.Parallel()
	nan, inf := math.NaN(), math.Inf(1)
	groups := map[string]Group{"empty": raw(), "one": raw(1), "nothing finite": raw(nan, inf)}
	full := raw(1, 2, 3, 4, 5, 6)
	constant := raw(2, 2, 2, 2, 2, 2)
	tests := map[string]func(a, b Group) (Result, bool){"Student": Student, "Welch": Welch, "MannWhitney": MannWhitney,
		"KolmogorovSmirnov": KolmogorovSmirnov, "Yuen": func(a, b Group) (Result, bool) { return Yuen(a, b, .2) }}
	for name, test := range tests {
		for which, g := range groups {
			if _, ok := test(g, full); ok {
				t.Errorf("%s: %s first", name, which)
			}
			if _, ok := test(full, g); ok {
				t.Errorf("%s: %s second", name, which)
			}
		}
		r, ok := test(constant, constant)
		if ok && name != "KolmogorovSmirnov" {
			t.Errorf("%s of constants: %+v", name, r)
		}
		if r, ok := test(constant, full); ok && math.IsNaN(r.P) {
			t.Errorf("%s of a constant and values: %+v", name, r)
		}
	}
	for _, c := range [][4]float64{{1, 0, 1, 2}, {3, 2, 0, 1}, {-1, 2, 1, 2}, {nan, 2, 1, 2}, {1, inf, 1, 2}} {
		if _, ok := Rates(c[0], c[1], c[2], c[3], 1); ok {
			t.Errorf("rates of %v", c)
		}
	}
	if r, ok := Rates(0, 1000, 0, 1000, 1); !ok || r.P != 1 {
		t.Errorf("no errors at all: %+v %v", r, ok)
	}
	for _, table := range [][][]float64{nil, {{1, 2}}, {{1}, {2}}, {{1, 2}, {3}}, {{1, -2}, {3, 4}}, {{0, 0}, {3, 4}}, {{1, nan}, {3, 4}}} {
		if _, ok := ChiSquared(table); ok {
			t.Errorf("chi-squared of %v", table)
		}
	}
	if _, ok := GoodnessOfFit([]float64{1, 2}, []float64{1, 0}); ok {
		t.Error("nothing was expected there")
	}
	if _, ok := Paired([]float64{1, 2}, []float64{1}); ok {
		t.Error("pairs of different lengths")
	}
	if _, ok := Paired([]float64{1, 2}, []float64{2, 3}); ok {
		t.Error("differences that do not vary")
	}
}

package learn

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func near(t *testing.T, what string, got, want, tolerance float64) {
	t.Helper()
	if !(math.Abs(got-want) <= tolerance*max(1, math.Abs(want))) {
		t.Errorf("%s: %.10g, want %.10g", what, got, want)
	}
}

// scikit-learn's documentation of KMeans.
func TestKMeans_ScikitLearn(t *testing.T) {
	t.Parallel()
	points := [][]float64{{1, 2}, {1, 4}, {1, 0}, {10, 2}, {10, 4}, {10, 0}}
	m, ok := NewKMeans(points, 2, 0)
	if !ok || !slices.Equal(m.Centres[0], []float64{1, 2}) || !slices.Equal(m.Centres[1], []float64{10, 2}) || m.Inertia != 16 {
		t.Errorf("%+v %v", m, ok)
	}
	if m.Cluster([]float64{0, 0}) != 0 || m.Cluster([]float64{12, 3}) != 1 {
		t.Error("the documentation predicts [1, 0], in its own order of clusters")
	}
	again, _ := NewKMeans(points, 2, 0)
	if !slices.EqualFunc(m.Centres, again.Centres, slices.Equal) {
		t.Error("the seed does not decide")
	}
	all, ok := NewKMeans(points, 6, 1)
	if !ok || all.Inertia != 0 {
		t.Errorf("a cluster a point: %+v %v", all, ok)
	}
	for name, bad := range map[string][][]float64{"nothing": nil, "no features": {{}, {}}, "ragged": {{1}, {1, 2}}, "NaN": {{math.NaN()}, {1}},
		"one point twice": {{1}, {1}}} {
		if _, ok := NewKMeans(bad, 2, 0); ok {
			t.Error(name)
		}
	}
	if _, ok := NewKMeans(points, 0, 0); ok {
		t.Error("no clusters")
	}
}

// scikit-learn's documentation of DBSCAN.
func TestDBSCAN_ScikitLearn(t *testing.T) {
	t.Parallel()
	points := [][]float64{{1, 2}, {2, 2}, {2, 3}, {8, 7}, {8, 8}, {25, 80}}
	d, ok := NewDBSCAN(points, 3, 2)
	if !ok || !slices.Equal(d.Labels, []int{0, 0, 0, 1, 1, -1}) || d.Clusters != 2 {
		t.Errorf("%+v %v", d, ok)
	}
	for i, p := range points {
		if got := d.Cluster(p); got != d.Labels[i] {
			t.Errorf("point %d is told to be in %d", i, got)
		}
	}
	if _, ok := NewDBSCAN(points, 0, 2); ok {
		t.Error("no reach")
	}
	if _, ok := NewDBSCAN(nil, 1, 2); ok {
		t.Error("no points")
	}
	if _, ok := NewDBSCAN(make([][]float64, MostPoints+1), 1, 2); ok {
		t.Error("too many points")
	}
}

// scikit-learn's documentation of PCA.
func TestPCA_ScikitLearn(t *testing.T) {
	t.Parallel()
	points := [][]float64{{-1, -1}, {-2, -1}, {-3, -2}, {1, 1}, {2, 1}, {3, 2}}
	c, ok := PCA(points, false)
	if !ok || len(c) != 2 {
		t.Fatal(c, ok)
	}
	near(t, "first", c[0].Explained, .99244289, 1e-8)
	near(t, "second", c[1].Explained, .00755711, 1e-8)
	near(t, "singular value", math.Sqrt(c[0].Variance*5), 6.30061232, 1e-8)
	near(t, "singular value", math.Sqrt(c[1].Variance*5), .54980396, 1e-8)
	scaled, _ := PCA([][]float64{{1, 100, 7}, {2, 200, 7}, {3, 300, 7}, {4, 500, 7}}, true)
	near(t, "all variance", scaled[0].Variance+scaled[1].Variance+scaled[2].Variance, 2, 1e-12)
	for name, bad := range map[string][][]float64{"nothing": nil, "one": {{1, 2}}, "the same": {{1, 2}, {1, 2}}, "NaN": {{math.NaN()}, {1}}} {
		if _, ok := PCA(bad, true); ok {
			t.Error(name)
		}
	}
}

func TestChoose(t *testing.T) {
	t.Parallel()
	draw := rand.New(rand.NewPCG(1, 2))
	chat := func() Request {
		in, out := math.Exp(6+draw.NormFloat64()), math.Exp(5+draw.NormFloat64())
		return Request{in, out, (.5 + in/5000 + out/50) * math.Exp(.2*draw.NormFloat64())}
	}
	var plain, mixed []Request
	for range 2000 {
		plain = append(plain, chat())
		// three kinds that no cut on one size tells apart: short questions, long documents with short answers, short prompts with long answers
		switch draw.IntN(3) {
		case 0:
			mixed = append(mixed, Request{100 * math.Exp(.2*draw.NormFloat64()), 50 * math.Exp(.2*draw.NormFloat64()), math.Exp(.3 * draw.NormFloat64())})
		case 1:
			mixed = append(mixed, Request{9e4 * math.Exp(.2*draw.NormFloat64()), 40 * math.Exp(.2*draw.NormFloat64()), 8 * math.Exp(.3*draw.NormFloat64())})
		default:
			mixed = append(mixed, Request{120 * math.Exp(.2*draw.NormFloat64()), 4e3 * math.Exp(.2*draw.NormFloat64()), 60 * math.Exp(.3*draw.NormFloat64())})
		}
	}
	mixed = append(mixed, Request{1, 1, 0}, Request{math.NaN(), 1, 1}, Request{1, math.Inf(1), 1})
	c, reason, ok := Choose(mixed, 1)
	if _, isCuts := c.(Cuts); !ok || isCuts || !reason.Fired() {
		t.Errorf("three clear kinds: %v, %v", c, reason)
	}
	if a, b := c.Class(100, 50), c.Class(9e4, 40); a == b || b == c.Class(120, 4e3) || !strings.Contains(reason.String(), c.String()) {
		t.Errorf("classes %d, %d: %v", a, b, reason)
	}
	c, reason, ok = Choose(plain, 1)
	if cuts, isCuts := c.(Cuts); !ok || reason.Fired() == isCuts || isCuts && (cuts.Class(10, 10) != 0 || cuts.Class(1e6, 1) != 2 || cuts.Class(600, 10) != 1) {
		t.Errorf("one kind: %v, %v", c, reason)
	}
	if _, _, ok := Choose(plain[:leastRequests-1], 1); ok {
		t.Error("too few")
	}
	same := slices.Repeat([]Request{{100, 100, 1}}, 300)
	if c, reason, ok := Choose(same, 1); !ok || math.IsNaN(reason.Value) {
		t.Errorf("all the same: %v %v %v", c, reason, ok)
	}
}

func TestShares(t *testing.T) {
	t.Parallel()
	arms := make([]Arm, 3)
	for range 300 {
		arms[0].Observe(.02)
		arms[1].Observe(.3)
	}
	arms[2] = arms[0]
	arms[0].Observe(math.NaN())
	arms[0].Observe(2)
	s := Shares(arms, .01, 4000, 1)
	near(t, "sum", s[0]+s[1]+s[2], 1, 1e-12)
	if s[1] != .01 || math.Abs(s[0]-s[2]) > .1 {
		t.Errorf("shares %v", s)
	}
	if arms[0] != arms[2] {
		t.Error("outcomes that are none were learned")
	}
	arms[1].Reset()
	if s := Shares(arms, .01, 4000, 1); s[1] < .02 || s[1] > .2 {
		t.Errorf("after a reset %v", s)
	}
	// Beta(1, 1): mean 1/2, quantile of .95
	near(t, "mean", Arm{}.Mean(), .5, 0)
	near(t, "upper", Arm{}.Upper(.05), .95, 1e-9)
	// two arms with beliefs Beta(1, 3) and Beta(1, 1): P[first is lower] is 3/4 by integration
	s = Shares([]Arm{{0, 2}, {}}, 0, 40_000, 2)
	near(t, "by integration", s[0], .75, .01)
	if len(Shares(nil, .1, 10, 1)) != 0 {
		t.Error("shares of nothing")
	}
	var a Arm
	for range 20_000 {
		a.Observe(1)
	}
	near(t, "memory", a.Bad, 1/(1-discount), 1e-6)
}

package optimizer

import (
	"math"
	"math/rand/v2"
	"testing"
)

// latencies are hourly medians with a daily rhythm, that grow by a part over the span.
func latencies(seed uint64, hours int, growth float64) []float64 {
	draw, noise := rand.New(rand.NewPCG(seed, 3)), 0.
	out := make([]float64, hours)
	for i := range out {
		noise = .5*noise + .08*draw.NormFloat64()
		out[i] = .4 * math.Exp(noise+.5*math.Sin(2*math.Pi*float64(i)/24)+math.Log1p(growth)*float64(i)/float64(hours-1))
	}
	return out
}

func TestDrift_FindsWhatPeopleWouldNotice(t *testing.T) {
	t.Parallel()
	rate := func(hours int, growth float64) float64 {
		found, runs := 0., 40
		for seed := range runs {
			d, ok := DefaultDrift.Drift("t", latencies(uint64(seed), hours, growth))
			if !ok {
				t.Fatal("not enough data")
			}
			if d.Drifts {
				found++
			}
			if d.Drifts && d.Worse() != (growth > 0) && growth != 0 {
				t.Errorf("%d hours, %+.0f %%: %s", hours, 100*growth, &d)
			}
		}
		return found / float64(runs)
	}
	for _, hours := range []int{72, 100, 288} {
		if r := rate(hours, 0); r > .02 {
			t.Errorf("%d hours: %.2f of the series without a drift have one", hours, r)
		}
		if r := rate(hours, .1); r > .1 {
			t.Errorf("%d hours: %.2f of the series with a drift of 10 %%, which is too little, have one", hours, r)
		}
		if r := rate(hours, .6); r < .9 {
			t.Errorf("%d hours: %.2f of the drifts of 60 %% are found", hours, r)
		}
		if r := rate(hours, -.4); r < .9 {
			t.Errorf("%d hours: %.2f of the drifts of -40 %% are found", hours, r)
		}
	}
}

func TestDrift_MissingValues(t *testing.T) {
	t.Parallel()
	v := latencies(1, 288, .5)
	for i := range v {
		if i%3 == 0 {
			v[i] = [...]float64{math.NaN(), math.Inf(1), 0, -1}[i/3%4]
		}
	}
	if d, ok := DefaultDrift.Drift("t", v); !ok || !d.Worse() || d.Hours != 192 || d.Change < .25 || d.Change > .8 || !d.Reason().Fired() {
		t.Errorf("%v, %v: %v", &d, ok, d.Reason())
	}
	same := make([]float64, 288)
	for i := range same {
		same[i] = 1
	}
	for what, v := range map[string][]float64{"none": nil, "three days less an hour": latencies(1, 71, 1), "all equal": same, "all missing": make([]float64, 288)} {
		if d, ok := DefaultDrift.Drift("t", v); ok {
			t.Errorf("%s: %s", what, &d)
		}
	}
	longer := append(latencies(2, 100, 20), latencies(1, 288, 0)...)
	d, _ := DefaultDrift.Drift("t", longer)
	want, _ := DefaultDrift.Drift("t", longer[100:])
	if d != want {
		t.Errorf("%+v, want that of the last 288 hours: %+v", d, want)
	}
	if got := (&LatencyDrift{Target: "r/a", Change: .31, Low: .2, High: .4, Span: 287 * 3600e9}).String(); got != "r/a has become 31 % slower over 12 days (20 to 40 %)" {
		t.Error(got)
	}
}

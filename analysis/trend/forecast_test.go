package trend

import (
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"
)

var monday = time.Date(2026, 11, 2, 0, 0, 0, 0, time.UTC)

func TestForecast_TooLittle(t *testing.T) {
	t.Parallel()
	for name, hourly := range map[string][]float64{
		"nothing":       nil,
		"71 hours":      slices.Repeat([]float64{1}, LeastHours-1),
		"nothing spent": make([]float64, 500),
		"no numbers":    slices.Repeat([]float64{math.NaN(), math.Inf(1), -3}, 100),
	} {
		if _, ok := NewForecast(monday, hourly); ok {
			t.Error(name)
		}
	}
}

func TestForecast_Constant(t *testing.T) {
	t.Parallel()
	f, ok := NewForecast(monday, slices.Repeat([]float64{2}, 100))
	if !ok {
		t.Fatal("no forecast")
	}
	o := f.Outlook(300, 200, monday.Add(100*time.Hour).Add(200*time.Hour), 1)
	if want := monday.Add(150 * time.Hour); o.P != 1 || !o.Exhausted[0].Equal(want) || !o.Exhausted[2].Equal(want) {
		t.Errorf("%+v, want exhaustion at %v", o, want)
	}
	near(t, "total", o.Total[1], 600, 1e-9)
	if fired, reason := o.Judge(.5); !fired || !reason.Fired() {
		t.Error(reason)
	}
	o = f.Outlook(700, 200, monday.Add(100*time.Hour).Add(200*time.Hour), 1)
	if fired, reason := o.Judge(.5); fired || o.P != 0 || !o.Exhausted[2].IsZero() {
		t.Errorf("%+v: %v", o, reason)
	}
	if o := f.Outlook(100, 200, monday, 1); o.P != 1 || o.Hours != 1 || !o.Exhausted[1].Equal(monday.Add(100*time.Hour)) {
		t.Errorf("spent already, the period is over: %+v", o)
	}
	if o := f.Outlook(1e9, 0, monday.AddDate(1, 0, 0), 1); o.Hours != horizon || o.P != 0 {
		t.Errorf("a year ahead: %+v", o)
	}
}

// Days with a rhythm, weekends at half: the forecast knows the hour, and its middle is about right a week ahead.
func TestForecast_Rhythm(t *testing.T) {
	t.Parallel()
	draw := rand.New(rand.NewPCG(1, 2))
	usual := func(at time.Time) float64 {
		v := 10 + 8*math.Sin(2*math.Pi*float64(at.Hour())/24)
		if at.Weekday() == time.Saturday || at.Weekday() == time.Sunday {
			v /= 2
		}
		return v
	}
	var hourly []float64
	for i := range 4 * week {
		hourly = append(hourly, usual(monday.Add(time.Duration(i)*time.Hour))*math.Exp(.2*draw.NormFloat64()))
	}
	hourly[100] = math.NaN()
	f, ok := NewForecast(monday, hourly)
	if !ok {
		t.Fatal("no forecast")
	}
	paths := f.Paths(week, 500, 7)
	off := 0.
	for h := range week {
		at := make([]float64, len(paths))
		for p := range paths {
			at[p] = paths[p][h]
		}
		off += math.Abs(math.Log(medianOf(at)/usual(monday.Add(time.Duration(4*week+h)*time.Hour)))) / week
	}
	if off > .15 {
		t.Errorf("the middle path is off by %.2f of the logarithm", off)
	}
	if !reflect.DeepEqual(paths, f.Paths(week, 500, 7)) || reflect.DeepEqual(paths, f.Paths(week, 500, 8)) {
		t.Error("the seed does not make the paths")
	}
}

func TestForecast_IdleHours(t *testing.T) {
	t.Parallel()
	hourly := make([]float64, 10*day)
	for i := range hourly {
		if h := i % day; h >= 9 && h < 17 {
			hourly[i] = 5
		}
	}
	f, ok := NewForecast(monday, hourly)
	if !ok {
		t.Fatal("no forecast")
	}
	for _, path := range f.Paths(day, 20, 1) {
		for h, v := range path {
			if busy := h >= 9 && h < 17; math.IsNaN(v) || v < 0 || busy != (v > 1) {
				t.Fatalf("hour %d: %v", h, v)
			}
		}
	}
}

func BenchmarkOutlook(b *testing.B) {
	draw := rand.New(rand.NewPCG(1, 2))
	hourly := make([]float64, mostHours)
	for i := range hourly {
		hourly[i] = draw.ExpFloat64()
	}
	b.ReportAllocs()
	for b.Loop() {
		f, _ := NewForecast(monday, hourly)
		f.Outlook(1e6, 0, monday.AddDate(0, 3, 0), 1)
	}
}

// Gardner and McKenzie (1985), eq. 2: h steps ahead lies level + (phi + ... + phi^h) slope.
func TestHolt_Ahead(t *testing.T) {
	t.Parallel()
	h := holt{alpha: .3, beta: .1, level: 5, slope: 2}
	want, power := 5., 1.
	for step := range 10 {
		power *= damping
		want += power * 2
		near(t, "ahead", h.next(), want, 1e-12)
		h.learn(0)
		near(t, "slope", h.slope, 2*math.Pow(damping, float64(step+1)), 1e-12)
	}
	h = holt{alpha: .5, beta: .2, level: 10, slope: 1}
	h.learn(12 - h.next()) // error 1.1: level 10.9 + .55, slope .9 + .11
	near(t, "level", h.level, 11.45, 1e-12)
	near(t, "slope", h.slope, 1.01, 1e-12)
}

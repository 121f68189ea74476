package optimizer

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"
)

func zone(t *testing.T, name string) *time.Location {
	t.Helper()
	z, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

func TestPeriod_TurnsWithTheCalendar(t *testing.T) {
	t.Parallel()
	check := func(p Period, where, at, start, end string) {
		t.Helper()
		z := zone(t, where)
		now, err := time.ParseInLocation("2006-01-02 15:04", at, z)
		if err != nil {
			t.Fatal(err)
		}
		s, e := p.Around(now)
		if got, want := s.Format(time.RFC3339)+" "+e.Format(time.RFC3339), start+" "+end; got != want || s.After(now) || !e.After(now) {
			t.Errorf("%v around %s in %s: got %s, want %s", p, at, where, got, want)
		}
	}
	check(Day, "UTC", "2026-02-28 23:59", "2026-02-28T00:00:00Z", "2026-03-01T00:00:00Z")
	check(Day, "Europe/Berlin", "2026-03-29 12:00", "2026-03-29T00:00:00+01:00", "2026-03-30T00:00:00+02:00") // 23 hours
	check(Day, "Africa/Cairo", "2024-04-26 12:00", "2024-04-26T01:00:00+03:00", "2024-04-27T00:00:00+03:00")  // midnight is skipped
	check(Day, "Africa/Cairo", "2024-04-25 23:30", "2024-04-25T00:00:00+02:00", "2024-04-26T01:00:00+03:00")
	check(Day, "America/Havana", "2025-11-02 12:00", "2025-11-02T00:00:00-04:00", "2025-11-03T00:00:00-05:00") // midnight comes twice
	check(Day, "Asia/Kolkata", "2026-01-05 00:00", "2026-01-05T00:00:00+05:30", "2026-01-06T00:00:00+05:30")
	check(Week, "UTC", "2026-01-04 12:00", "2025-12-29T00:00:00Z", "2026-01-05T00:00:00Z") // a Sunday
	check(Week, "UTC", "2026-01-05 00:00", "2026-01-05T00:00:00Z", "2026-01-12T00:00:00Z")
	check(Month, "America/New_York", "2026-12-31 23:00", "2026-12-01T00:00:00-05:00", "2027-01-01T00:00:00-05:00")
	for p := range Period(3) {
		if got, err := ParsePeriod(p.String()); got != p || err != nil {
			t.Errorf("%v reads as %v, %v", p, got, err)
		}
	}
	if _, err := ParsePeriod("year"); err == nil {
		t.Error("a year is no period")
	}
}

// steady is a history of so many full hours before now, with a dollar in each.
func steady(now time.Time, hours int) SpendHistory {
	h := SpendHistory{Start: now.Truncate(time.Hour).Add(-time.Duration(hours) * time.Hour), Current: now.Sub(now.Truncate(time.Hour)).Hours()}
	for range hours {
		h.Hourly = append(h.Hourly, 1)
	}
	return h
}

func TestBudget_ForecastOfSteadySpend(t *testing.T) {
	t.Parallel()
	midnight := time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC)
	now := midnight.Add(9*time.Hour + 30*time.Minute)
	for _, hours := range []int{24 * 14, 48, 5} {
		h := steady(now, hours)
		spent := min(9.5, float64(hours)+.5)
		check := func(amount, low, high float64) BudgetForecast {
			t.Helper()
			f, ok := (&BudgetTerms{Dollars: amount}).Forecast(now, h)
			if !ok || math.Abs(f.Spent-spent) > 1e-9 || f.P < low || f.P > high || !f.End.Equal(midnight.Add(24*time.Hour)) {
				t.Errorf("%d hours, budget of $%.0f: %+v, %v; want p %v to %v", hours, amount, f, ok, low, high)
			}
			return f
		}
		check(150, 0, .06)
		f := check(spent+3, .75, 1)
		if at := f.Exhausted[1].Sub(now).Hours(); at < 2 || at > 4 {
			t.Errorf("%d hours: used up in %.2f hours, want about 3", hours, at)
		}
		if hours == 24*14 && (f.Exhausted[2].Sub(f.Exhausted[0]) > time.Hour || f.P < 1) {
			t.Errorf("nothing has varied, but the forecast does: %+v", f)
		}
		if hours < 72 && (f.Total[2]-spent < 1.5*(f.Total[0]-spent) || f.Method != "rate so far") {
			t.Errorf("%d hours: nearly nothing is known, but the interval is narrow: %+v", hours, f)
		}
		if f := check(5, 1, 1); f.Exhausted[1].Sub(now.Add(-time.Duration(spent*float64(time.Hour)))).Hours() != 5 {
			t.Errorf("%d hours: used up at %v", hours, f.Exhausted)
		}
	}
}

func TestBudget_NothingIsKnown(t *testing.T) {
	t.Parallel()
	check := func(what string, terms BudgetTerms, h SpendHistory, want bool) {
		t.Helper()
		for _, watch := range []bool{false, true} {
			f, ok := terms.Forecast(noon, h)
			if watch {
				f, ok = NewBudgetWatch(terms, DefaultBudget).Step(noon, h)
			}
			if ok != want || math.IsNaN(f.P+f.Spent+f.Total[0]+f.Total[2]) || math.IsInf(f.Total[2], 0) {
				t.Errorf("%s: %+v, %v", what, f, ok)
			}
		}
	}
	day := BudgetTerms{Dollars: 50}
	check("no history", day, SpendHistory{Start: noon}, false)
	check("no start", day, SpendHistory{}, false)
	check("two minutes", day, SpendHistory{Start: noon.Add(-2 * time.Minute), Current: 1}, false)
	check("ten minutes", day, SpendHistory{Start: noon.Add(-10 * time.Minute), Current: 1}, true)
	check("two minutes that use it up", day, SpendHistory{Start: noon.Add(-2 * time.Minute), Current: 51}, true)
	check("no spend", day, SpendHistory{Start: noon.Add(-100 * time.Hour), Hourly: make([]float64, 100)}, false)
	check("begins in the future", day, SpendHistory{Start: noon.Add(time.Hour), Current: 1}, false)
	check("no amount", BudgetTerms{}, steady(noon, 100), false)
	check("an amount that is none", BudgetTerms{Dollars: math.NaN()}, steady(noon, 100), false)
	poison := steady(noon, 100)
	poison.Hourly[7], poison.Hourly[70], poison.Hourly[99], poison.Current = math.NaN(), 1e300, -5, math.Inf(1)
	check("poison", day, poison, true)
	late := steady(noon, 100)
	late.Start = late.Start.Add(50 * time.Hour) // the history has hours that are yet to come
	check("hours of the future", day, late, true)
	check("years of history", BudgetTerms{Dollars: 50, Period: Month}, steady(noon, 20000), true)
}

// overdispersed is spend with days, weekends, hours that depend on each other, and now and then one of several times the usual.
func overdispersed(draw *rand.Rand, start time.Time, hours int) []float64 {
	noise, level := 0., math.Exp(draw.NormFloat64())
	out := make([]float64, hours)
	for i := range out {
		at := start.Add(time.Duration(i) * time.Hour)
		noise = .6*noise + .3*draw.NormFloat64()
		log := .8*math.Sin(2*math.Pi*float64(at.Hour()-9)/24) + noise
		if w := at.Weekday(); w == time.Saturday || w == time.Sunday {
			log -= .4
		}
		if draw.Float64() < .01 {
			log += 1.5
		}
		out[i] = level * math.Exp(log)
	}
	return out
}

// What was spent lies between the 10th and the 90th percentile of the forecast in about 80 of 100 cases, with little history too.
func TestBudget_IntervalsCover(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ hours, least, most int }{{2, 72, 97}, {12, 72, 97}, {30, 72, 97}, {60, 72, 97}, {24 * 28, 70, 92}} {
		inside, runs, sharp := 0, 100, 0.
		for seed := range runs {
			draw := rand.New(rand.NewPCG(uint64(seed), 7))
			start := noon.Add(time.Duration(draw.IntN(24*7)) * time.Hour)
			all := overdispersed(draw, start, c.hours+24)
			now := start.Add(time.Duration(c.hours) * time.Hour)
			f, ok := (&BudgetTerms{Dollars: 1e6}).Forecast(now, SpendHistory{Start: start, Hourly: all[:c.hours]})
			if !ok {
				t.Fatal("no forecast")
			}
			truth := f.Spent
			for i := range int(f.End.Sub(now) / time.Hour) {
				truth += all[c.hours+i]
			}
			if f.Total[0] <= truth+1e-9 && truth <= f.Total[2]+1e-9 {
				inside++
			}
			sharp += f.Total[2] / f.Total[0] / float64(runs)
		}
		t.Logf("%d hours: %d of %d, p90 is %.2f times p10 on average", c.hours, inside, runs, sharp)
		if p := 100 * inside / runs; p < c.least || p > c.most {
			t.Errorf("%d hours of history: %d %% of the intervals hold what came, want %d to %d", c.hours, p, c.least, c.most)
		}
	}
}

func TestBudgetWatch_ActsUntilItIsUnlikely(t *testing.T) {
	t.Parallel()
	w := NewBudgetWatch(BudgetTerms{Name: "r", Dollars: 20}, DefaultBudget)
	now := noon
	step := func(amount float64, acting bool) *Pressure {
		t.Helper()
		now = now.Add(forecastEvery)
		w.Dollars = amount
		f, ok := w.Step(now, steady(now, 60))
		if !ok || f.Acting != acting {
			t.Errorf("budget of %v: %+v, %v; want acting %v", amount, f, ok, acting)
		}
		return DefaultBudget.PressureOf([]BudgetForecast{f})
	}
	if p := step(33, false); p != nil { // p is about .2
		t.Errorf("%+v", p)
	}
	if p := step(18, true); p == nil || p.Part != 1 || !strings.HasPrefix(p.Why, "budget of $18 a day for r ends at ") {
		t.Errorf("%+v", p)
	}
	if p := step(27, true); p == nil || p.Part <= 0 || p.Part >= 1 {
		t.Errorf("%+v", p)
	}
	if p := step(60, false); p != nil {
		t.Errorf("%+v", p)
	}
	step(27, false)
	step(13, true)
	if f, _ := w.Step(now.Add(time.Second), SpendHistory{}); !f.Acting {
		t.Error("a forecast does not stand for five minutes")
	}
	now = now.Add(12 * time.Hour) // the next day
	step(24, false)
}

func TestRouting_UnderPressure(t *testing.T) {
	t.Parallel()
	const n = 5000
	cheap, dear := known{name: "cheap", weight: 1, static: 1, count: n, violating: n * .018, unit: 1e-6}, known{name: "dear", weight: 1, static: 1, count: n, unit: 4e-6}
	check := func(p *Pressure, reason string) (cheapest, violations float64) {
		t.Helper()
		e := evidenceOf(cheap, dear)
		e.Pressure = p
		proposal := DefaultRouting.Propose(e)
		if !strings.Contains(proposal.Reason, reason) {
			t.Errorf("%+v: %s, want %q", p, proposal.Reason, reason)
		}
		settings, err := json.Marshal(DefaultRouting)
		if err != nil {
			t.Fatal(err)
		}
		if differs, err := Replay(&Decision{Tuner: "routing", Evidence: e, Settings: settings, Proposal: proposal}); differs != "" || err != nil {
			t.Errorf("replay: %s, %v", differs, err)
		}
		share := after(t, e, proposal)["cheap"]
		return share, share * .018
	}
	calm, _ := check(nil, "the cheapest mix within the objective")
	some, _ := check(&Pressure{Part: .5, Why: "a budget"}, "a budget: the cheapest mix with 50 % of the slack")
	full, bad := check(&Pressure{Part: 1, Why: "budget of $50 a day ends at 17:20 with p .8"}, "ends at 17:20 with p .8: the cheapest mix at the full violations budget")
	poisoned, _ := check(&Pressure{Part: math.NaN()}, "the cheapest mix within the objective")
	if !(calm < some && some < full) || bad > .01+1e-5 || poisoned != calm {
		t.Errorf("cheap gets %.3f, under half the pressure %.3f, under all of it %.3f with %.4f violations; poisoned %.3f", calm, some, full, bad, poisoned)
	}
}

func TestBudget_SaysWhatItKnows(t *testing.T) {
	t.Parallel()
	w := NewBudgetWatch(BudgetTerms{Dollars: 18, Zone: zone(t, "Asia/Kolkata")}, DefaultBudget)
	f, _ := w.Step(noon, steady(noon, 24*14))
	e := &RouteEvidence{Name: "r", Budgets: []BudgetForecast{{Dollars: 1, Period: "day", P: .1}, f}}
	check := func(e *RouteEvidence, want string) {
		t.Helper()
		p := DefaultBudget.Propose(e)
		if len(p.Changes) > 0 || p.Reason != want {
			t.Errorf("%+v, want %q", p, want)
		}
		stored, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		var again RouteEvidence
		if err := json.Unmarshal(stored, &again); err != nil {
			t.Fatal(err)
		}
		if q := DefaultBudget.Propose(&again); !reflect.DeepEqual(p, q) {
			t.Errorf("stored and read: %+v, was %+v", q, p)
		}
		if p, q := DefaultBudget.PressureOf(e.Budgets), DefaultBudget.PressureOf(again.Budgets); !reflect.DeepEqual(p, q) {
			t.Errorf("stored and read: %+v, was %+v", q, p)
		}
	}
	check(e, "budget of $18 a day ends at 18:00 with p 1: a cheaper mix is called for")
	check(&RouteEvidence{}, "there is no budget, or too little is known of what is spent")
	check(&RouteEvidence{Budgets: []BudgetForecast{{Dollars: 1, Period: "day", P: .1}}}, "no budget is likely to be used up before its period ends")
	e.Budgets[1].Spent, e.Budgets[1].Exhausted[1] = 18.5, noon
	check(e, "budget of $18 a day was used up at 12:00: a cheaper mix is called for")
}

// The mode of the budget tuner says whether routing feels the pressure.
func TestLoop_PressureNeedsAMode(t *testing.T) {
	t.Parallel()
	for mode, want := range map[Mode]bool{Observe: false, Recommend: false, Canary: true, Auto: true} {
		s := newStand()
		pressed := false
		s.propose = func(e *RouteEvidence) Proposal {
			pressed = e.Pressure != nil
			return Proposal{Reason: "a test"}
		}
		l := New(plantWithBudget{s}, Settings{Bounds: DefaultBounds, Trials: DefaultTrials, Holdback: .02, Modes: map[string]Mode{"budget": mode}}, s, DefaultBudget)
		d := l.Step(noon)
		if pressed != want {
			t.Errorf("%v: pressed %v", mode, pressed)
		}
		if len(d) != 2 || d[1].Tuner != "budget" || d[1].Verdict != Held || !strings.Contains(d[1].Reason, "a cheaper mix is called for") {
			t.Errorf("%v: %+v", mode, d)
		}
	}
}

type plantWithBudget struct{ *stand }

func (p plantWithBudget) Known(now time.Time) []Known {
	k := p.stand.Known(now)
	k[0].Budgets = []BudgetForecast{{Dollars: 1, Period: "day", P: .9, Acting: true}}
	return k
}

func BenchmarkBudgetWatch(b *testing.B) {
	h := SpendHistory{Start: noon.Add(-24 * 56 * time.Hour), Hourly: overdispersed(rand.New(rand.NewPCG(1, 1)), noon, 24*56)}
	for _, c := range []struct {
		name  string
		every time.Duration
	}{{"step=hour", time.Hour}, {"step=forecast", forecastEvery}} {
		b.Run(c.name, func(b *testing.B) {
			w, now := NewBudgetWatch(BudgetTerms{Dollars: 1e6, Period: Month}, DefaultBudget), noon
			for b.Loop() {
				if c.every < time.Hour {
					w.at = time.Time{}
				} else {
					now = now.Add(c.every)
				}
				w.Step(now, h)
			}
		})
	}
}

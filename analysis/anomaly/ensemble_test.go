package anomaly

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

const tick = 10 * time.Second

// run scores values, a tick apart, and returns the rows that are alarms.
func run(e *Ensemble, values []float64) (alarms []int, scores []Score) {
	at := time.Unix(1.7e9, 0)
	for i, v := range values {
		s := e.Step(at.Add(time.Duration(i)*tick), v)
		if s.Alarm() {
			alarms = append(alarms, i)
		}
		scores = append(scores, s)
	}
	return alarms, scores
}

func noise(seed uint64, n int) []float64 {
	draw := rand.New(rand.NewPCG(seed, 1))
	v := make([]float64, n)
	for i := range v {
		v[i] = 100 + 5*draw.NormFloat64()
	}
	return v
}

func TestEnsemble_FindsWhatStandsOut(t *testing.T) {
	t.Parallel()
	check := func(name string, change func(v []float64)) {
		t.Helper()
		found := 0
		for seed := range uint64(20) {
			v := noise(seed, 3000)
			change(v[2500:])
			alarms, scores := run(NewEnsemble(), v)
			for _, i := range alarms {
				if i >= 2500 && i < 2560 {
					found++
					if r := scores[i].Reason(); !r.Fired() || !strings.Contains(r.String(), "most of all") {
						t.Errorf("%s: %v", name, r)
					}
					break
				}
			}
		}
		if found < 16 {
			t.Errorf("%s: found in %d of 20 series", name, found)
		}
	}
	check("a spike", func(v []float64) { v[10] = 200 })
	check("a drop", func(v []float64) { v[10] = 0 })
	check("another level", func(v []float64) {
		for i := range v {
			v[i] += 25
		}
	})
	check("silence", func(v []float64) {
		for i := range v {
			v[i] = 0
		}
	})
}

func TestEnsemble_FewFalseAlarms(t *testing.T) {
	t.Parallel()
	alarms, ticks := 0, 0
	for seed := range uint64(20) {
		found, _ := run(NewEnsemble(), noise(seed+100, 8640)) // a day
		alarms += len(found)
		ticks += 8640
	}
	t.Logf("%d alarms in %d ticks without an anomaly, one in %d", alarms, ticks, ticks/max(alarms, 1))
	if alarms > 20*20 {
		t.Errorf("%d alarms in 20 days of noise", alarms)
	}
}

func TestEnsemble_Defined(t *testing.T) {
	t.Parallel()
	nan := math.NaN()
	e := NewEnsemble()
	if alarms, scores := run(e, []float64{nan, math.Inf(1), 1, 2, nan}); len(alarms) != 0 || scores[4].Ticks != 2 || scores[4].Value != 0 {
		t.Errorf("%v", scores)
	}
	constant := make([]float64, 500)
	if alarms, _ := run(NewEnsemble(), constant); len(alarms) != 0 {
		t.Errorf("zeros alarm at %v", alarms)
	}
	for i := range constant {
		constant[i] = 7
	}
	constant[400] = 8
	if alarms, _ := run(NewEnsemble(), constant); len(alarms) != 1 || alarms[0] != 400 {
		t.Errorf("a constant that changes once alarms at %v", alarms)
	}
	_, scores := run(NewEnsemble(), noise(1, 300))
	for i, s := range scores {
		if s.Value < 0 || s.Value >= 1 || math.IsNaN(s.Value) || (i < Warmup && s.Value != 0) {
			t.Fatalf("row %d: %+v", i, s)
		}
	}
	huge := noise(2, 300)
	huge[200], huge[250] = math.MaxFloat64, -math.MaxFloat64
	for i, s := range func() []Score { _, s := run(NewEnsemble(), huge); return s }() {
		if math.IsNaN(s.Value) {
			t.Fatalf("row %d: %+v", i, s)
		}
	}
}

// Without look-ahead: what comes later changes nothing of what was said.
func TestEnsemble_KnowsNoFuture(t *testing.T) {
	t.Parallel()
	v := noise(3, 2000)
	v[700] = 300
	_, all := run(NewEnsemble(), v)
	_, part := run(NewEnsemble(), v[:800])
	for i := range part {
		if a, b := part[i], all[i]; a.Value != b.Value || a.Raw != b.Raw {
			t.Fatalf("row %d: %v, with the future %v", i, a, b)
		}
	}
}

func TestEnsemble_FreezesAtMostAnHour(t *testing.T) {
	t.Parallel()
	v := noise(4, 4000)
	for i := 2000; i < len(v); i++ {
		v[i] += 200
	}
	e := NewEnsemble()
	at := time.Unix(1.7e9, 0)
	frozen := 0
	for i, x := range v {
		e.Step(at.Add(time.Duration(i)*tick), x)
		if !e.since.IsZero() {
			frozen++
			if i > 2000+361+10 && at.Add(time.Duration(i)*tick).Sub(e.since) > MaxFreeze {
				t.Fatalf("frozen for more than an hour at %d", i)
			}
		}
	}
	if frozen < 100 {
		t.Errorf("frozen for %d ticks", frozen)
	}
	if e.level.long.mean < 180 {
		t.Errorf("half an hour of learning later the level is %v", e.level.long.mean)
	}
}

func TestSeason(t *testing.T) {
	t.Parallel()
	draw := rand.New(rand.NewPCG(1, 2))
	var s Season
	start := time.Date(2026, 11, 2, 0, 0, 0, 0, time.UTC) // a Monday
	usual := func(at time.Time) float64 {
		v := 50 + 40*math.Sin(2*math.Pi*float64(at.Hour())/24)
		if at.Weekday() == time.Sunday {
			v -= 30
		}
		return v
	}
	for at := start; at.Before(start.AddDate(0, 0, 35)); at = at.Add(10 * time.Minute) {
		if _, ok := s.Expect(at); ok != (at.Sub(start) >= dayAfter) {
			t.Fatalf("after %v: %v", at.Sub(start), ok)
		}
		s.Add(at, usual(at)+3*draw.NormFloat64())
	}
	for h := range 24 * 7 {
		at := start.AddDate(0, 0, 35).Add(time.Duration(h) * time.Hour)
		if got, ok := s.Expect(at); !ok || math.Abs(got-usual(at)) > 4 {
			t.Errorf("%v: %v, want %v", at.Format("Mon 15:04"), got, usual(at))
		}
	}
	if e := s.Explained(); e < .9 {
		t.Errorf("it explains %v", e)
	}
	if sd := s.Spread(); math.Abs(sd-3) > 1 {
		t.Errorf("it leaves %v", sd)
	}
	var flat Season
	for i := range 24 * 6 * 10 {
		flat.Add(start.Add(time.Duration(i)*10*time.Minute), draw.NormFloat64())
	}
	if e := flat.Explained(); e > .1 {
		t.Errorf("of noise it explains %v", e)
	}
}

// A dip at an hour that is usually busy is nothing unusual as a value.
func TestEnsemble_Season(t *testing.T) {
	t.Parallel()
	found := 0
	for seed := range uint64(10) {
		draw := rand.New(rand.NewPCG(seed, 5))
		e := NewEnsemble()
		at := time.Date(2026, 11, 2, 0, 0, 0, 0, time.UTC)
		for i := range 6 * 24 * 10 {
			at = at.Add(10 * time.Minute)
			v := 100 + 80*math.Sin(2*math.Pi*float64(i)/144) + 3*draw.NormFloat64()
			if i >= 1440-144+36 && i < 1440-144+42 { // at the daily peak of the last day: an hour at the mean
				v = 100
			}
			if s := e.Step(at, v); s.Alarm() && i >= 1440-144+36 && i < 1440-144+48 {
				found++
				break
			}
		}
	}
	if found < 5 {
		t.Errorf("found in %d of 10", found)
	}
}

func TestDetectors_DoNotAllocate(t *testing.T) {
	e, z, c := NewEnsemble(), NewRobustZ(6), NewChart(.2, 3)
	n := NewNormaliser()
	draw := rand.New(rand.NewPCG(1, 1))
	at := time.Unix(1.7e9, 0)
	s := NewDSPOT(1e-4, 10)
	step := func() {
		at = at.Add(tick)
		v := draw.ExpFloat64()
		e.Step(at, v)
		z.Step(v)
		c.Step(v)
		s.Step(v)
		n.TTFT(time.Duration(v*1e9), 100)
	}
	for range 2000 {
		step()
	}
	if got := testing.AllocsPerRun(2000, step); got != 0 {
		t.Errorf("%v allocations a step", got)
	}
}

func BenchmarkStep(b *testing.B) {
	v := noise(1, 1<<14)
	at := time.Unix(1.7e9, 0)
	bench := func(name string, step func(i int)) {
		b.Run("detector="+name, func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				step(i)
			}
		})
	}
	e, z, c, s := NewEnsemble(), NewRobustZ(6), NewChart(.2, 3), NewDSPOT(1e-4, 10)
	bench("ensemble", func(i int) { e.Step(at.Add(time.Duration(i)*tick), v[i&(1<<14-1)]) })
	bench("robust-z", func(i int) { z.Step(v[i&(1<<14-1)]) })
	bench("ewma", func(i int) { c.Step(v[i&(1<<14-1)]) })
	bench("dspot", func(i int) { s.Step(v[i&(1<<14-1)]) })
}

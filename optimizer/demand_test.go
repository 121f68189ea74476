package optimizer

import (
	"math/rand/v2"
	"testing"
	"time"
)

// arriving feeds a class for a time with so many exchanges a second, and looks every ten seconds.
func arriving(d *demandSums, draw *rand.Rand, at time.Time, rate float64, span time.Duration, look func(passed time.Duration, l Load)) time.Time {
	begin, end, looked := at, at.Add(span), at
	for {
		if rate > 0 {
			at = at.Add(time.Duration(draw.ExpFloat64() / rate * float64(time.Second)))
		} else {
			at = end
		}
		for ; !looked.After(at) && !looked.After(end); looked = looked.Add(10 * time.Second) {
			look(looked.Sub(begin), d.demand(looked))
		}
		if !at.Before(end) {
			return end
		}
		d.add(at, 100, 10)
	}
}

// What is expected of steady traffic does not waver with single exchanges, and follows it at once where it changes.
func TestDemandSums(t *testing.T) {
	t.Parallel()
	draw, d := rand.New(rand.NewPCG(1, 2)), &demandSums{}
	check := func(at time.Time, rate float64, span, from time.Duration, low, high float64) time.Time {
		t.Helper()
		return arriving(d, draw, at, rate, span, func(passed time.Duration, l Load) {
			if passed >= from && (l.Rate < low || l.Rate > high) {
				t.Errorf("%v/s for %v: %v/s", rate, passed, l.Rate)
			}
			if l.Rate > 0 && (l.Input < 99.9 || l.Input > 100.1 || l.Output < 9.99 || l.Output > 10.01) {
				t.Errorf("%v/s for %v: %+v", rate, passed, l)
			}
		})
	}
	at := check(noon, 10, 10*time.Second, 10*time.Second, 1, 12)
	at = check(at, 10, 30*time.Minute, 2*time.Minute, 8, 12)
	at = check(at, 10, 3*time.Hour, 0, 9.6, 10.4)
	at = check(at, 20, 10*time.Minute, 50*time.Second, 14, 22)
	at = check(at, 20, time.Hour, 20*time.Minute, 19.2, 20.8)
	at = check(at, 0, 10*time.Minute, 2*time.Minute, 0, .6)
	check(at, 10, 30*time.Minute, time.Minute, 7, 12)
}

// After the clock was set back, or ahead, rates are what they were within minutes, and at no time are they no numbers.
func TestDemandSums_ClockIsSet(t *testing.T) {
	t.Parallel()
	check := func(by, known time.Duration) {
		t.Helper()
		draw, d := rand.New(rand.NewPCG(7, 8)), &demandSums{}
		at := arriving(d, draw, noon, 10, time.Hour, func(time.Duration, Load) {})
		arriving(d, draw, at.Add(by), 10, 30*time.Minute, func(passed time.Duration, l Load) {
			if !(l.Rate >= 0 && l.Rate < 20) || !(l.Input >= 0 && l.Input < 100.1) || passed > known && (l.Rate < 8 || l.Rate > 12) {
				t.Errorf("set by %v, %v later: %+v", by, passed, l)
			}
		})
		at = at.Add(by + 30*time.Minute)
		arriving(d, draw, at, 0, 10*time.Minute, func(passed time.Duration, l Load) { // and what ends is seen to
			if !(l.Rate >= 0 && l.Rate < 12) || passed > 3*time.Minute && l.Rate > 1 {
				t.Errorf("set by %v, %v after the last: %v", by, passed, l.Rate)
			}
		})
	}
	for _, by := range []time.Duration{-time.Second, -20 * time.Second, -40 * time.Second, -5 * time.Minute, -24 * time.Hour} {
		check(by, 2*time.Minute)
	}
	check(time.Minute, 4*time.Minute)
	check(24*time.Hour, 4*time.Minute)
}

// A clock that was set back keeps nobody out until it is as late as it was.
func TestCollector_ClockIsSetBack(t *testing.T) {
	t.Parallel()
	c := NewCollector()
	k := &Known{Name: "r", Targets: []KnownTarget{{Name: "a", Available: false}}}
	c.Evidence(noon, k)
	k.Targets[0].Available = true
	now := noon.Add(-time.Hour)
	c.Evidence(now, k)
	if e := c.Evidence(now.Add(settleDown+time.Second), k); !e.Targets[0].Usual {
		t.Error("it is away until the time at which it was")
	}
	var f followed
	f.step(noon, .97, 0, -1)
	f.step(noon, .95, 0, -1)
	f.step(now, .95, 0, -1)
	if v := f.regretted(now.Add(limitRue - time.Second)); v != .97 {
		t.Errorf("rued: %v", v)
	}
	if v := f.regretted(now.Add(limitRue)); v != 0 {
		t.Errorf("rued a day later: %v", v)
	}
}

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

package ghost

import (
	"math"
	"testing"
	"time"
)

// What lies between the times that were followed is what a cache of such a time would have done.
func TestCurve_AtIsNearTheTruth(t *testing.T) {
	t.Parallel()
	trace := zipf(7, 200_000, 20_000, 0.9, 100)
	const size = 1 << 40
	coarse := New(Options{Sizes: []int64{size}, TTLs: []time.Duration{time.Minute, 5 * time.Minute, 20 * time.Minute}, Rate: 1, Samples: 100_000, Period: 1000 * time.Hour}, begin)
	fine := []time.Duration{20 * time.Second, time.Minute, 2 * time.Minute, 3 * time.Minute, 10 * time.Minute, 15 * time.Minute, 20 * time.Minute}
	exact := New(Options{Sizes: []int64{size}, TTLs: fine, Rate: 1, Samples: 100_000, Period: 1000 * time.Hour}, begin)
	for _, a := range trace {
		coarse.Access(a.key, a.bytes, a.money, a.time, a.at)
		exact.Access(a.key, a.bytes, a.money, a.time, a.at)
	}
	end := trace[len(trace)-1].at
	c, _ := coarse.Curve(end)
	e, _ := exact.Curve(end)
	for i, ttl := range fine {
		p, known := c.At(size, ttl)
		want := e.Points[i]
		if !known || math.Abs(p.HitRatio-want.HitRatio) > 0.02 || math.Abs(p.NanoUSD-want.NanoUSD) > 0.05*want.NanoUSD || math.Abs(p.Millis-want.Millis) > 0.05*want.Millis {
			t.Errorf("%v: %+v, want %+v", ttl, p, want)
		}
	}
}

func TestCurve_AtKnowsItsBounds(t *testing.T) {
	t.Parallel()
	c := Curve{Accesses: 10, Points: []Point{
		{Size: 1, TTL: time.Minute, HitRatio: 0, Hits: 0}, {Size: 1, TTL: time.Hour, HitRatio: .5, Hits: 5, NanoUSD: 50}, {Size: 1, HitRatio: .6, Hits: 6, NanoUSD: 60},
	}}
	check := func(size int64, ttl time.Duration, want float64, known bool) {
		t.Helper()
		p, got := c.At(size, ttl)
		if got != known || math.Abs(p.HitRatio-want) > 0.01 || math.Abs(p.NanoUSD-100*want) > 1 {
			t.Errorf("%d for %v: %+v, %t; want %v, %t", size, ttl, p, got, want, known)
		}
	}
	check(1, time.Second, 0, true)
	check(1, time.Hour, .5, true)
	check(1, 0, .6, true)
	check(1, 1000*time.Hour, .6, true)
	check(2, time.Hour, 0, false)
	c.Accesses = 0
	check(1, time.Hour, 0, false)
	last := -1.
	c.Accesses = 10
	for ttl := time.Second; ttl < 100*time.Hour; ttl += ttl/7 + 1 {
		if p, _ := c.At(1, ttl); p.HitRatio < last-1e-9 {
			t.Fatalf("%v: %v after %v", ttl, p.HitRatio, last)
		} else {
			last = p.HitRatio
		}
	}
}

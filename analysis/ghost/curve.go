package ghost

import "time"

// leastSample is how many accesses of the sample make a curve.
const leastSample = 100

// Curve says what caches would have done with the accesses of the last one to two periods.
type Curve struct {
	Points   []Point       `json:"points"`   // by size, then by time to live
	Span     time.Duration `json:"span"`     // what it is about
	Accesses float64       `json:"accesses"` // a second, all
	Sampled  float64       `json:"sampled"`  // accesses that it is computed from
	Keys     int           `json:"keys"`     // in the sample
	Rate     float64       `json:"rate"`     // share of the keys that is in the sample
}

// Point is one cache.
type Point struct {
	Size     int64         `json:"size"` // bytes
	TTL      time.Duration `json:"ttl"`  // 0: no limit
	HitRatio float64       `json:"hit_ratio"`
	Hits     float64       `json:"hits"`     // a second
	NanoUSD  float64       `json:"nano_usd"` // saved a second
	Millis   float64       `json:"millis"`   // saved a second
}

// Curve returns the curve as of now; false: fewer than 100 accesses of the sample.
func (c *Curves) Curve(now time.Time) (curve Curve, enough bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.turn(now)
	c.collect()
	a, b := &c.current, &c.previous
	curve.Span = now.Sub(b.began)
	curve.Keys, curve.Rate = len(c.keys), rateOf(c.threshold.Load())
	var all, sampled [measures]float64
	for m := range measures {
		all[m], sampled[m] = a.all[m]+b.all[m], a.sampled[m]+b.sampled[m]
	}
	curve.Sampled = sampled[byCount]
	seconds := curve.Span.Seconds()
	if curve.Sampled < leastSample || seconds <= 0 {
		return curve, false
	}
	curve.Accesses = all[byCount] / seconds
	for j, size := range c.sizes {
		for k, ttl := range c.limits {
			var saved [measures]float64
			for m := range measures {
				hits := a.hits[j*len(c.ttls)+k][m] + b.hits[j*len(c.ttls)+k][m]
				saved[m] = all[m] * share(hits, sampled[m], all[m]*curve.Rate)
			}
			p := Point{Size: size, TTL: ttl, Hits: saved[byCount] / seconds, NanoUSD: saved[byMoney] / seconds, Millis: saved[byTime] / seconds}
			p.HitRatio = saved[byCount] / all[byCount]
			curve.Points = append(curve.Points, p)
		}
	}
	return curve, true
}

// share is the share of hits. The sample has more accesses than expected when a popular key is in it, and fewer when one is not; those are
// accesses that any cache answers, so the difference is made up for as hits (the adjustment of SHARDS).
func share(hits, sampled, expected float64) float64 {
	if expected <= 0 {
		return 0
	}
	return min(max((hits+expected-sampled)/expected, 0), 1)
}

package ghost

import (
	"math"
	"time"
)

// At is what the cache of a size with any time to live would have done, between the points that were followed; false where there is no such size, or nothing
// is known. Between two times the odds of a hit are taken to be a power of the time, as they are of answers that are asked for at all rates at once. Below the
// shortest time it is the power of the two shortest; above the longest the odds stay.
func (c *Curve) At(size int64, ttl time.Duration) (p Point, known bool) {
	var low, high, next *Point // next is above high
	for i := range c.Points {
		q := &c.Points[i]
		switch at := limitOf(q.TTL); {
		case q.Size != size:
		case at <= limitOf(ttl):
			if low == nil || at > limitOf(low.TTL) {
				low = q
			}
		case high == nil || at < limitOf(high.TTL):
			high, next = q, high
		case next == nil || at < limitOf(next.TTL):
			next = q
		}
	}
	switch {
	case low == nil && high == nil || !(c.Accesses > 0):
		return Point{}, false
	case low == nil:
		return c.below(high, next, ttl), true
	case high == nil || low.TTL == ttl:
		p = *low
		p.TTL = ttl
		return p, true
	}
	to := high.TTL
	if to == 0 { // no limit: as good as a lifetime that is many times as long
		to = low.TTL * endless
	}
	return c.between(low, high, ttl, low.TTL, to), true
}

// endless is how many times the longest limit no limit is worth.
const endless = 16

func limitOf(ttl time.Duration) time.Duration {
	if ttl <= 0 {
		return math.MaxInt64
	}
	return ttl
}

// odds are those of a hit.
func (c *Curve) odds(p *Point) float64 {
	return max(p.Hits, 0) / max(c.Accesses-p.Hits, c.Accesses*1e-6)
}

// below is the point at a time below the shortest.
func (c *Curve) below(first, second *Point, ttl time.Duration) Point {
	a, power := c.odds(first), 1.
	if second != nil && second.TTL > 0 && a > 0 {
		power = min(max(math.Log(c.odds(second)/a)/math.Log(float64(second.TTL)/float64(first.TTL)), 0), 1)
	}
	if first.TTL > 0 {
		a *= math.Pow(float64(ttl)/float64(first.TTL), power)
	}
	return c.point(first, first, ttl, a, 1)
}

// between is the point at a time from from to to.
func (c *Curve) between(low, high *Point, ttl, from, to time.Duration) Point {
	a, b := c.odds(low), c.odds(high)
	if a > 0 && b > 0 {
		part := min(math.Log(float64(ttl)/float64(from))/math.Log(float64(to)/float64(from)), 1)
		return c.point(low, high, ttl, math.Exp(math.Log(a)+part*math.Log(b/a)), part)
	}
	part := float64(min(ttl, to)-from) / float64(to-from)
	return c.point(low, high, ttl, a+part*(b-a), part)
}

// point is the one with these odds, whose hits are worth something between two others'.
func (c *Curve) point(low, high *Point, ttl time.Duration, odds, part float64) Point {
	p := Point{Size: high.Size, TTL: ttl, HitRatio: odds / (1 + odds)}
	p.Hits = p.HitRatio * c.Accesses
	const least = 1e-12                              // hits a second
	worth := func(of func(*Point) float64) float64 { // of a hit
		y := of(high) / max(high.Hits, least)
		x := y
		if low.Hits > 0 {
			x = of(low) / low.Hits
		}
		return p.Hits * (x + part*(y-x))
	}
	p.NanoUSD, p.Millis = worth(func(q *Point) float64 { return q.NanoUSD }), worth(func(q *Point) float64 { return q.Millis })
	return p
}

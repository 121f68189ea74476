package optimizer

import (
	"fmt"
	"math"

	"llm-auto-optimizer/analysis"
	"llm-auto-optimizer/config"
)

// room is how many bytes the route should have: as long as a byte more saves at least what it would elsewhere.
func (c *CacheEvidence) room() float64 {
	room := 0.
	for i := 1; i < len(c.Sizes); i++ {
		a, b := c.Sizes[i-1], c.Sizes[i]
		switch slope := slopeOf(a, b); {
		case slope > c.Price:
			room = b.Bytes
		case slope == c.Price:
			return room + min(c.Left, b.Bytes-a.Bytes)
		}
	}
	return room
}

// saves is what so many bytes save, in US dollars a second.
func (c *CacheEvidence) saves(bytes float64) float64 {
	for i := 1; i < len(c.Sizes); i++ {
		if a, b := c.Sizes[i-1], c.Sizes[i]; bytes <= b.Bytes {
			return a.Saved + slopeOf(a, b)*max(bytes-a.Bytes, 0)
		}
	}
	if n := len(c.Sizes); n > 0 {
		return c.Sizes[n-1].Saved
	}
	return 0
}

// share bounds how much of the memory a route may have whose answers save less there than those of others would. What it gives up the others get by themselves.
func (t Caching) share(e *RouteEvidence) Proposal {
	c, now := e.Cache, e.InForce.Cache.Share
	switch {
	case !c.Divided || c.Price <= 0:
		if now > 0 && e.Static.Cache.Share <= 0 && !c.Divided {
			return Proposal{
				Changes:  []Change{{cacheShare, now, 0}},
				Reason:   "leave its part of the memory open: there is enough for all",
				Evidence: analysis.Reason{Method: "price of memory", Statistic: "US dollars a day for a MiB", Value: perDay(c.Price), Below: true},
			}
		}
		return Proposal{}
	case len(c.Sizes) < 2 || c.Memory <= 0:
		return Proposal{}
	}
	const parts = 100
	goal := max(math.Ceil(c.room()/c.Memory*parts)/parts, t.MinShare)
	has := now
	if has <= 0 {
		has = c.Held / c.Memory
	}
	if goal*t.MinFactor > has && (now <= 0 || goal < has*t.MinFactor) || goal >= 1 {
		return Proposal{}
	}
	own := slopeAt(c, min(has, goal)*c.Memory)
	p := Proposal{
		Changes: []Change{{cacheShare, now, goal}},
		Evidence: analysis.Reason{
			Method: "marginal saving of ghost caches", Statistic: "US dollars a day for a MiB more", Value: perDay(own), Threshold: perDay(c.Price), Below: own < c.Price,
		},
	}
	if goal < has {
		p.Reason = fmt.Sprintf("leave more of the memory to other routes, and keep up to %.0f %% of it: there it saves more", 100*goal)
		p.Expected = e.effect(c.saves(goal*c.Memory) - c.saves(has*c.Memory))
		return p
	}
	p.Reason = fmt.Sprintf("keep up to %.0f %% of the memory in place of %.0f %%: it saves more here than elsewhere", 100*goal, 100*has)
	return p // the saving is no share's to prove: all arms have the same memory
}

// slopeAt is what a byte more saves, from so many on.
func slopeAt(c *CacheEvidence, bytes float64) float64 {
	for i := 1; i < len(c.Sizes); i++ {
		if bytes < c.Sizes[i].Bytes {
			return slopeOf(c.Sizes[i-1], c.Sizes[i])
		}
	}
	return 0
}

const mib = 1 << 20

// perDay is a price for a MiB and a day.
func perDay(perByte float64) float64 { return perByte * mib * 24 * 3600 }

// worth is what an answer must have cost for its size: as much as makes its place worth the price of the memory, at the rate that answers are asked for again.
func (t Caching) worth(e *RouteEvidence) Proposal {
	c, now, own := e.Cache, e.InForce.Cache.Worth, e.Static.Cache.Worth
	goal := own
	hits, worth, accesses := 0., 0., 0.
	for class := range classes {
		if k := &c.Classes[class]; len(k.Curve.Points) > 0 {
			p, _ := k.Curve.At(k.Curve.Points[0].Size, seconds(e.InForce.Cache.TTL[class]))
			hits, worth, accesses = hits+p.Hits, worth+p.NanoUSD/1e9, accesses+k.Curve.Accesses
		}
	}
	if c.Divided && c.Price > 0 && c.Entry > 0 && c.Held > c.Entry && hits > 0 && worth > 0 {
		again := hits / (c.Held / c.Entry) // a second, of each answer that is kept
		goal = max(min(c.Price*mib/again/worthSpread, halfWorth*worth/hits/(c.Entry/mib)), own)
		goal = twoDigits(goal)
	}
	if goal <= now*t.MinFactor && goal*t.MinFactor >= now || goal == now {
		return Proposal{}
	}
	p := Proposal{
		Changes: []Change{{cacheWorth, now, goal}},
		Evidence: analysis.Reason{
			Method: "price of memory", Statistic: "US dollars a day for a MiB", Value: perDay(c.Price), Below: c.Price <= 0,
		},
	}
	if goal > now {
		p.Reason = fmt.Sprintf("keep answers only that have cost $%.3g for a MiB: memory of %s is short", goal, config.Size(int64(c.Memory)).String())
		return p
	}
	p.Reason = fmt.Sprintf("keep answers that have cost $%.3g for a MiB in place of $%.3g: memory is not so short any more", goal, now)
	if goal == 0 {
		p.Reason = "keep answers whatever they have cost: memory is not short any more"
	}
	return p
}

// twoDigits rounds a number above 0 down.
func twoDigits(v float64) float64 {
	if !(v > 0) {
		return 0
	}
	unit := math.Pow(10, math.Floor(math.Log10(v))-1)
	return math.Floor(v/unit) * unit
}

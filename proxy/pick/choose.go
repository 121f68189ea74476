package pick

import (
	"math"
	"time"
)

// Why says which step decided a choice.
type Why uint8

// The steps.
const (
	ByShare    Why = iota // the policy's shares, and load among equals
	ByChance              // exploration
	ByAffinity            // the prompt's prefix is likely in a cache there
	ByProbe               // a target on probation is tried
	ByPin                 // the request names it
	ByFallback            // the next of a fallback chain
	LastResort            // nothing better is left: ejected, or rate limited
	ByHedge               // the first attempt is late
	ByRoom                // there was no room within the limits of others, or is none anywhere and here first

	Whys = iota // number of steps
)

var whyNames = [...]string{"share", "exploration", "affinity", "probe", "pin", "fallback", "last_resort", "hedge", "room"}

// String is the step's name in logs and answers.
func (w Why) String() string {
	if int(w) >= len(whyNames) {
		return ""
	}
	return whyNames[w]
}

// Choice is a target for an attempt.
type Choice struct {
	Target *Target
	Why    Why
	// Propensity is the exact probability that this target was to be chosen, given the state and the policy at that moment; 0 where the choice
	// was forced, or made by a repetition.
	Propensity float64
}

// Refusal says why no target can be chosen.
type Refusal uint8

// The refusals.
const (
	NoRefusal  Refusal = iota
	NoTarget           // no target has a share, or all are drained
	AllEjected         // and the route is set to fail fast
	Saturated          // all are at their max_concurrency
	NoKey              // the keys of all targets were refused
	AllLimited         // all are rate limited
)

// candidates are the targets of one tier that may be chosen, and how much of their share counts.
type candidates struct {
	share [MaxTargets]float64 // 0: not to be chosen
	list  [MaxTargets]uint8   // indices with a share
	n     int
	total float64
	probe int // on probation, to be tried; -1: none

	capacity, out float64 // of all that are not drained, and of those ejected: the weights that their operator has given them
	full, keyless bool
	limited       bool
}

// gather looks at the targets of a tier. last takes ejected and rate limited ones for good.
func (r *Route) gather(c *candidates, tier []int, now int64, p *plan, q *Query, skip set, last bool) {
	c.n, c.total, c.probe, c.capacity, c.out = 0, 0, -1, 0, 0
	weights, capacity := p.weights[q.Class], p.capacity[q.Class]
	all := 0.
	for _, i := range tier {
		t, w := r.targets[i], weights[i]
		if last && w > 0 { // what has the traffic now is likely what is out
			w = capacity[i]
		}
		if w <= 0 || q.Dialect != 0 && t.spec.Dialect != q.Dialect {
			continue
		}
		c.share[i] = 0
		all += w
		s := t.state(now)
		switch s {
		case Drained:
			continue
		case KeyRefused:
			c.keyless = true
			continue
		case Out:
			if t.until.Load() == forever { // by hand, which is for good
				continue
			}
			c.out += capacity[i]
			w *= -1 // only in panic
		case Probation:
			c.out += capacity[i]
			w *= -1
			if c.probe < 0 && !skip.has(i) {
				c.probe = i
			}
		case SlowStart:
			w *= t.ramp(now)
		case Full:
			c.full = true
		}
		c.capacity += capacity[i]
		c.limited = c.limited || s == RateLimit
		if skip.has(i) || s == Full || (s == RateLimit || s == Paced) && !last {
			continue
		}
		c.share[i] = w
		c.list[c.n] = uint8(i)
		c.n++
		c.total += w
	}
	if c.out > 0 {
		c.settle(last, p.tuned[q.Class], all, capacity)
	}
	if missing := all - c.total; p.tuned[q.Class] && !last && missing > 1e-9*all {
		c.spread(missing, weights, capacity)
	}
}

// settle decides what ejected targets count for: nothing, unless more than half of the capacity is out. all is the sum of the weights; where they are
// tuned, what has most of the traffic need not be what takes most.
func (c *candidates) settle(last, tuned bool, all float64, capacity []float64) {
	part := 0.
	switch {
	case last:
		part = 1
	case c.out >= c.capacity: // fallbacks first, and then as a last resort
	case c.out > c.capacity/2:
		part = panicShare * (2*c.out/c.capacity - 1)
	}
	kept := 0
	c.total = 0
	for _, i := range c.list[:c.n] {
		if c.share[i] < 0 {
			c.share[i] *= -part
			if tuned && !last {
				c.share[i] = part * all * capacity[i] / c.capacity
			}
		}
		if c.share[i] > 0 {
			c.list[kept] = i
			kept++
			c.total += c.share[i]
		}
	}
	c.n = kept
}

// spread gives what a tuned policy would have sent to targets that do not take it to the others: in proportion to their shares, until those have grown by
// half, and from then on to what their operator has given them, since the next best alone could not take it all.
func (c *candidates) spread(missing float64, weights, capacity []float64) {
	if missing -= mostGrowth * c.total; missing <= 0 {
		return // shares are relative: the others have grown already
	}
	room, grown := 0., 1+mostGrowth
	for _, i := range c.list[:c.n] {
		room += capacity[i] * min(c.share[i]/weights[i], 1)
	}
	if room <= 0 {
		return
	}
	for _, i := range c.list[:c.n] {
		more := missing * capacity[i] * min(c.share[i]/weights[i], 1) / room / grown
		c.share[i] += more
		c.total += more
	}
}

// mostGrowth is how much more than its share a target gets because others are out, before those that have less are asked.
const mostGrowth = .5

// choose picks among the tiers, best first. skip are targets not to be chosen; last takes what is ejected or rate limited too.
func (r *Route) choose(now int64, p *plan, q *Query, skip set, last bool, draw uint64) (Choice, Refusal) {
	var c candidates
	capacity, out := 0., 0.
	for _, tier := range r.tiers {
		r.gather(&c, tier, now, p, q, skip, last)
		capacity, out = capacity+c.capacity, out+c.out
		if choice, ok := r.chooseIn(&c, now, p, q, draw); ok {
			if last {
				choice.Why, choice.Propensity = LastResort, 0
			}
			return choice, NoRefusal
		}
	}
	return Choice{}, c.refusal(capacity, out)
}

// refusal says why there are no candidates, after all tiers, of which capacity and out are the sums.
func (c *candidates) refusal(capacity, out float64) Refusal {
	switch {
	case c.full:
		return Saturated
	case c.limited:
		return AllLimited
	case c.keyless && capacity == 0:
		return NoKey
	case out > 0:
		return AllEjected
	default:
		return NoTarget
	}
}

// refuses says why the route's own targets can't serve the query, without choosing one.
func (r *Route) refuses(now int64, p *plan, q *Query) Refusal {
	var c candidates
	capacity, out := 0., 0.
	for _, tier := range r.tiers {
		r.gather(&c, tier, now, p, q, 0, false)
		if capacity, out = capacity+c.capacity, out+c.out; c.n > 0 || c.probe >= 0 {
			return NoRefusal
		}
	}
	return c.refusal(capacity, out)
}

func (r *Route) chooseIn(c *candidates, now int64, p *plan, q *Query, draw uint64) (Choice, bool) {
	unprobed := 1.
	if c.probe >= 0 {
		t := r.targets[c.probe]
		if last := t.probed.Load(); now-last >= int64(probeEvery) && t.probed.CompareAndSwap(last, now) || uniform(draw, 0) < probeShare {
			return Choice{Target: t, Why: ByProbe}, true
		}
		unprobed = 1 - probeShare
	}
	if c.n == 0 {
		return Choice{}, false
	}
	explore := uniform(draw, 1) < r.spec.Exploration
	if q.Prefix.n > 0 && c.n > 1 {
		if i, known := r.affine(c, p, q, now); i >= 0 {
			return r.byAffinity(c, i, known, explore, unprobed, draw), true
		}
	}
	group := p.group[q.Class]
	chosen, why := c.byShare(uniform(draw, 3)), ByShare
	if explore {
		chosen, why = int(c.list[below(draw, 2, c.n)]), ByChance
	}
	var members [MaxTargets]uint8
	n, share := c.equals(group, group[chosen], &members)
	within := 1.
	if n > 1 {
		chosen, within = r.lighter(c, members[:n], p, q, chosen, explore, draw)
	}
	propensity := unprobed * (r.spec.Exploration/float64(c.n) + (1-r.spec.Exploration)*share/c.total*within)
	return Choice{r.targets[chosen], why, propensity}, true
}

// byAffinity is the target that a prompt has its home at, unless it has none yet and exploration sends it elsewhere: what is in a cache is not explored
// with, that would cost a miss each time.
func (r *Route) byAffinity(c *candidates, home int, known, explore bool, unprobed float64, draw uint64) Choice {
	switch {
	case known:
		return Choice{Target: r.targets[home], Why: ByAffinity}
	case !explore:
		return Choice{r.targets[home], ByAffinity, unprobed * (1 - r.spec.Exploration + r.spec.Exploration/float64(c.n))}
	}
	i := int(c.list[below(draw, 2, c.n)])
	propensity := r.spec.Exploration / float64(c.n)
	if i == home {
		propensity += 1 - r.spec.Exploration
	}
	return Choice{r.targets[i], ByChance, unprobed * propensity}
}

// equals lists the targets of a group in members, and adds up their shares.
func (c *candidates) equals(group []uint8, of uint8, members *[MaxTargets]uint8) (n int, share float64) {
	for _, i := range c.list[:c.n] {
		if group[i] == of {
			members[n] = i
			n++
			share += c.share[i]
		}
	}
	return n, share
}

// byShare is the target at u, in [0, 1), of the shares laid end to end.
func (c *candidates) byShare(u float64) int {
	u *= c.total
	for _, i := range c.list[:c.n] {
		if u -= c.share[i]; u < 0 {
			return int(i)
		}
	}
	return int(c.list[c.n-1]) // rounding
}

// lighter is the one of two random members with the smaller load, and the probability that the choice falls on it: of n members, the one with
// l heavier and e equally heavy ones beside it wins (l + e/2) of n(n-1)/2 pairs. keep leaves the choice as it is.
func (r *Route) lighter(c *candidates, members []uint8, p *plan, q *Query, chosen int, keep bool, draw uint64) (int, float64) {
	var loads [MaxTargets]float64
	unseen, fresh := math.Inf(1), false
	k := q.kind()
	for m, i := range members {
		e := r.targets[i].times[k].expected()
		if loads[m] = e; e == 0 {
			fresh = true
		} else if e < unseen {
			unseen = e
		}
	}
	if math.IsInf(unseen, 1) {
		unseen = 1
	}
	weights := p.weights[q.Class]
	for m, i := range members {
		if fresh && loads[m] == 0 {
			loads[m] = unseen
		}
		loads[m] *= float64(r.targets[i].inFlight.Load()+1) * weights[i] / c.share[i] // less than its share: in slow start
	}
	n := len(members)
	at := 0
	if keep {
		for members[at] != uint8(chosen) {
			at++
		}
	} else {
		at = below(draw, 4, n)
		other := below(draw, 5, n-1)
		if other >= at {
			other++
		}
		if loads[other] < loads[at] || loads[other] == loads[at] && draw&1 == 0 {
			at = other
		}
	}
	heavier, equal := 0., 0.
	for m, load := range loads[:n] {
		switch {
		case m == at:
		case load > loads[at]:
			heavier++
		case load == loads[at]:
			equal++
		}
	}
	return int(members[at]), 2 * (heavier + equal/2) / float64(n*(n-1))
}

// uniform is the nth number in [0, 1) of a draw.
func uniform(draw, n uint64) float64 { return float64(mix(draw+n*gamma)>>11) / (1 << 53) }

// below is the nth number in [0, m) of a draw.
func below(draw, n uint64, m int) int { return int(uniform(draw, n) * float64(m)) }

const gamma = 0x9e3779b97f4a7c15

// mix is the finaliser of SplitMix64 (Steele, Lea, Flood 2014).
func mix(z uint64) uint64 {
	z += gamma
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// hashOf is FNV-1a, mixed.
func hashOf(s string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return mix(h)
}

// RetryIn is when the first target of the route may be tried again, for clients that are refused; at least a second.
func (r *Route) RetryIn(now time.Time) time.Duration {
	at, soonest := r.at(now), int64(forever)
	for _, t := range r.targets {
		for _, until := range []int64{t.until.Load(), t.limited.Load()} {
			if until > at && until < forever {
				soonest = min(soonest, until-at)
			}
		}
	}
	if soonest == forever {
		return time.Second
	}
	return max(time.Duration(soonest), time.Second)
}

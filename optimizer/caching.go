package optimizer

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"llm-auto-optimizer/analysis"
	"llm-auto-optimizer/analysis/ghost"
	"llm-auto-optimizer/config"
	"llm-auto-optimizer/proxy/policy"
)

// Caching is the tuner of the cache: how long answers are given out, by class, how much of the memory a route may have, and how much an answer must have cost for
// its size. It weighs what hits save, as ghosts of other caches have it, against what stale ones cost, as comparisons with answers that were fetched anew
// have it.
type Caching struct {
	MinTTL, MaxTTL time.Duration // the operator's own time may lie outside, and is a bound then
	MaxStale       float64       // part of the hits, that may be stale
	StaleCost      float64       // what a stale hit costs, in answers
	MinCompared    float64       // comparisons that a longer time needs, a quarter of them of answers older than a quarter of the one in force
	MinChanged     float64       // changes that a shorter time needs
	MinGain        float64       // part of the cost, that a longer time must save
	MinFactor      float64       // that a time to live must change by
	Step           float64       // a time to live becomes at most this many times longer
	MinShare       float64       // of the memory, that each route keeps
}

// DefaultCaching are the settings of the tuner of the cache.
var DefaultCaching = Caching{
	MinTTL: 30 * time.Second, MaxTTL: 7 * 24 * time.Hour, MaxStale: .01, StaleCost: 10, MinCompared: 100, MinChanged: 10, MinGain: .005, MinFactor: 1.25, Step: 4,
	MinShare: .02,
}

const (
	wideGrid    = 1.5 // ratio of the times that are tried at first
	fineGrid    = 1.05
	mostNoise   = .5  // of the answers, that may be others each time, for their age to tell anything
	leastNet    = .02 // of what hits save, that a shorter time must save in stale ones
	halfWorth   = .5  // of the mean worth of a route's answers, that none is refused above
	worthSpread = 2   // times less than the price that an answer may be worth: what is known of it is a mean
)

// Name implements Tuner.
func (Caching) Name() string { return "caching" }

// Owns implements Tuner.
func (Caching) Owns(parameter string) bool { return strings.HasPrefix(parameter, "cache_") }

// Why implements Untriable. Who is to keep answers longer finds those too that others have fetched, and who is to keep them shorter fetches for the others too: side by
// side both look many times better or worse than alone.
func (Caching) Why() string { return "all arms share the answers that are kept" }

// Propose implements Tuner.
func (t Caching) Propose(e *RouteEvidence) Proposal {
	c := e.Cache
	switch {
	case c == nil || !caches(&e.InForce):
		return Proposal{Reason: "the route keeps no answers"}
	case !c.sane() || !saneTTLs(&e.InForce) || !saneTTLs(&e.Static):
		return Proposal{Reason: "the evidence of the cache is damaged"}
	}
	shorter, longer, hold := t.times(e)
	if len(shorter.Changes) > 0 { // what gives out stale answers ends first
		return shorter
	}
	if len(longer.Changes) > 0 {
		return longer
	}
	if p := t.share(e); len(p.Changes) > 0 {
		return p
	}
	if p := t.worth(e); len(p.Changes) > 0 {
		return p
	}
	return Proposal{Reason: hold}
}

// sane tells whether all numbers that count can be.
func (c *CacheEvidence) sane() bool {
	const most = 1e15
	good := func(values ...float64) bool {
		for _, v := range values {
			if !(v >= 0 && v <= most) {
				return false
			}
		}
		return true
	}
	for i := range c.Classes {
		k := &c.Classes[i]
		for _, n := range []Compared{k.Compared, k.Young, k.Old} {
			if !good(n.All, n.Changed) || n.Changed > n.All+1e-6 {
				return false
			}
		}
		if !good(k.Change, k.Upper, k.Noise, k.Curve.Accesses) {
			return false
		}
		for _, p := range k.Curve.Points {
			if !good(p.Hits, p.NanoUSD, float64(p.Size), float64(p.TTL)) || p.Size != k.Curve.Points[0].Size {
				return false
			}
		}
	}
	last := CacheSize{-1, -1}
	for _, s := range c.Sizes {
		if !good(s.Bytes, s.Saved) || s.Bytes <= last.Bytes || s.Saved < last.Saved {
			return false
		}
		last = s
	}
	return good(c.Memory, c.Held, c.Entry, c.Price, c.Left)
}

// saneTTLs tells whether times to live can be told in nanoseconds.
func saneTTLs(p *policy.Parameters) bool {
	const most = 1e9 // 31 years
	for _, s := range p.Cache.TTL {
		if !(s >= 0 && s <= most) {
			return false
		}
	}
	return p.Cache.Share >= 0 && p.Cache.Share <= 1 && p.Cache.Worth >= 0 && p.Cache.Worth <= most
}

// bounds are what a class's time to live may become.
func (t Caching) bounds(static float64) (low, high time.Duration) {
	own := seconds(static)
	if own <= 0 {
		return t.MinTTL, t.MaxTTL
	}
	return min(t.MinTTL, own), max(t.MaxTTL, own)
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// net is what a time to live saves, less what stale hits cost, in US dollars a second.
func (t Caching) net(c *ghost.Curve, change float64, ttl time.Duration) float64 {
	p, _ := c.At(c.Points[0].Size, ttl)
	return p.NanoUSD / 1e9 * (1 - t.StaleCost*analysis.StaleShare(change, ttl))
}

// best is the time to live that saves most of answers that change so often, where no more than MaxStale of the hits may be stale. For answers that are all asked
// for at one rate that is analysis.TTL; the curve knows the rates of all.
func (t Caching) best(c *ghost.Curve, change, static float64) time.Duration {
	low, high := t.bounds(static)
	if change > 0 {
		if most := seconds(min(2*t.MaxStale/change, high.Seconds())); most < high {
			high = max(most, low)
		}
	}
	coarse := t.bestOf(c, change, low, high, wideGrid)
	return t.bestOf(c, change, max(low, time.Duration(float64(coarse)/wideGrid)), min(high, time.Duration(float64(coarse)*wideGrid)), fineGrid)
}

// bestOf tries times from low to high, each so many times longer than the one before. Where nothing tells them apart, as of answers that cost nothing, it is the one
// that answers most.
func (t Caching) bestOf(c *ghost.Curve, change float64, low, high time.Duration, ratio float64) time.Duration {
	best, most, hits := high, math.Inf(-1), math.Inf(-1)
	for ttl := float64(low); ; ttl *= ratio {
		at := min(time.Duration(ttl), high)
		p, _ := c.At(c.Points[0].Size, at)
		if v := t.net(c, change, at); v > most || v == most && p.Hits > hits {
			best, most, hits = at, v, p.Hits
		}
		if at >= high {
			return best
		}
	}
}

// readableTTLs are the times to live that people would set, as seconds, minutes, hours and days. A goal that wavers stays the same one.
var readableTTLs = func() (all []time.Duration) {
	for _, of := range []struct {
		unit  time.Duration
		steps []float64
	}{
		{time.Second, []float64{1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30, 40, 50}},
		{time.Minute, []float64{1, 1.25, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30, 40, 50}},
		{time.Hour, []float64{1, 1.25, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10, 12, 15, 20}},
		{24 * time.Hour, []float64{1, 1.25, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 10, 14, 20, 30, 60, 90, 180, 365}},
	} {
		for _, n := range of.steps {
			all = append(all, time.Duration(n*float64(of.unit)))
		}
	}
	return all
}()

// readable is the longest of them that is no longer.
func readable(d time.Duration) time.Duration {
	i, _ := slices.BinarySearch(readableTTLs, d+1)
	if i == 0 {
		return d
	}
	return readableTTLs[i-1]
}

// times are the proposals of shorter and of longer times to live; hold says why there are none.
func (t Caching) times(e *RouteEvidence) (shorter, longer Proposal, hold string) {
	holds := map[string][]string{}
	var short, long []string
	gained, lost := 0., 0.
	for class := range classes {
		k, from, static := &e.Cache.Classes[class], e.InForce.Cache.TTL[class], e.Static.Cache.TTL[class]
		now := seconds(from)
		if now <= 0 || len(k.Curve.Points) == 0 {
			continue // there is no traffic to speak of
		}
		goal, why, reason := t.goal(k, now, static)
		change := Change{cacheTTL + classNames[class], from, goal.Seconds()}
		text := fmt.Sprintf("%s ones for %s in place of %s", classNames[class], config.FormatDuration(goal), config.FormatDuration(now))
		switch {
		case goal < now:
			if shorter.Changes = append(shorter.Changes, change); len(short) == 0 {
				shorter.Reason, shorter.Evidence = why, reason
			}
			short, lost = append(short, text), lost+k.saved(now)-k.saved(goal)
		case goal > now:
			longer.Changes = append(longer.Changes, change)
			long, gained = append(long, text), gained+k.saved(goal)-k.saved(now)
		default:
			holds[why] = append(holds[why], classNames[class])
		}
	}
	if len(short) > 0 {
		shorter.Reason = fmt.Sprintf("keep answers shorter, %s: %s", strings.Join(short, ", "), shorter.Reason)
		shorter.Expected, shorter.Urgent = e.effect(-lost), true // it ends harm
	}
	if effect := e.effect(gained); len(long) > 0 && -effect.Relative >= t.MinGain {
		longer.Reason = fmt.Sprintf("keep answers longer, %s: they change so seldom that hits stay fresh, and more of them save more", strings.Join(long, ", "))
		longer.Evidence = analysis.Reason{Method: "ghost caches and hazard of change", Statistic: "part of the cost that is saved", Value: -effect.Relative, Threshold: t.MinGain}
		longer.Expected = effect
	} else {
		longer.Changes = nil
		for _, text := range long {
			class, _, _ := strings.Cut(text, " ")
			holds[gainsLittle] = append(holds[gainsLittle], class)
		}
	}
	return shorter, longer, holdOf(holds)
}

// Why a time to live stays.
const (
	gainsLittle  = "another time to live would save too little"
	fewCompared  = "too few answers were fetched anew to tell how often they change"
	differAlways = "answers differ however young they are, so that their age tells nothing: the model seems to answer otherwise each time"
	allIsWell    = "the time to live is what it should be, as far as is known"
)

// holdOf is why nothing is changed.
func holdOf(holds map[string][]string) string {
	var parts []string
	for _, why := range []string{differAlways, fewCompared, gainsLittle, allIsWell} {
		if names := holds[why]; len(names) > 0 {
			parts = append(parts, why+" ("+strings.Join(names, ", ")+")")
		}
	}
	if len(parts) == 0 {
		return "too few requests have come whose answers can be kept"
	}
	return strings.Join(parts, "; ")
}

// goal is what a class's time to live should become, or why it stays. Of a shorter one reason is what it rests on. A shorter time needs that it is likely to be
// better, a longer one that it is sure.
func (t Caching) goal(k *CacheClass, now time.Duration, static float64) (goal time.Duration, why string, reason analysis.Reason) {
	_, high := t.bounds(static)
	switch {
	case now > high:
		reason = analysis.Reason{Method: "bounds", Statistic: "seconds to live", Value: now.Seconds(), Threshold: high.Seconds()}
		return high, "none may live longer than " + config.FormatDuration(high), reason
	case k.Noise > mostNoise:
		return now, differAlways, reason
	case k.Young.All < leastYoung:
		return now, fewCompared, reason
	}
	best := t.best(&k.Curve, k.Upper, static)
	if likely := t.best(&k.Curve, k.Change, static); k.Compared.Changed >= t.MinChanged && float64(likely)*t.MinFactor < float64(now) {
		stale, shorter := analysis.StaleShare(k.Change, now), t.rounded(best, static)
		if stale > t.MaxStale*t.MinFactor {
			reason = analysis.Reason{Method: "hazard of change", Statistic: "part of the hits that is stale", Value: stale, Threshold: t.MaxStale}
			return shorter, fmt.Sprintf("more of the hits are stale than the %.3g %% that may be", 100*t.MaxStale), reason
		}
		if has, could := t.net(&k.Curve, k.Change, now), t.net(&k.Curve, k.Change, shorter); has < could*(1-leastNet) {
			reason = analysis.Reason{Method: "hazard of change", Statistic: "part of the saving that stale hits cost in addition", Value: 1 - has/could, Threshold: leastNet}
			return shorter, "what hits of that age save is less than what the stale ones among them cost", reason
		}
	}
	switch factor := float64(best) / float64(now); {
	case k.Compared.All < t.MinCompared || k.Old.All < t.MinCompared/4:
		return now, fewCompared, reason
	case factor > t.MinFactor:
		return max(now, t.rounded(min(best, time.Duration(t.Step*float64(now))), static)), allIsWell, reason
	}
	return now, allIsWell, reason
}

// rounded is a readable time within the bounds.
func (t Caching) rounded(d time.Duration, static float64) time.Duration {
	low, high := t.bounds(static)
	return min(max(readable(d), low), high)
}

// saved is what a time to live saves, in US dollars a second.
func (k *CacheClass) saved(ttl time.Duration) float64 {
	p, _ := k.Curve.At(k.Curve.Points[0].Size, ttl)
	return p.NanoUSD / 1e9
}

// effect is what it does to an exchange of the route that so many US dollars a second are saved.
func (e *RouteEvidence) effect(saved float64) Effect {
	rate, paid := 0., 0.
	for class := range classes {
		rate += e.Classes[class].Rate // what the cache has not answered
		if k := &e.Cache.Classes[class]; len(k.Curve.Points) > 0 {
			p, _ := k.Curve.At(k.Curve.Points[0].Size, seconds(e.InForce.Cache.TTL[class]))
			rate += p.Hits
			if p.Hits > 0 {
				paid += p.NanoUSD / 1e9 * (k.Curve.Accesses/p.Hits - 1)
			}
		}
	}
	if a := &e.Attempts; a.Count > 0 && a.Cost > 0 {
		all := 0.
		for class := range classes {
			all += e.Classes[class].Rate * a.Cost / a.Count
		}
		paid = max(paid, all)
	}
	if rate <= 0 || paid <= 0 {
		return Effect{}
	}
	return Effect{Cost: -saved / rate, Relative: max(-saved/paid, -1)}
}

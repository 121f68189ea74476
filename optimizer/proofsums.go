package optimizer

import (
	"math"
	"time"

	"llm-auto-optimizer/analysis/window"
	"llm-auto-optimizer/proxy/policy"
)

// groups is the number of parts that sessions are dealt into by their hash. All exchanges of a session are in the same one, so that what differs between
// the sums of groups tells how much a mean is off by chance, whatever the exchanges of a session have in common (random groups: Wolter, "Introduction to
// Variance Estimation", 2007, chapter 2). 24 cost 5 % of an interval's length against infinitely many.
const groups = 24

// The sides of the comparison.
const (
	treated = iota // all that the optimizer had a hand in: controls of trials too, and trials where span.whole says so
	holdback
	sides
)

// groupSums are those of exchanges of one side, class and group.
type groupSums struct {
	n, failed, violations, priced, waits uint32
	cost                                 float64 // US dollars, of those with a price
	size                                 float64 // thousand input tokens, as they were expected before the choice, of the same
	wait, logWait                        float64 // seconds, and their logarithms, of those that waited
}

// classSums are those of exchanges of one side and class.
type classSums struct {
	groups             [groups]groupSums
	squares, costSizes float64 // sums of size², and of cost times size, of those with a price
}

// span is a stretch of time of a route under one decision.
type span struct {
	from, to time.Time // of its exchanges; equal where it has none
	decision string    // in force; empty: none yet, or several
	mixed    bool      // several
	sums     [sides][classes]classSums
	tried    *[classes]classSums // of trials' own exchanges, which obeyed another decision; nil: none. They are no part of sums
}

// add takes an exchange in.
func (s *span) add(x *window.Exchange, group uint64) {
	side := treated
	if policy.Arm(x.Arm) == policy.Holdback {
		side = holdback
	}
	sums := &s.sums[side]
	if policy.Arm(x.Arm) == policy.Trial {
		if s.tried == nil {
			s.tried = &[classes]classSums{}
		}
		sums = s.tried
	}
	c := &sums[min(int(x.Class), classes-1)]
	g := &c.groups[group]
	g.n++
	if x.Failed {
		g.failed++
	}
	if x.Violation {
		g.violations++
	}
	if !x.Unpriced {
		cost, size := float64(max(x.CostNanoUSD, 0))/1e9, float64(max(x.Expected, 0))/1e3
		g.priced++
		g.cost += cost
		g.size += size
		c.squares += size * size
		c.costSizes += cost * size
	}
	if x.Wait > 0 {
		seconds := x.Wait.Seconds()
		g.waits++
		g.wait += seconds
		g.logWait += math.Log(seconds)
	}
	if x.At.After(s.to) {
		s.to = x.At
	}
}

// merge adds o, which follows s.
func (s *span) merge(o *span) {
	if s.from.IsZero() || !o.from.IsZero() && o.from.Before(s.from) {
		s.from = o.from
	}
	if o.to.After(s.to) {
		s.to = o.to
	}
	if s.decision != o.decision || o.mixed {
		s.mixed = true
	}
	for side := range s.sums {
		mergeClasses(&s.sums[side], &o.sums[side])
	}
	if o.tried != nil {
		own := [classes]classSums{}
		if s.tried != nil {
			own = *s.tried
		}
		mergeClasses(&own, o.tried)
		s.tried = &own // copies of a span share what they had
	}
}

func mergeClasses(to, from *[classes]classSums) {
	for class := range to {
		a, b := &to[class], &from[class]
		a.squares += b.squares
		a.costSizes += b.costSizes
		for i := range a.groups {
			a.groups[i].merge(&b.groups[i])
		}
	}
}

// whole counts the exchanges of trials to those outside of the hold-back: the optimizer had a hand in them too.
func (s *span) whole() *span {
	if s.tried != nil {
		mergeClasses(&s.sums[treated], s.tried)
		s.tried = nil
	}
	return s
}

func (g *groupSums) merge(o *groupSums) {
	g.n, g.failed, g.violations, g.priced, g.waits = g.n+o.n, g.failed+o.failed, g.violations+o.violations, g.priced+o.priced, g.waits+o.waits
	g.cost, g.size, g.wait, g.logWait = g.cost+o.cost, g.size+o.size, g.wait+o.wait, g.logWait+o.logWait
}

// total is what a side comes to over classes and groups.
func (s *span) total(side int) (sum groupSums) {
	for class := range s.sums[side] {
		for i := range s.sums[side][class].groups {
			sum.merge(&s.sums[side][class].groups[i])
		}
	}
	return sum
}

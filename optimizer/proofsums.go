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
	treated = iota // all that the optimizer had a hand in: trials and their controls too
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
}

// add takes an exchange in.
func (s *span) add(x *window.Exchange, group uint64) {
	side := treated
	if policy.Arm(x.Arm) == policy.Holdback {
		side = holdback
	}
	c := &s.sums[side][min(int(x.Class), classes-1)]
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
		for class := range s.sums[side] {
			a, b := &s.sums[side][class], &o.sums[side][class]
			a.squares += b.squares
			a.costSizes += b.costSizes
			for i := range a.groups {
				a.groups[i].merge(&b.groups[i])
			}
		}
	}
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

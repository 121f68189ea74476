package optimizer

import (
	"fmt"
	"math"
	"time"

	"llm-auto-optimizer/proxy/policy"
)

// Bounds are how fast and how often a tuner may change a route.
type Bounds struct {
	Step      float64       // share of the traffic that may move in StepEvery
	StepEvery time.Duration //
	Most      float64       // share that may move in MostEvery
	MostEvery time.Duration //
	Least     float64       // share that a decision must move
	CoolDown  time.Duration // between two decisions
	PerHour   int           // decisions; past that the route is frozen until an hour has fewer
}

// DefaultBounds are the guard's settings.
var DefaultBounds = Bounds{Step: .2, StepEvery: 30 * time.Second, Most: 1, MostEvery: 10 * time.Minute, Least: .02, CoolDown: time.Minute, PerHour: 6}

// guard keeps the changes that one tuner makes to one route within bounds. Whatever a tuner proposes, what it lets through is a policy that can be obeyed.
type guard struct {
	Bounds
	decided []time.Time        // of the last hour
	turns   []time.Time        // decisions that took back the one before, of the last MostEvery
	moved   []moved            // of the last MostEvery
	last    map[string]float64 // what the last decision wanted to change
}

type moved struct {
	at    time.Time
	share float64
}

// check says why a proposal may not become a decision; empty: it may.
func (g *guard) check(now time.Time, in *policy.Parameters, p *Proposal) (why string) {
	for i := range p.Changes {
		c := &p.Changes[i]
		from, known := valueOf(in, c.Name)
		switch {
		case !known:
			return fmt.Sprintf("there is no parameter %s", c.Name)
		case math.IsNaN(c.To) || math.IsInf(c.To, 0) || c.To < 0:
			return fmt.Sprintf("%s would be %v", c.Name, c.To)
		case from != c.From:
			return fmt.Sprintf("%s is %v and not %v any more", c.Name, from, c.From)
		case isWeight(c.Name) && from == 0:
			return fmt.Sprintf("%s is 0, and stays so", c.Name)
		}
	}
	next, err := apply(*in, p.Changes)
	if err != nil {
		return err.Error()
	}
	for class := range classes {
		total := 0.
		for _, t := range next.Targets {
			total += t.Weights[class]
		}
		if !(total > 0) {
			return "no target would have a weight"
		}
	}
	if d := distance(in, p.Changes); d > 0 && d < g.Least {
		return fmt.Sprintf("it would move %.1f %% of the traffic, %.0f %% is the least", 100*d, 100*g.Least)
	}
	g.decided = since(g.decided, now.Add(-time.Hour))
	switch {
	case len(g.decided) >= g.PerHour:
		return fmt.Sprintf("%d decisions within an hour: frozen", len(g.decided))
	case !p.Urgent && len(g.decided) > 0 && now.Sub(g.decided[len(g.decided)-1]) < g.CoolDown:
		return fmt.Sprintf("the last decision is less than %v ago", g.CoolDown)
	}
	return ""
}

// distance is the share of the traffic that changes of weights move, of the class in which that is most.
func distance(in *policy.Parameters, changes []Change) float64 {
	total := totals(in)
	var far [classes]float64
	for _, c := range changes {
		if _, class, ok := cutWeight(c.Name); ok {
			far[class] += math.Abs(c.To-c.From) / 2 / total[class]
		}
	}
	return max(far[0], far[1], far[2])
}

// totals are the sums of the weights.
func totals(in *policy.Parameters) (total [classes]float64) {
	for _, t := range in.Targets {
		for class, w := range t.Weights {
			total[class] += w
		}
	}
	return total
}

// note counts a decision.
func (g *guard) note(now time.Time, p *Proposal) {
	g.decided = append(g.decided, now)
	if g.along(p) < 0 {
		g.turns = append(since(g.turns, now.Add(-g.MostEvery)), now)
	}
	g.last = map[string]float64{}
	for _, c := range p.Changes {
		g.last[c.Name] = c.To - c.From
	}
}

// along is above 0 where a proposal goes the way of the last decision, and below 0 where it takes that back.
func (g *guard) along(p *Proposal) (sum float64) {
	for _, c := range p.Changes {
		sum += (c.To - c.From) * g.last[c.Name]
	}
	return sum
}

// most is the share of the traffic that may move now, dt after the last time.
func (g *guard) most(now time.Time, dt time.Duration, urgent bool) float64 {
	step := g.Step * g.elapsed(dt)
	if urgent {
		return step
	}
	if g.turns = since(g.turns, now.Add(-g.MostEvery)); len(g.turns) >= 4 {
		step /= 2
	}
	kept, sum := g.moved[:0], 0.
	for _, m := range g.moved {
		if m.at.After(now.Add(-g.MostEvery)) {
			kept, sum = append(kept, m), sum+m.share
		}
	}
	g.moved = kept
	return max(0, min(step, g.Most-sum))
}

// elapsed is dt as a part of the time that one step takes.
func (g *guard) elapsed(dt time.Duration) float64 { return min(1, dt.Seconds()/g.StepEvery.Seconds()) }

// since drops what is older.
func since(times []time.Time, from time.Time) []time.Time {
	for len(times) > 0 && times[0].Before(from) {
		times = times[1:]
	}
	return times
}

func isWeight(name string) bool {
	_, _, ok := cutWeight(name)
	return ok
}

package optimizer

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"llm-auto-optimizer/config"
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
	PerHour   int           // decisions of all tuners of a route; past that it is frozen until an hour has fewer
}

// DefaultBounds are the guard's settings.
var DefaultBounds = Bounds{Step: .2, StepEvery: 20 * time.Second, Most: 1, MostEvery: 10 * time.Minute, Least: .02, CoolDown: time.Minute, PerHour: 6}

// GuardState is what the guard of a tuner on a route remembers.
type GuardState struct {
	Others   int                `json:"others,omitempty"`   // decisions of the route's other tuners in the last hour
	Reserved int                `json:"reserved,omitempty"` // that are left to them
	Decided  []time.Time        `json:"decided,omitempty"`  // of the last hour
	Turns    []time.Time        `json:"turns,omitempty"`    // decisions that took back the one before, of the last MostEvery
	Moved    []Moved            `json:"moved,omitempty"`    // of the last MostEvery
	Last     map[string]float64 `json:"last,omitempty"`     // what the last decision wanted to change
	// Emergency says that an incident has changed the mix since the last decision: the next one is a part of it, and is not counted.
	Emergency bool `json:"emergency,omitempty"`
}

// Moved is a step that has moved traffic.
type Moved struct {
	At    time.Time `json:"at"`
	Share float64   `json:"share"`
}

// clone is a copy that stays as it is.
func (g *GuardState) clone() *GuardState {
	return &GuardState{g.Others, g.Reserved, slices.Clone(g.Decided), slices.Clone(g.Turns), slices.Clone(g.Moved), maps.Clone(g.Last), g.Emergency}
}

// guard keeps the changes that one tuner makes to one route within bounds. Whatever a tuner proposes, what it lets through is a policy that can be obeyed.
type guard struct {
	Bounds
	GuardState
}

// impossible says why a proposal can't be obeyed; empty: it can. A weight that an operator has set to 0 stays so.
func impossible(in, static *policy.Parameters, p *Proposal) (why string) {
	for i := range p.Changes {
		c := &p.Changes[i]
		from, known := valueOf(in, c.Name)
		switch own, _ := valueOf(static, c.Name); {
		case !known:
			return fmt.Sprintf("there is no parameter %s", c.Name)
		case math.IsNaN(c.To) || math.IsInf(c.To, 0) || c.To < 0:
			return fmt.Sprintf("%s would be %v", c.Name, c.To)
		case from != c.From:
			return fmt.Sprintf("%s is %v and not %v any more", c.Name, from, c.From)
		case notNone(c.Name) && c.To == 0:
			return fmt.Sprintf("%s would be none", c.Name)
		case c.To > mostOf(c.Name):
			return fmt.Sprintf("%s would be %v, %v is the most", c.Name, c.To, mostOf(c.Name))
		case isWeight(c.Name) && own == 0:
			return fmt.Sprintf("%s is 0, and stays so", c.Name)
		}
	}
	next, err := apply(*in, p.Changes)
	if err != nil {
		return err.Error()
	}
	for class, total := range totals(&next) {
		if !(total > 0) {
			return fmt.Sprintf("no target would have a weight for %s exchanges", classNames[class])
		}
	}
	return ""
}

// check says why a proposal may not become a decision; empty: it may.
func (g *guard) check(now time.Time, in, static *policy.Parameters, p *Proposal) (why string) {
	if why := impossible(in, static, p); why != "" {
		return why
	}
	if d := distance(in, p.Changes); d > 0 && d < g.Least {
		return fmt.Sprintf("it would move %.1f %% of the traffic, %.0f %% is the least", 100*d, 100*g.Least)
	}
	g.Decided = since(g.Decided, now.Add(-time.Hour))
	if g.Emergency {
		return ""
	}
	turns := !p.Urgent && len(g.Decided) > 0 && along(g.Last, p.Changes) < 0
	switch {
	case turns && p.Expected.Relative > -turnSaving:
		return fmt.Sprintf("it would take the last decision back, of less than an hour ago, for less than %.0f %% of the cost", 100*turnSaving)
	case len(g.Decided) > 0 && len(g.Decided)+g.Others+g.Reserved >= g.PerHour, g.Others >= g.PerHour:
		return fmt.Sprintf("%d decisions within an hour: frozen", len(g.Decided)+g.Others)
	case g.cooling(now, p):
		return "the last decision is less than " + config.FormatDuration(g.CoolDown) + " ago"
	}
	return ""
}

// cooling tells whether a proposal only has to wait a little.
func (g *guard) cooling(now time.Time, p *Proposal) bool {
	return !p.Urgent && len(g.Decided) > 0 && now.Sub(g.Decided[len(g.Decided)-1]) < g.CoolDown
}

// turnSaving is the part of the cost that a decision must save which takes the last one back within the hour: prices that are equal take turns in being lower.
const turnSaving = .05

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
	if !g.Emergency {
		g.Decided = append(g.Decided, now)
		if along(g.Last, p.Changes) < 0 {
			g.Turns = append(since(g.Turns, now.Add(-g.MostEvery)), now)
		}
	}
	g.Emergency = false
	g.Last = directions(p.Changes)
}

// directions are what changes add to the parameters, by name.
func directions(changes []Change) map[string]float64 {
	d := map[string]float64{}
	for _, c := range changes {
		d[c.Name] = c.To - c.From
	}
	return d
}

// along is above 0 where changes go the way of earlier ones, and below 0 where they take those back.
func along(earlier map[string]float64, changes []Change) (sum float64) {
	for _, c := range changes {
		sum += (c.To - c.From) * earlier[c.Name]
	}
	return sum
}

// most is the share of the traffic that may move now, dt after the last time.
func (g *guard) most(now time.Time, dt time.Duration, urgent bool) float64 {
	step := g.Step * g.elapsed(dt)
	g.Moved = slices.DeleteFunc(g.Moved, func(m Moved) bool { return !m.At.After(now.Add(-g.MostEvery)) })
	if urgent {
		return step
	}
	if g.Turns = since(g.Turns, now.Add(-g.MostEvery)); len(g.Turns) >= 4 {
		step /= 2
	}
	sum := 0.
	for _, m := range g.Moved {
		sum += m.Share
	}
	return max(0, min(step, g.Most-sum))
}

// elapsed is dt as a part of the time that one step takes.
func (g *guard) elapsed(dt time.Duration) float64 { return min(1, dt.Seconds()/g.StepEvery.Seconds()) }

// A target may get so much more of its own share in one step; in any case half of what may move.
const moreLoad = .5

// step takes a part of the way that the guard allows. moved is the share of traffic that it moves, of the class that moves most.
func (g *guard) step(now time.Time, dt time.Duration, in *policy.Parameters, p *Proposal) (next policy.Parameters, share float64, err error) {
	far, total := distance(in, p.Changes), totals(in)
	part := 1.
	if far > 0 {
		part = min(1, g.most(now, dt, p.Urgent)/far)
	}
	for _, c := range p.Changes { // what gets more may be at the end of its capacity, which has to be seen first
		if _, class, ok := cutWeight(c.Name); ok && c.To > c.From {
			part = min(part, max(c.From*moreLoad, g.Step/2*total[class])*g.elapsed(dt)/(c.To-c.From))
		}
	}
	if part <= 0 {
		return *in, 0, nil
	}
	changes := make([]Change, 0, len(p.Changes))
	for _, c := range p.Changes {
		if isWeight(c.Name) && part < 1 {
			c.To = c.From + part*(c.To-c.From)
		}
		changes = append(changes, c)
	}
	if next, err = apply(*in, changes); err != nil {
		return *in, 0, err
	}
	if far > 0 {
		g.Moved = append(g.Moved, Moved{now, part * far})
	}
	return next, max(part*far, 1e-9), nil
}

// since drops what is older.
func since(times []time.Time, from time.Time) []time.Time {
	for len(times) > 0 && times[0].Before(from) {
		times = times[1:]
	}
	return times
}

func isTTL(name string) bool {
	_, ok := cutTTL(name)
	return ok
}

func isWeight(name string) bool {
	_, _, ok := cutWeight(name)
	return ok
}

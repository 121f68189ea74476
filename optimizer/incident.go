package optimizer

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"llm-auto-optimizer/proxy/policy"
)

// incidents takes targets that are out for now out of a tuned mix, so that the mix of the others can be tuned meanwhile, and puts them back as they were. The
// reflexes have moved the traffic by then; this only makes their emergency the mix to start from. It belongs to the loop, and is no tuner's decision.
type incidents struct {
	parked map[string][classes]float64 // shares before, by target
}

const (
	parkFrom  = .1   // share from which on a target that is out is worth it
	parkShare = .002 // that it keeps, for probes
	// mostGrowth mirrors what the picker does with the traffic of targets that are out: the others grow by this much by their shares, then by the operator's weights.
	mostGrowth = .5
)

// incidentsOf is the tuner whose mode says whether incidents may move weights: they are its own.
const incidentsOf = "routing"

// move is a change that an incident makes. commit notes that it is in force.
type move struct {
	next   policy.Parameters
	reason string
	out    bool // a target has gone; else one is back
	commit func()
}

// step says what is to change; nil: nothing. What was parked comes back also where nothing may be parked any more. room is the share that a target can take.
func (x *incidents) step(k *Known, mayPark bool, room func(target string) float64) *move {
	for _, t := range k.Targets {
		_, parked := x.parked[t.Name]
		var m *move
		switch {
		case parked && (t.Available || t.Returning):
			m = x.restore(k, t.Name, room(t.Name))
		case mayPark && !parked && !t.Available && !t.Returning:
			m = x.park(k, t.Name)
		}
		if m != nil {
			return m
		}
	}
	return nil
}

// shares are the weights of a class, brought to a sum of 1; nil where there are none.
func shares(p *policy.Parameters, class int) map[string]float64 {
	total := totals(p)[class]
	if !(total > 0) {
		return nil
	}
	out := map[string]float64{}
	for name, t := range p.Targets {
		out[name] = t.Weights[class] / total
	}
	return out
}

func (x *incidents) park(k *Known, target string) *move {
	var before [classes]float64
	for class := range before {
		before[class] = shares(&k.InForce, class)[target] * x.whole(class, target)
	}
	most := max(before[0], before[1], before[2])
	if most < parkFrom {
		return nil
	}
	n := k.InForce
	n.Targets = maps.Clone(n.Targets)
	for class := range before {
		mix := x.withoutAway(k, class)
		if mix == nil {
			return nil
		}
		mix[target] = min(parkShare, before[class])
		setShares(&n, class, mix)
	}
	return &move{n, fmt.Sprintf("%s is out: its %.0f %% go to the others, whose mix is tuned meanwhile", target, 100*most), true, func() {
		if x.parked == nil {
			x.parked = map[string][classes]float64{}
		}
		x.parked[target] = before
	}}
}

// withoutAway are the shares of a class as the picker makes them while targets are out; nil where all are.
func (x *incidents) withoutAway(k *Known, class int) map[string]float64 {
	mix, static := shares(&k.InForce, class), shares(&k.Static, class)
	open, room := 0., 0.
	for _, t := range k.Targets {
		if t.Available || t.Returning {
			open, room = open+mix[t.Name], room+static[t.Name]
		}
	}
	if open <= 0 || room <= 0 {
		return nil
	}
	missing := max(0, 1-open-mostGrowth*open) / (1 + mostGrowth)
	for _, t := range k.Targets {
		if t.Available || t.Returning {
			mix[t.Name] += missing * static[t.Name] / room
		}
	}
	return mix
}

// whole is the part of the traffic that is left to a target and to those that are not parked: the others had the rest.
func (x *incidents) whole(class int, target string) float64 {
	left := 1.
	for name, before := range x.parked {
		if name != target {
			left -= before[class]
		}
	}
	return max(left, 0)
}

// restore gives a target its share again, as far as it can take it. The picker lets it have it little by little.
func (x *incidents) restore(k *Known, target string, room float64) *move {
	before := x.parked[target]
	n := k.InForce
	n.Targets = maps.Clone(n.Targets)
	for class, share := range before {
		mix := shares(&k.InForce, class)
		if mix == nil {
			return nil
		}
		share = min(share/max(x.whole(class, target), share, 1e-9), 1, room)
		rest := 1 - mix[target]
		for name := range mix {
			if rest > 0 {
				mix[name] *= (1 - share) / rest
			}
		}
		mix[target] = share
		setShares(&n, class, mix)
	}
	return &move{n, target + " is back, and has its share again", false, func() { delete(x.parked, target) }}
}

// setShares writes the shares of a class, with the sum that its weights have.
func setShares(p *policy.Parameters, class int, mix map[string]float64) {
	total, sum := totals(p)[class], 0.
	for _, share := range mix {
		sum += share
	}
	for name, t := range p.Targets {
		t.Weights[class] = mix[name] / sum * total
		p.Targets[name] = t
	}
}

// stepIncident makes room for tuning while a target is out.
func (l *Loop) stepIncident(now time.Time, r *routeLoop, c *change) []Decision {
	k := *c.known
	k.InForce = c.next
	if l.orders.pinsWeights(now, r.name) { // an operator looks after the mix
		r.parked = nil
		return nil
	}
	m := r.incidents.step(&k, l.mode(r.name, incidentsOf) >= Canary, func(target string) float64 { return l.room(r.name, target, now) })
	if m == nil {
		return nil
	}
	d := []Decision{{
		At: now, Route: r.name, Tuner: "incident", Verdict: Applied, Proposal: Proposal{Reason: m.reason, Changes: Differences(&c.next, &m.next)},
	}}
	if r.trial != nil {
		d = append(d, l.giveUp(now, r, c, "a target has gone out, or has come back"))
	}
	for _, tuner := range slices.Sorted(maps.Keys(r.goals)) {
		if g := r.goals[tuner]; slices.ContainsFunc(g.Changes, func(ch Change) bool { return isWeight(ch.Name) }) {
			d = append(d, Decision{
				ID: g.ID, At: now, Route: r.name, Tuner: tuner, Verdict: RolledBack, Why: "a target has gone out, or has come back: it stays where it has come to",
				Proposal: Proposal{Reason: "ended the way of " + g.ID},
			})
			c.commits = append(c.commits, func() { delete(r.goals, tuner) })
		}
	}
	c.next, c.changed = m.next, true
	c.commits = append(c.commits, m.commit, func() { r.emergency(m.out) })
	return d
}

// emergency has the tuner of weights begin anew with the mix that an incident leaves: what it did before was about another one, and the first decision
// about this one belongs to the incident.
func (r *routeLoop) emergency(out bool) {
	delete(r.ramps, incidentsOf)
	if g := r.guards[incidentsOf]; g != nil {
		g.Moved, g.Emergency = nil, out
		if !out {
			g.Last = nil // the incident was taken back, there is nothing more to take back
		}
	}
}

package optimizer

import (
	"time"

	"llm-auto-optimizer/proxy/policy"
)

// Plant is what the loop acts on.
type Plant interface {
	// Known is what is known of all routes at the moment.
	Known(now time.Time) []Known
	// Publish puts changed routes in force, by name. An error means that somebody else has changed the policy since Known: nothing is changed then.
	Publish(routes map[string]policy.Parameters) error
}

// Settings are the loop's.
type Settings struct {
	Bounds Bounds
	Modes  map[string]Mode // by tuner; others observe
}

// Loop is the optimizer. It is not safe for concurrent use.
type Loop struct {
	*Collector
	plant    Plant
	settings Settings
	tuners   []Tuner
	routes   map[string]*routeLoop
}

// routeLoop is a route's state in the loop.
type routeLoop struct {
	guards map[string]*guard // by tuner: no two own the same parameter, so that none has to wait because of another
	ramps  map[string]*ramp  // under way, by tuner
	incidents
	said map[string]string
}

// ramp is a decision on its way to its goal, in steps.
type ramp struct {
	at    time.Time // of the last step
	moved time.Time // of the last one that moved anything
}

// incidentsOf is the tuner whose mode says whether incidents may move weights: they are its own.
const incidentsOf = "routing"

// rampOpen is how long a decision may stand still before it is over.
const rampOpen = 5 * time.Minute

// New returns a loop.
func New(plant Plant, s Settings, tuners ...Tuner) *Loop {
	return &Loop{Collector: NewCollector(), plant: plant, settings: s, tuners: tuners, routes: map[string]*routeLoop{}}
}

// Step is one cycle. It returns what was decided; holds are left out where nothing has changed since the cycle before.
func (l *Loop) Step(now time.Time) (decisions []Decision) {
	changed := map[string]policy.Parameters{}
	var commits []func()
	for _, known := range l.plant.Known(now) {
		r := l.routes[known.Name]
		if r == nil {
			r = &routeLoop{guards: map[string]*guard{}, ramps: map[string]*ramp{}, said: map[string]string{}}
			for _, t := range l.tuners {
				r.guards[t.Name()] = &guard{Bounds: l.settings.Bounds}
			}
			l.routes[known.Name] = r
		}
		if l.settings.Modes[incidentsOf] >= Canary {
			if m := r.incidents.step(&known); m != nil {
				known.InForce, changed[known.Name] = m.next, m.next
				commits = append(commits, m.commit)
				decisions = append(decisions, Decision{At: now, Route: known.Name, Tuner: "incident", Verdict: Applied, Proposal: Proposal{Reason: m.reason}})
			}
		}
		e := l.Evidence(now, &known)
		for _, t := range l.tuners {
			d := r.decide(now, t, l.settings.Modes[t.Name()], &e)
			if d.next != nil {
				changed[known.Name] = *d.next
				e.InForce = *d.next
			}
			if said := string(d.Verdict) + d.Reason + d.Why; d.tell && said != r.said[t.Name()] {
				r.said[t.Name()] = said
				decisions = append(decisions, d.Decision)
			}
		}
	}
	if len(changed) == 0 || l.plant.Publish(changed) != nil { // the next cycle sees what is in force then
		return decisions
	}
	for _, commit := range commits {
		commit()
	}
	return decisions
}

// outcome is a decision with what it does.
type outcome struct {
	Decision
	next *policy.Parameters
	tell bool
}

// decide has a tuner propose, and takes the proposal as far as mode and guard allow.
func (r *routeLoop) decide(now time.Time, t Tuner, mode Mode, e *RouteEvidence) (o outcome) {
	o = outcome{Decision: Decision{At: now, Route: e.Name, Tuner: t.Name(), Verdict: Held, Proposal: t.Propose(e)}, tell: true}
	under, g := r.ramps[t.Name()], r.guards[t.Name()]
	if under != nil && now.Sub(under.moved) > rampOpen {
		delete(r.ramps, t.Name())
		under = nil
	}
	if len(o.Changes) == 0 || mode == Observe {
		return o
	}
	for _, c := range o.Changes {
		if !t.Owns(c.Name) {
			o.Verdict, o.Why = Refused, "it does not own "+c.Name
			return o
		}
	}
	if under == nil || g.along(&o.Proposal) <= 0 {
		under = nil
		if o.Why = g.check(now, &e.InForce, &o.Proposal); o.Why != "" {
			o.Verdict = Refused
			return o
		}
	}
	if mode == Recommend {
		o.Verdict = Recommended
		return o
	}
	o.Verdict = Applied
	if under == nil {
		g.note(now, &o.Proposal)
		under = &ramp{at: now.Add(-g.StepEvery), moved: now}
		r.ramps[t.Name()] = under
	} else {
		o.tell = false
	}
	next, moved, err := g.step(now, now.Sub(under.at), &e.InForce, &o.Proposal)
	if err != nil {
		o.Verdict, o.Why = Refused, err.Error()
		return o
	}
	under.at = now
	if moved > 0 {
		under.moved = now
		o.next = &next
	}
	return o
}

const (
	moreLoad  = .5 // of its share, that a target may get more in one step
	leastRise = .1 // share that it may get more in any case
)

// step takes a part of the way that the guard allows. moved is the share of traffic that it moves, of the class that moves most.
func (g *guard) step(now time.Time, dt time.Duration, in *policy.Parameters, p *Proposal) (next policy.Parameters, share float64, err error) {
	far, total := distance(in, p.Changes), totals(in)
	part := 1.
	if far > 0 {
		part = min(1, g.most(now, dt, p.Urgent)/far)
	}
	for _, c := range p.Changes { // what gets more may be at the end of its capacity, which has to be seen first
		if _, class, ok := cutWeight(c.Name); ok && c.To > c.From {
			part = min(part, max(c.From*moreLoad, leastRise*total[class])*g.elapsed(dt)/(c.To-c.From))
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
	g.moved = append(g.moved, moved{now, part * far})
	return next, max(part*far, 1e-9), nil
}

package optimizer

import (
	"fmt"
	"slices"
	"time"
)

// stepTuner has a tuner go on with what it has under way, or propose, and takes the proposal as far as mode and guard allow.
func (l *Loop) stepTuner(now time.Time, r *routeLoop, t Tuner, e *RouteEvidence, c *change, frozen string) []Decision {
	mode := l.mode(r.name, t.Name())
	if g := r.goals[t.Name()]; g != nil {
		switch {
		case frozen != "":
			g.Moved = now // it waits
		case r.stepGoal(now, l.guard(now, r, t.Name()), g, c):
			delete(r.goals, t.Name())
		}
		return nil
	}
	if r.trial != nil {
		return nil
	}
	d := Decision{At: now, Route: r.name, Tuner: t.Name(), Mode: mode, Verdict: Held}
	if f, fenced := l.fences[t.Name()]; fenced {
		if now.Before(f.Until) {
			return nil
		}
		delete(l.fences, t.Name())
	}
	l.settings.Phase(PhaseDecide, t.Name())
	p, failed := propose(t, e.clone()) // what is in force must not depend on how a tuner behaves
	if failed != "" {
		return []Decision{l.Fence(now, t.Name(), r.name, failed)}
	}
	l.settings.Phase(PhaseGuard, t.Name())
	d.Pinned = l.orders.pinned(now, r.name)
	d.Proposal = p.without(d.Pinned)
	if len(d.Changes) == 0 || mode == Observe {
		return []Decision{d}
	}
	g := l.guard(now, r, t.Name())
	d.Evidence, d.Settings, d.Guard, d.Bounds = e.clone(), l.writing[t.Name()], g.clone(), &g.Bounds
	out, tell := l.decide(now, r, t, c, frozen, d)
	if !tell {
		return nil
	}
	return []Decision{out}
}

// decide takes a proposal as far as mode and guard allow. tell is false where it only goes on with what was told.
func (l *Loop) decide(now time.Time, r *routeLoop, t Tuner, c *change, frozen string, d Decision) (_ Decision, tell bool) {
	name := t.Name()
	under, g := r.ramps[name], r.guards[name]
	if under != nil && (d.Mode < Auto || now.Sub(under.moved) > rampOpen || along(g.Last, d.Changes) <= 0) {
		delete(r.ramps, name)
		under = nil
	}
	if why := l.objection(now, r, t, frozen, &d); why != "" {
		d.Verdict, d.Why, d.Guard = Refused, why, nil
		return d, true
	}
	if why := impossible(&c.next, &c.known.Static, &d.Proposal); under != nil && why != "" {
		d.Verdict, d.Why, d.Guard = Refused, why, nil
		return d, true
	}
	if under == nil {
		if why := g.check(now, &c.next, &c.known.Static, &d.Proposal); why != "" {
			d.Verdict, d.Why = Refused, why
			if g.cooling(now, &d.Proposal) {
				d.Verdict = Held // it comes again
			}
			return d, true
		}
	}
	switch {
	case under == nil && d.Mode == Recommend:
		return l.recommend(now, r, d)
	case under == nil && d.Mode == Canary:
		if why := r.unsettled(c.known, d.Changes); why != "" {
			d.Verdict, d.Why, d.Guard = Held, why, nil
			return d, true
		}
		return l.begin(now, r, c, d), true
	case under == nil:
		d.ID = l.nextID()
		under = &ramp{at: now.Add(-g.StepEvery), moved: now}
		r.ramps[name] = under
		c.commits = append(c.commits, func() {
			g.note(now, &d.Proposal)
			l.made(now, &d)
		})
		tell = true
	}
	d.Verdict = Applied
	next, moved, err := g.step(now, now.Sub(under.at), &c.next, &d.Proposal)
	if err != nil {
		d.Verdict, d.Why = Refused, err.Error()
		return d, true
	}
	under.at = now
	if moved > 0 {
		under.moved = now
		c.next, c.changed = next, true
	}
	if !slices.ContainsFunc(d.Changes, func(ch Change) bool { return isWeight(ch.Name) }) {
		delete(r.ramps, name) // nothing of it is left to be done: what comes next is a decision of its own
	}
	return d, tell
}

// objection says what else than the guard's bounds keeps a proposal from becoming a decision; empty: nothing.
func (l *Loop) objection(now time.Time, r *routeLoop, t Tuner, frozen string, d *Decision) string {
	for _, ch := range d.Changes {
		if !t.Owns(ch.Name) {
			return "it does not own " + ch.Name
		}
	}
	if frozen != "" {
		return frozen
	}
	if b := r.backed[t.Name()]; b != nil && now.Before(b.until) && along(b.directions, d.Changes) > 0 {
		return b.why + ", not again before " + b.until.UTC().Format("15:04")
	}
	r.barred = slices.DeleteFunc(r.barred, func(b bar) bool { return !now.Before(b.Until) })
	for _, b := range r.barred {
		if along(b.Directions, d.Changes) > 0 {
			return b.Why + ", not again before " + b.Until.UTC().Format("2006-01-02 15:04")
		}
	}
	return ""
}

// guard is the guard of a tuner on a route, which knows how many decisions the others have made.
func (l *Loop) guard(now time.Time, r *routeLoop, tuner string) *guard {
	g := r.guards[tuner]
	if g == nil {
		g = &guard{Bounds: l.settings.Bounds}
		r.guards[tuner] = g
	}
	g.Others, g.Reserved = 0, 0
	for _, t := range l.tuners {
		if t.Name() == tuner || l.mode(r.name, t.Name()) < Canary {
			continue
		}
		if o := r.guards[t.Name()]; o != nil {
			o.Decided = since(o.Decided, now.Add(-time.Hour))
			g.Others += len(o.Decided)
		}
	}
	if len(l.tuners) > 0 && tuner != l.tuners[0].Name() { // the first, which moves most, shall not have to wait for the others
		g.Reserved = max(0, g.PerHour-g.PerHour/2-g.Others)
	}
	return g
}

// made notes that a decision is in force.
func (l *Loop) made(now time.Time, d *Decision) {
	l.orders.made(d)
	l.Proof.Mark(d.Route, d.ID, now)
}

// nextID is the next decision's ID.
func (l *Loop) nextID() string {
	l.decided++
	return fmt.Sprintf("d%d", l.decided)
}

// goal is a decision that is made, on its way.
type goal struct {
	ID      string    `json:"id"`
	At      time.Time `json:"at"` // of the last step
	Moved   time.Time `json:"-"`  // of the last one that moved anything; zero: it has waited for the process
	Changes []Change  `json:"changes"`
}

// stepGoal takes a step; done once there is nothing left to do.
func (r *routeLoop) stepGoal(now time.Time, bounds *guard, g *goal, c *change) (done bool) {
	p := Proposal{}
	for _, ch := range g.Changes {
		from, known := valueOf(&c.next, ch.Name)
		if !known {
			return true
		}
		if from != ch.To {
			p.Changes = append(p.Changes, Change{ch.Name, from, ch.To})
		}
	}
	if g.Moved.IsZero() { // of a run before
		g.At, g.Moved = now, now
	}
	if len(p.Changes) == 0 || now.Sub(g.Moved) > rampOpen {
		return true
	}
	next, moved, err := bounds.step(now, now.Sub(g.At), &c.next, &p)
	if err != nil {
		return true
	}
	g.At = now
	if moved > 0 {
		g.Moved = now
		c.next, c.changed = next, true
	}
	return false
}

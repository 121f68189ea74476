package optimizer

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"llm-auto-optimizer/proxy/policy"
)

// Order carries out what an operator wants. The error, of kind ErrOrder, says why it can't be.
func (l *Loop) Order(now time.Time, o Order) (d Decision, err error) {
	l.orders.expire(now)
	if o.For == 0 {
		o.For = defaultOrder
	}
	d = Decision{At: now, Route: o.Route, Tuner: "operator", Verdict: Ordered, By: o.By, Why: o.Why}
	switch o.Action {
	case Approve, Reject, Undo:
		err = l.orderDecision(now, &o, &d)
	case Freeze, Thaw, SetMode:
		err = l.orderStanding(now, &o, &d)
	case Pin, Unpin, Reset:
		err = l.orderParameters(now, &o, &d)
	default:
		err = fmt.Errorf("%w: action %q: not one of %v", ErrOrder, o.Action, Actions)
	}
	return d, err
}

// orderDecision is about what a tuner has decided, or wants to.
func (l *Loop) orderDecision(now time.Time, o *Order, d *Decision) error {
	d.ID = o.Decision
	if r := l.trialOf(o.Decision); r != nil {
		if o.Action == Approve {
			return fmt.Errorf("%w: decision %s is on trial already, and promoted when that shows no harm", ErrOrder, o.Decision)
		}
		d.Route, d.Tuner, d.Reason = r.name, r.trial.decision.Tuner, "ended the trial of "+o.Decision+r.trial.decision.what()
		return l.force(now, r.name, func(c *change) error {
			l.giveUp(now, r, c, "an operator has ended it"+reasonOf(o.Why))
			changes := r.trial.decision.Changes
			c.commits = append(c.commits, func() { r.bar(now, o, "an operator has ended the trial of the like", changes) })
			return nil
		})
	}
	if p := find(l.orders.Pending, o.Decision); p != nil && o.Action != Undo {
		d.Route, d.Tuner = p.Route, p.Tuner
		l.orders.Pending = slices.DeleteFunc(l.orders.Pending, func(x *Decision) bool { return x == p })
		r := l.routes[p.Route]
		switch {
		case r == nil:
			return fmt.Errorf("%w: route %s is no more, or set up anew", ErrOrder, p.Route)
		case o.Action == Reject:
			d.Reason = "rejected " + o.Decision + p.what()
			r.bar(now, o, "an operator has rejected the like", p.Changes)
		case l.orders.frozen(now, p.Route) != "":
			l.orders.Pending = append(l.orders.Pending, p)
			return fmt.Errorf("%w: route %s is frozen: thaw it first", ErrOrder, p.Route)
		case r.trial != nil:
			l.orders.Pending = append(l.orders.Pending, p)
			return fmt.Errorf("%w: decision %s is on trial, and would be measured with this one: undo it first, or wait", ErrOrder, r.trial.decision.ID)
		default:
			d.Reason, d.Expected, d.Changes, d.Verdict = "approved "+o.Decision+p.what(), p.Expected, p.Changes, Applied
			g := l.guard(now, r, p.Tuner)
			r.goals[p.Tuner] = &goal{ID: p.ID, At: now.Add(-g.StepEvery), Moved: now, Changes: p.Changes}
			g.note(now, &p.Proposal)
			p.At = now
			l.made(now, p)
		}
		return nil
	}
	m := find(l.orders.Made, o.Decision)
	if m == nil || o.Action != Undo {
		return fmt.Errorf("%w: there is no decision %q that could be taken for %s", ErrOrder, o.Decision, map[Action]string{
			Approve: "approved: it was never recommended, or is too old", Reject: "rejected: it is neither recommended nor on trial", Undo: "undone: it is not in force",
		}[o.Action])
	}
	if later := l.orders.after(m); later != nil {
		return fmt.Errorf("%w: decision %s has changed the same since: undo that first", ErrOrder, later.ID)
	}
	d.Route, d.Tuner, d.Reason = m.Route, m.Tuner, "undid "+o.Decision+m.what()
	return l.force(now, m.Route, func(c *change) error {
		back := make([]Change, 0, len(m.Changes))
		for _, ch := range m.Changes {
			from, _ := valueOf(&c.next, ch.Name)
			back = append(back, Change{ch.Name, from, ch.From})
		}
		next, err := apply(c.next, back)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrOrder, err)
		}
		d.Changes = back
		if r := l.routes[m.Route]; r.trial != nil {
			l.giveUp(now, r, c, "an operator has changed the route")
		}
		c.next, c.changed = next, true
		c.commits = append(c.commits, func() {
			r := l.routes[m.Route]
			l.orders.Made = slices.DeleteFunc(l.orders.Made, func(x *Decision) bool { return x == m })
			delete(r.goals, m.Tuner)
			delete(r.ramps, m.Tuner)
			l.Proof.Mark(m.Route, "undo-"+m.ID, now)
			r.parked = nil
			r.bar(now, o, "an operator has undone the like", m.Changes)
		})
		return nil
	})
}

// after is a later decision in force that has changed what an earlier one did, or nil.
func (o *orders) after(m *Decision) *Decision {
	at := slices.Index(o.Made, m)
	for _, later := range o.Made[at+1:] {
		if later.Route == m.Route && slices.ContainsFunc(later.Changes, func(c Change) bool {
			return slices.ContainsFunc(m.Changes, func(x Change) bool { return x.Name == c.Name })
		}) {
			return later
		}
	}
	return nil
}

// bar keeps tuners from the like of changes, for as long as an operator says.
func (r *routeLoop) bar(now time.Time, o *Order, why string, changes []Change) {
	r.barred = append(r.barred, bar{why + reasonOf(o.Why), now.Add(o.For), directions(changes)})
	if len(r.barred) > mostRemembered {
		r.barred = r.barred[1:]
	}
}

// trialOf is the route on which a decision is tried, or nil.
func (l *Loop) trialOf(id string) *routeLoop {
	for _, r := range l.routes {
		if r.trial != nil && r.trial.decision.ID == id {
			return r
		}
	}
	return nil
}

// orderStanding is about what holds for a while.
func (l *Loop) orderStanding(now time.Time, o *Order, d *Decision) error {
	if o.Route != "" && l.routes[o.Route] == nil {
		return fmt.Errorf("%w: there is no route %q", ErrOrder, o.Route)
	}
	where := "all routes"
	if o.Route != "" {
		where = "route " + o.Route
	}
	s := Standing{Route: o.Route, Tuner: o.Tuner, Mode: o.Mode, By: o.By, Why: o.Why}
	if o.For > 0 {
		s.Until = now.Add(o.For)
	}
	d.Expires = s.Until
	same := func(x Standing) bool { return x.Route == o.Route && x.Tuner == o.Tuner }
	switch o.Action {
	case SetMode:
		if !slices.ContainsFunc(l.tuners, func(t Tuner) bool { return t.Name() == o.Tuner }) {
			return fmt.Errorf("%w: there is no tuner %q; there are %s", ErrOrder, o.Tuner, strings.Join(l.names(), ", "))
		}
		if why := l.untriable(o.Tuner); why != "" && o.Mode == Canary {
			return fmt.Errorf("%w: what tuner %s changes can't be tried on a part of the traffic: %s; there are observe, recommend and auto", ErrOrder, o.Tuner, why)
		}
		l.orders.setMode(s)
		delete(l.fences, o.Tuner)
		d.Reason = fmt.Sprintf("set tuner %s of %s to %s", o.Tuner, where, o.Mode)
	case Freeze:
		l.orders.Frozen = append(slices.DeleteFunc(l.orders.Frozen, same), s)
		d.Reason = "froze " + where
	default:
		before := len(l.orders.Frozen)
		l.orders.Frozen = slices.DeleteFunc(l.orders.Frozen, func(x Standing) bool { return o.Route == "" || x.Route == o.Route })
		if len(l.orders.Frozen) == before {
			return fmt.Errorf("%w: %s is not frozen", ErrOrder, where)
		}
		d.Reason, d.Expires = "thawed "+where, time.Time{}
	}
	return nil
}

func (l *Loop) names() (out []string) {
	for _, t := range l.tuners {
		out = append(out, t.Name())
	}
	return out
}

// orderParameters is about values.
func (l *Loop) orderParameters(now time.Time, o *Order, d *Decision) error {
	same := func(x Standing) bool { return x.Route == o.Route && x.Parameter == o.Parameter }
	if o.Action == Unpin {
		return l.unpin(now, o, d)
	}
	if o.Action == Pin {
		d.Reason = fmt.Sprintf("pinned %s to %g", o.Parameter, o.Value)
	} else {
		d.Reason = "put the route back to the operator's own settings"
	}
	return l.force(now, o.Route, func(c *change) error {
		r := l.routes[o.Route]
		if o.Action == Reset {
			d.Changes = Differences(&c.next, &c.known.Static)
			c.next, c.changed, c.canary = c.known.Static, true, nil
			c.commits = append(c.commits, func() {
				r.trial, r.parked = nil, nil
				clear(r.goals)
				clear(r.ramps)
				clear(r.backed)
				r.bar(now, o, "an operator has put the route back", Differences(&c.known.Static, &c.known.InForce))
				l.orders.forget(o.Route)
				l.orders.Pins = slices.DeleteFunc(l.orders.Pins, func(x Standing) bool { return x.Route == o.Route })
				l.Proof.Reset(o.Route, now, "an operator has undone everything")
			})
			return nil
		}
		from, known := valueOf(&c.next, o.Parameter)
		if !known {
			return fmt.Errorf("%w: route %s has no parameter %q; there are %s", ErrOrder, o.Route, o.Parameter, strings.Join(parameters(&c.next), ", "))
		}
		if !finite(o.Value) || o.Value < 0 {
			return fmt.Errorf("%w: %s = %v: want a number that is not below 0", ErrOrder, o.Parameter, o.Value)
		}
		switch most := mostOf(o.Parameter); {
		case o.Value == 0 && isSeconds(o.Parameter):
			return fmt.Errorf("%w: %s = 0: want a number of seconds above 0", ErrOrder, o.Parameter)
		case o.Value == 0 && notNone(o.Parameter):
			return fmt.Errorf("%w: %s = 0: want a number above 0", ErrOrder, o.Parameter)
		case o.Value > most:
			return fmt.Errorf("%w: %s = %v: want at most %v", ErrOrder, o.Parameter, o.Value, most)
		}
		d.Changes = []Change{{o.Parameter, from, o.Value}}
		next, err := apply(c.next, d.Changes)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrOrder, err)
		}
		for class, total := range totals(&next) {
			if !(total > 0) {
				return fmt.Errorf("%w: %s = %g: no target would have a weight for %s exchanges", ErrOrder, o.Parameter, o.Value, classNames[class])
			}
		}
		if r.trial != nil {
			l.giveUp(now, r, c, "an operator has changed the route")
		}
		c.next, c.changed = next, true
		before := &from
		if i := slices.IndexFunc(l.orders.Pins, same); i >= 0 && l.orders.Pins[i].Value == from { // pinned again: it goes back to what was before both
			before = l.orders.Pins[i].Before
		}
		c.commits = append(c.commits, func() {
			clear(r.goals)
			clear(r.ramps)
			r.parked = nil
			l.orders.Pins = append(slices.DeleteFunc(l.orders.Pins, same), Standing{
				Route: o.Route, Parameter: o.Parameter, Value: o.Value, Before: before, By: o.By, Why: o.Why, Until: now.Add(o.For),
			})
		})
		d.Expires = now.Add(o.For)
		return nil
	})
}

// force publishes what edit makes of a route, whoever publishes meanwhile.
func (l *Loop) force(now time.Time, route string, edit func(c *change) error) error {
	for range 20 {
		var c *change
		for _, k := range l.plant.Known(now) {
			if k.Name == route {
				l.route(now, &k)
				c = &change{known: &k, next: k.InForce, canary: k.Canary}
			}
		}
		if c == nil {
			return fmt.Errorf("%w: there is no route %q", ErrOrder, route)
		}
		if err := edit(c); err != nil {
			return err
		}
		if l.plant.Publish(map[string]policy.Route{route: l.routeOf(c.known, c.next, c.canary)}) == nil {
			for _, commit := range c.commits {
				commit()
			}
			return nil
		}
	}
	return fmt.Errorf("%w: the policy changes all the time", ErrOrder)
}

package optimizer

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"llm-auto-optimizer/proxy/policy"
)

// Order is what an operator wants of the loop. It always wins over the tuners.
type Order struct {
	Action    Action
	Route     string        // empty, with Freeze, Thaw and SetMode: all
	Tuner     string        // of SetMode
	Mode      Mode          // of SetMode
	Decision  string        // ID, of Approve, Reject and Undo
	Parameter string        // path, of Pin and Unpin
	Value     float64       // of Pin
	For       time.Duration // until Freeze, Pin or SetMode end; 0: a day; less than 0, of SetMode: for good
	By, Why   string
}

// Action is what an order does.
type Action string

// The actions.
const (
	Freeze  Action = "freeze"  // change nothing of a route, or of all
	Thaw    Action = "thaw"    // the end of it
	SetMode Action = "mode"    // how far a tuner may go
	Pin     Action = "pin"     // give a parameter a value that tuners leave alone
	Unpin   Action = "unpin"   // the end of it
	Approve Action = "approve" // put a recommendation in force
	Reject  Action = "reject"  // never mind it, or end the trial of it
	Undo    Action = "undo"    // take a decision back
	Reset   Action = "reset"   // back to the operator's own settings
)

// Actions are all of them.
var Actions = []Action{Freeze, Thaw, SetMode, Pin, Unpin, Approve, Reject, Undo, Reset}

// ErrOrder says that an order can't be carried out as it is.
var ErrOrder = errors.New("order refused")

// defaultOrder is how long an order holds that says nothing of it.
const defaultOrder = 24 * time.Hour

// Standing is an order in force.
type Standing struct {
	Route     string    `json:"route,omitempty"`
	Tuner     string    `json:"tuner,omitempty"`
	Parameter string    `json:"parameter,omitempty"`
	Value     float64   `json:"value,omitempty"`
	Mode      Mode      `json:"mode,omitempty"`
	By        string    `json:"by"`
	Why       string    `json:"why,omitempty"`
	Until     time.Time `json:"until"` // zero: for good
}

func (s *Standing) over(now time.Time) bool { return !s.Until.IsZero() && !now.Before(s.Until) }

// orders are what operators have asked for, and what they may still ask about.
type orders struct {
	Frozen  []Standing  `json:"frozen,omitempty"`
	Pins    []Standing  `json:"pins,omitempty"`
	Modes   []Standing  `json:"modes,omitempty"`
	Pending []*Decision `json:"pending,omitempty"` // recommendations, oldest first
	Made    []*Decision `json:"made,omitempty"`    // decisions in force, oldest first, without their evidence
}

func newOrders() orders { return orders{} }

const mostRemembered = 100 // decisions of each kind

// made remembers a decision, so that it can be undone.
func (o *orders) made(d *Decision) { o.Made = remember(o.Made, d) }

func remember(list []*Decision, d *Decision) []*Decision {
	c := *d
	c.Evidence, c.Guard, c.Trial = nil, nil, nil
	if list = append(list, &c); len(list) > mostRemembered {
		list = list[1:]
	}
	return list
}

func find(list []*Decision, id string) *Decision {
	for _, d := range list {
		if d.ID == id {
			return d
		}
	}
	return nil
}

// frozen says why nothing of a route may change; empty: it may.
func (o *orders) frozen(now time.Time, route string) string {
	o.Frozen = slices.DeleteFunc(o.Frozen, func(s Standing) bool { return s.over(now) })
	for _, s := range o.Frozen {
		if s.Route == "" || s.Route == route {
			return "frozen by " + s.By + reasonOf(s.Why)
		}
	}
	return ""
}

func reasonOf(why string) string {
	if why == "" {
		return ""
	}
	return ": " + why
}

// mode is what an operator has set; the order for the route counts more than the one for all.
func (o *orders) mode(route, tuner string) (m Mode, ok bool) {
	for _, s := range o.Modes {
		if s.Tuner == tuner && (s.Route == route || s.Route == "" && !ok) {
			m, ok = s.Mode, true
		}
	}
	return m, ok
}

// setMode puts an order in the place of an earlier one.
func (o *orders) setMode(s Standing) {
	o.Modes = append(slices.DeleteFunc(o.Modes, func(x Standing) bool { return x.Route == s.Route && x.Tuner == s.Tuner }), s)
}

// forget drops what was decided about a route: it is no more, or set up anew.
func (o *orders) forget(route string) {
	of := func(d *Decision) bool { return d.Route == route }
	o.Pending, o.Made = slices.DeleteFunc(o.Pending, of), slices.DeleteFunc(o.Made, of)
}

// expire drops what is over.
func (o *orders) expire(now time.Time) {
	o.Modes = slices.DeleteFunc(o.Modes, func(s Standing) bool { return s.over(now) })
	o.Pins = slices.DeleteFunc(o.Pins, func(s Standing) bool { return s.over(now) })
	o.Pending = slices.DeleteFunc(o.Pending, func(d *Decision) bool { return !now.Before(d.Expires) })
}

// pinned are the parameters of a route that tuners leave alone.
func (o *orders) pinned(now time.Time, route string) (names []string) {
	o.expire(now)
	for _, s := range o.Pins {
		if s.Route == route {
			names = append(names, s.Parameter)
		}
	}
	return names
}

// without is the proposal without changes of some parameters.
func (p Proposal) without(names []string) Proposal {
	kept := slices.DeleteFunc(slices.Clone(p.Changes), func(c Change) bool { return slices.Contains(names, c.Name) })
	if len(kept) < len(p.Changes) {
		p.Changes = kept
		p.Reason += ", but for what is pinned"
	}
	return p
}

// recommend tells an operator what a tuner would change, once.
func (l *Loop) recommend(now time.Time, r *routeLoop, d Decision) (_ Decision, tell bool) {
	l.orders.expire(now)
	for i, p := range l.orders.Pending {
		if p.Route != r.name || p.Tuner != d.Tuner {
			continue
		}
		if along(directions(p.Changes), d.Changes) > 0 { // the same again, with newer numbers
			d.ID, d.Verdict, d.Expires = p.ID, Recommended, p.Expires
			kept := d
			kept.Evidence, kept.Guard = nil, nil
			l.orders.Pending[i] = &kept
			return d, false
		}
		l.orders.Pending = slices.Delete(l.orders.Pending, i, i+1)
		break
	}
	d.ID, d.Verdict, d.Expires = l.nextID(), Recommended, now.Add(defaultOrder)
	l.orders.Pending = remember(l.orders.Pending, &d)
	return d, true
}

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
			l.endTrial(now, r, c, RolledBack, "an operator has ended it"+reasonOf(o.Why))
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
			r.backed[p.Tuner] = &backOff{why: "an operator has rejected the like" + reasonOf(o.Why), until: now.Add(o.For), directions: directions(p.Changes)}
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
		c.next, c.changed = next, true
		c.commits = append(c.commits, func() {
			r := l.routes[m.Route]
			l.orders.Made = slices.DeleteFunc(l.orders.Made, func(x *Decision) bool { return x == m })
			delete(r.goals, m.Tuner)
			delete(r.ramps, m.Tuner)
			l.Proof.Mark(m.Route, "undo-"+m.ID, now)
			r.backed[m.Tuner] = &backOff{why: "an operator has undone the like" + reasonOf(o.Why), until: now.Add(o.For), directions: directions(m.Changes)}
		})
		return nil
	})
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
		before := len(l.orders.Pins)
		if l.orders.Pins = slices.DeleteFunc(l.orders.Pins, same); len(l.orders.Pins) == before {
			return fmt.Errorf("%w: %s of route %s is not pinned", ErrOrder, o.Parameter, o.Route)
		}
		d.Reason = "unpinned " + o.Parameter
		return nil
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
				delete(l.routes, o.Route)
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
			l.endTrial(now, r, c, RolledBack, "an operator has changed the route")
		}
		c.next, c.changed = next, true
		c.commits = append(c.commits, func() {
			clear(r.goals)
			l.orders.Pins = append(slices.DeleteFunc(l.orders.Pins, same), Standing{
				Route: o.Route, Parameter: o.Parameter, Value: o.Value, By: o.By, Why: o.Why, Until: now.Add(o.For),
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

// Standing are the orders in force, and the recommendations that wait for an answer.
func (l *Loop) Standing(now time.Time) (frozen, pins, modes []Standing, pending []*Decision) {
	l.orders.frozen(now, "")
	l.orders.expire(now)
	return slices.Clone(l.orders.Frozen), slices.Clone(l.orders.Pins), slices.Clone(l.orders.Modes), slices.Clone(l.orders.Pending)
}

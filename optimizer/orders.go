package optimizer

import (
	"errors"
	"slices"
	"time"
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
	Before    *float64  `json:"before,omitempty"` // value to which a pinned parameter goes back; nil: it stays
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
	for i := range o.Pins {
		if o.Pins[i].Route == route { // what was in force before is not any more
			o.Pins[i].Before = nil
		}
	}
}

// remove drops all that is about a route that is no more.
func (o *orders) remove(route string) {
	o.forget(route)
	of := func(s Standing) bool { return s.Route == route }
	o.Frozen, o.Pins, o.Modes = slices.DeleteFunc(o.Frozen, of), slices.DeleteFunc(o.Pins, of), slices.DeleteFunc(o.Modes, of)
}

// expire drops what is over. Pins end with a cycle, since their values go back then.
func (o *orders) expire(now time.Time) {
	o.Modes = slices.DeleteFunc(o.Modes, func(s Standing) bool { return s.over(now) })
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

// pinsWeights tells whether weights of a route are pinned.
func (o *orders) pinsWeights(now time.Time, route string) bool {
	return slices.ContainsFunc(o.pinned(now, route), isWeight)
}

// bar is what operators do not want again for a while.
type bar struct {
	Why        string             `json:"why"`
	Until      time.Time          `json:"until"`
	Directions map[string]float64 `json:"directions"`
}

// without is the proposal without changes of some parameters. Weights are parts of a whole: where one is pinned, those of its class stay.
func (p Proposal) without(names []string) Proposal {
	kept := slices.DeleteFunc(slices.Clone(p.Changes), func(c Change) bool {
		return slices.ContainsFunc(names, func(name string) bool {
			_, a, pinned := cutWeight(name)
			_, b, weight := cutWeight(c.Name)
			return name == c.Name || pinned && weight && a == b
		})
	})
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

// Standing are the orders in force, and the recommendations that wait for an answer.
func (l *Loop) Standing(now time.Time) (frozen, pins, modes []Standing, pending []*Decision) {
	l.orders.frozen(now, "")
	l.orders.expire(now)
	return slices.Clone(l.orders.Frozen), slices.Clone(l.orders.Pins), slices.Clone(l.orders.Modes), slices.Clone(l.orders.Pending)
}

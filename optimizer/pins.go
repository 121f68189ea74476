package optimizer

import (
	"fmt"
	"slices"
	"time"
)

// A pin is an order for a while, and what it did ends with it: the value goes back to the one before the pin, from which the tuners go on. It stays where somebody
// has changed it since, or where the route was put back or set up anew meanwhile.

// endPins ends the pins of a route that are over. While a route is frozen it is not to be called: nothing changes then, and the pins stay.
func (l *Loop) endPins(now time.Time, r *routeLoop, c *change) (decisions []Decision) {
	for _, pin := range slices.Clone(l.orders.Pins) {
		if pin.Route != r.name || !pin.over(now) {
			continue
		}
		d := Decision{At: now, Route: r.name, Tuner: "loop", Verdict: Applied}
		var ended *Decision
		d.Changes, ended = l.unpinned(now, r, c, &pin)
		if ended != nil {
			decisions = append(decisions, *ended)
		}
		d.Reason = fmt.Sprintf("back to %s = %s: %s's pin of it to %g has ended", pin.Parameter, backTo(d.Changes), pin.By, pin.Value)
		if len(d.Changes) == 0 {
			d.Verdict, d.Reason = Noticed, fmt.Sprintf("%s's pin of %s to %g has ended, and changes nothing", pin.By, pin.Parameter, pin.Value)
		}
		decisions = append(decisions, d)
	}
	return decisions
}

func backTo(changes []Change) string {
	if len(changes) == 0 {
		return ""
	}
	return fmt.Sprintf("%g", changes[0].To)
}

// unpinned takes a pin off what is to be in force. It returns what that changes, and what was on trial and is over by it.
func (l *Loop) unpinned(now time.Time, r *routeLoop, c *change, pin *Standing) (changes []Change, ended *Decision) {
	c.commits = append(c.commits, func() {
		l.orders.Pins = slices.DeleteFunc(l.orders.Pins, func(x Standing) bool { return x.Route == pin.Route && x.Parameter == pin.Parameter })
	})
	from, known := valueOf(&c.next, pin.Parameter)
	if !known || pin.Before == nil || from != pin.Value || *pin.Before == from || !(*pin.Before >= 0) {
		return nil, nil
	}
	changes = []Change{{pin.Parameter, from, *pin.Before}}
	next, err := apply(c.next, changes)
	if err != nil {
		return nil, nil
	}
	for _, total := range totals(&next) {
		if !(total > 0) { // nothing would serve
			return nil, nil
		}
	}
	if r.trial != nil && c.canary != nil {
		d := l.giveUp(now, r, c, "a pin has ended")
		ended = &d
	}
	c.next, c.changed = next, true
	return changes, ended
}

// unpin is an operator's order to end a pin, also on a route that is frozen.
func (l *Loop) unpin(now time.Time, o *Order, d *Decision) error {
	i := slices.IndexFunc(l.orders.Pins, func(x Standing) bool { return x.Route == o.Route && x.Parameter == o.Parameter })
	if i < 0 {
		return fmt.Errorf("%w: %s of route %s is not pinned", ErrOrder, o.Parameter, o.Route)
	}
	pin := l.orders.Pins[i]
	return l.force(now, o.Route, func(c *change) error {
		d.Changes, _ = l.unpinned(now, l.routes[o.Route], c, &pin)
		d.Reason = "unpinned " + o.Parameter
		if len(d.Changes) > 0 {
			d.Reason += ", which goes back to " + backTo(d.Changes)
		}
		return nil
	})
}

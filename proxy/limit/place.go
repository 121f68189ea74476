package limit

import "cmp"

// Place is where requests wait for room: the limits of one rule, for one of those that it keeps apart. It is comparable; the zero value is none.
type Place struct{ e *entry }

// Line is those that wait at a place.
type Line struct {
	*Queue
	// News is of one: something was given back at the place, or it has to be looked at for another reason.
	News chan struct{}
	For  any // of the caller's own
}

// Nudge has the line looked at soon. It never blocks.
func (l *Line) Nudge() {
	select {
	case l.News <- struct{}{}:
	default:
	}
}

// Line is who waits here; nil where there is none.
func (p Place) Line() *Line { return p.e.line.Load() }

// Open has requests wait here in a line, from which they are told when something is given back. It is false where there is a line already. The place's counts stay
// until it is closed.
func (p Place) Open(l *Line) bool {
	if !p.e.line.CompareAndSwap(nil, l) {
		return false
	}
	p.e.pin()
	return true
}

// Close takes the line away.
func (p Place) Close(l *Line) {
	if p.e.line.CompareAndSwap(l, nil) {
		p.e.unpin()
	}
}

// WiderThan tells that p is for more than o. Who needs room at several places waits at the narrowest first: what holds up one caller must not hold up others.
func (p Place) WiderThan(o Place) bool { return o.e == nil || p.e.table.wider(o.e.table) }

// width is for how much a rule counts together: callers weigh more than routes, and those more than targets.
func (r *Rule) width() (n int) {
	for _, s := range []Scope{r.Caller, r.Route, r.Target} {
		if n *= 2; s == (Scope{}) {
			n++
		}
	}
	return n
}

// wider is a total order.
func (t *table) wider(o *table) bool {
	return cmp.Or(cmp.Compare(t.width, o.width), cmp.Compare(t.order, o.order)) > 0
}

// inWay is which of an entry's limits those that wait there are held up by.
type inWay struct {
	limit int
	opens int64 // when it has room for who is first, as of the last look; nanoseconds
	guess bool  // as in Refusal
}

// crowded tells that others wait here that a request is behind, which has its turn at another place, or at none.
func (e *entry) crowded(turn Place) bool {
	l := e.line.Load()
	return l != nil && l.Len() > 0 && Place{e}.WiderThan(turn)
}

// first tells that a request is the first of those who wait, or nobody does.
func (e *entry) first(turn Place) bool {
	l := e.line.Load()
	return l == nil || l.Len() == 0 || turn.e == e
}

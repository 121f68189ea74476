package limit

import (
	"cmp"
	"slices"
	"time"
)

// Look gives how the limits of a rule stand, those that are used most first, at most so many.
func (s *Set) Look(now time.Time, rule string, most int) (all []Standing) {
	at, p := s.at(now), s.plan.Load()
	for _, r := range p.rules {
		if r.Name != rule {
			continue
		}
		var entries []*entry
		if !r.table.each || r.table.rest.pins.Load() > 0 {
			r.table.rest.pin()
			entries = append(entries, r.table.rest)
		}
		entries = r.table.all(entries)
		for i, e := range entries {
			if !lock(entries[i:i+1], at, p) { // the rules have changed meanwhile: it tells of the new ones
				e.mu.Lock()
			}
			all = e.standings(all, at)
			e.mu.Unlock()
		}
		unpin(entries)
	}
	slices.SortStableFunc(all, func(a, b Standing) int {
		return cmp.Or(cmp.Compare(a.share(), b.share()), cmp.Compare(a.Caller, b.Caller), cmp.Compare(a.Route, b.Route), cmp.Compare(a.Target, b.Target))
	})
	return all[:min(len(all), most)]
}

// share is what is left of the whole.
func (s *Standing) share() float64 { return float64(s.Left) / float64(max(s.Holds, 1)) }

// standings appends how the limits of an entry stand. It is locked.
func (e *entry) standings(dst []Standing, at instant) []Standing {
	for i := range e.states {
		l, st := &e.rule.Limits[i], &e.states[i]
		st.roll(at, l)
		dst = append(dst, Standing{
			Rule: e.rule.Name, Limit: *l, Observe: e.rule.Observe, Left: st.left(l), Holds: l.holds(), Reset: st.reset(at, l), Shared: e.table.each && e == e.table.rest,
			Caller: max(e.key.caller, e.rule.Caller.Only), Route: max(e.key.route, e.rule.Route.Only), Target: max(e.key.target, e.rule.Target.Only),
		})
	}
	return dst
}

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
		if !r.table.each || r.table.rest.pins.Load() > 0 {
			all = r.table.rest.standings(all, at, p)
		}
		for i := range r.table.shards {
			shard := &r.table.shards[i]
			shard.mu.Lock()
			for _, e := range shard.entries {
				all = e.standings(all, at, p)
			}
			shard.mu.Unlock()
		}
	}
	slices.SortStableFunc(all, func(a, b Standing) int {
		return cmp.Or(cmp.Compare(a.share(), b.share()), cmp.Compare(a.Caller, b.Caller), cmp.Compare(a.Route, b.Route), cmp.Compare(a.Target, b.Target))
	})
	return all[:min(len(all), most)]
}

// share is what is left of the whole.
func (s *Standing) share() float64 { return float64(s.Left) / float64(max(s.Limit.Most, 1)) }

// standings appends how the limits of an entry stand.
func (e *entry) standings(dst []Standing, at instant, p *plan) []Standing {
	one := [1]*entry{e}
	lock(one[:], at, p)
	defer e.mu.Unlock()
	for i := range e.states {
		l, st := &e.rule.Limits[i], &e.states[i]
		st.roll(at, l)
		dst = append(dst, Standing{
			Rule: e.rule.Name, Limit: *l, Observe: e.rule.Observe, Left: st.left(l), Reset: st.reset(at, l), Shared: e.table.each && e == e.table.rest,
			Caller: max(e.key.caller, e.rule.Caller.Only), Route: max(e.key.route, e.rule.Route.Only), Target: max(e.key.target, e.rule.Target.Only),
		})
	}
	return dst
}

package limit

import (
	"cmp"
	"slices"
	"time"
)

// Balance is what was spent under one limit in a stretch of time: what has to outlive a restart. Everything else is made up for within minutes.
type Balance struct {
	Rule string
	// For whom the rule is: under the name of another one it is not restored.
	CallerScope, RouteScope, TargetScope Scope
	Caller, Route, Target                ID // of the entry; 0 where the rule does not tell apart
	Shared                               bool
	Per                                  Period
	Rolling                              bool
	Begin, End                           time.Time
	Spent                                int64 // NanoUSD
}

// Balances appends what was spent under all limits of spend in the windows that now is in, in an order that depends on nothing else. What is reserved and not settled is
// not in it. Requests are not held up by it.
func (s *Set) Balances(dst []Balance, now time.Time) []Balance {
	at := s.at(now)
	rules := slices.Clone(s.plan.Load().rules)
	slices.SortFunc(rules, func(a, b *rule) int { return cmp.Compare(a.Name, b.Name) })
	var entries []*entry
	for _, r := range rules {
		if !slices.ContainsFunc(r.Limits, func(l Limit) bool { return l.Of == Spend }) {
			continue
		}
		dst = r.table.rest.balances(dst, at)
		entries = r.table.all(entries[:0])
		slices.SortFunc(entries, func(a, b *entry) int {
			return cmp.Or(cmp.Compare(a.key.caller, b.key.caller), cmp.Compare(a.key.route, b.key.route), cmp.Compare(a.key.target, b.key.target))
		})
		from := len(dst)
		for i, e := range entries {
			if i >= 64 && i&(i-1) == 0 { // room for the rest if they are as those so far: growing bit by bit copies it all again and again
				dst = slices.Grow(dst, (len(dst)-from)*(len(entries)-i)/i)
			}
			dst = e.balances(dst, at)
		}
		unpin(entries)
	}
	return dst
}

// balances appends those of an entry, the oldest first.
func (e *entry) balances(dst []Balance, at instant) []Balance {
	e.mu.Lock()
	defer e.mu.Unlock()
	for i := range e.states {
		l, s := &e.rule.Limits[i], &e.states[i].spend
		if l.Of != Spend {
			continue
		}
		s.roll(at, l)
		b := Balance{
			Rule: e.rule.Name, CallerScope: e.rule.Caller, RouteScope: e.rule.Route, TargetScope: e.rule.Target,
			Caller: e.key.caller, Route: e.key.route, Target: e.key.target, Shared: e.table.each && e == e.table.rest, Per: l.Per, Rolling: l.Rolling,
			Begin: time.Unix(0, s.now.begin), End: time.Unix(0, s.now.end), Spent: s.spent,
		}
		if !l.Rolling {
			if b.Spent != 0 {
				dst = append(dst, b)
			}
			continue
		}
		for i := range len(s.rolling.slots) {
			back := uint64(len(s.rolling.slots) - 1 - i) //nolint:gosec // an index
			if b.Spent = s.rolling.slots[slotAt(s.rolling.head, back)]; b.Spent != 0 {
				begin := (s.rolling.head - int64(back)) * s.rolling.width //nolint:gosec // below the number of slots
				b.Begin = time.Unix(0, plus(at.wall, minus(begin, at.mono)))
				b.End = b.Begin.Add(time.Duration(s.rolling.width))
				dst = append(dst, b)
			}
		}
	}
	return dst
}

// Restore adds balances from before a restart, as far as their rules are in force and their windows are not over. It returns how many were of use.
func (s *Set) Restore(now time.Time, balances []Balance) (restored int) {
	at, p := s.at(now), s.plan.Load()
	for i := range balances {
		b := &balances[i]
		n := slices.IndexFunc(p.rules, b.of)
		if n < 0 {
			continue
		}
		r := p.rules[n]
		e := r.table.rest
		if !b.Shared && r.table.each {
			e = r.table.find(at, key{b.Caller, b.Route, b.Target}, r, s.o.Entries)
		} else {
			e.pin()
		}
		if !lock([]*entry{e}, at, p) { // the rules have changed meanwhile: their budgets that are left are the same
			e.mu.Lock()
		}
		for j := range e.states {
			if l := &e.rule.Limits[j]; l.Of == Spend && l.Per == b.Per && l.Rolling == b.Rolling && e.states[j].spend.restore(at, l, b) {
				restored++
			}
		}
		e.mu.Unlock()
		e.unpin()
	}
	return restored
}

// of tells that the balance is one of a rule's.
func (b *Balance) of(r *rule) bool {
	return r.Name == b.Rule && r.Caller == b.CallerScope && r.Route == b.RouteScope && r.Target == b.TargetScope
}

// restore adds a balance; false where its time is over.
func (s *spend) restore(at instant, l *Limit, b *Balance) bool {
	s.roll(at, l)
	if !l.Rolling {
		if at.wall < b.Begin.UnixNano() || at.wall >= b.End.UnixNano() {
			return false
		}
		s.spent = plus(s.spent, b.Spent)
		return true
	}
	back := max(minus(at.wall, b.Begin.UnixNano()), 0) / s.rolling.width // up to a slot less than it was: it counts for longer rather than shorter
	if back >= int64(len(s.rolling.slots)) {
		return false
	}
	slot := &s.rolling.slots[slotAt(s.rolling.head, uint64(back))]
	*slot = plus(*slot, b.Spent)
	s.spent = plus(s.spent, b.Spent)
	return true
}

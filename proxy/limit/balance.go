package limit

import (
	"slices"
	"time"
)

// Balance is what was spent under one limit in a stretch of time: what has to outlive a restart. Everything else is made up for within minutes.
type Balance struct {
	Rule                  string
	Caller, Route, Target ID // of the entry; 0 where the rule does not tell apart
	Shared                bool
	Per                   Period
	Rolling               bool
	Begin, End            time.Time
	Spent                 int64 // NanoUSD
}

// Balances appends what was spent under all limits of spend in the windows that now is in. What is reserved and not settled is not in it.
func (s *Set) Balances(dst []Balance, now time.Time) []Balance {
	at := s.at(now)
	for _, r := range s.plan.Load().rules {
		dst = r.table.rest.balances(dst, at)
		for i := range r.table.shards {
			shard := &r.table.shards[i]
			shard.mu.Lock()
			for _, e := range shard.entries {
				dst = e.balances(dst, at)
			}
			shard.mu.Unlock()
		}
	}
	return dst
}

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
			Rule: e.rule.Name, Caller: e.key.caller, Route: e.key.route, Target: e.key.target, Shared: e.table.each && e == e.table.rest, Per: l.Per, Rolling: l.Rolling,
			Begin: time.Unix(0, s.now.begin), End: time.Unix(0, s.now.end), Spent: s.spent,
		}
		if !l.Rolling {
			if b.Spent != 0 {
				dst = append(dst, b)
			}
			continue
		}
		for back := range uint64(len(s.rolling.slots)) {
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
		n := slices.IndexFunc(p.rules, func(r *rule) bool { return r.Name == b.Rule })
		if n < 0 {
			continue
		}
		r := p.rules[n]
		e := r.table.rest
		pinned := !b.Shared && r.table.each
		if pinned {
			e = r.table.find(at, key{b.Caller, b.Route, b.Target}, r, s.o.Entries)
		}
		lock([]*entry{e}, at, p)
		for j := range e.states {
			if l := &e.rule.Limits[j]; l.Of == Spend && l.Per == b.Per && l.Rolling == b.Rolling && e.states[j].spend.restore(at, l, b) {
				restored++
			}
		}
		e.mu.Unlock()
		if pinned {
			e.unpin()
		}
	}
	return restored
}

// restore adds a balance; false where its time is over.
func (s *spend) restore(at instant, l *Limit, b *Balance) bool {
	s.roll(at, l)
	if !l.Rolling {
		if at.wall < b.Begin.UnixNano() || at.wall >= b.End.UnixNano() {
			return false
		}
		s.spent, s.total = plus(s.spent, b.Spent), plus(s.total, b.Spent)
		return true
	}
	back := max(minus(at.wall, b.Begin.UnixNano()), 0) / s.rolling.width // up to a slot less than it was: it counts for longer rather than shorter
	if back >= int64(len(s.rolling.slots)) {
		return false
	}
	slot := &s.rolling.slots[slotAt(s.rolling.head, uint64(back))]
	*slot = plus(*slot, b.Spent)
	s.spent, s.total = plus(s.spent, b.Spent), plus(s.total, b.Spent)
	return true
}

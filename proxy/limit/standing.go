package limit

import "time"

// Standing is how one limit stands for a request.
type Standing struct {
	Rule                  string
	Limit                 Limit
	Observe               bool
	Caller, Route, Target ID   // whose it is, as in Refusal
	Shared                bool // as in Refusal
	Left                  int64
	Reset                 time.Duration // until it is whole again; 0: it is, or nobody can tell
}

// Standings appends how all limits stand that are for q: what headers tell a client.
func (s *Set) Standings(dst []Standing, now time.Time, q *Request) []Standing {
	at, p := s.at(now), s.plan.Load()
	var room [maxMatched]*entry
	entries := s.match(room[:0], at, p, q)
	lock(entries, at, p)
	for _, e := range entries {
		for i := range e.states {
			l, st := &e.rule.Limits[i], &e.states[i]
			st.roll(at, l)
			dst = append(dst, Standing{
				Rule: e.rule.Name, Limit: *l, Observe: e.rule.Observe, Left: st.left(l), Reset: st.reset(at, l),
				Caller: max(e.key.caller, e.rule.Caller.Only), Route: max(e.key.route, e.rule.Route.Only), Target: max(e.key.target, e.rule.Target.Only), Shared: e.table.each && e == e.table.rest,
			})
		}
	}
	unlock(entries)
	unpin(entries)
	return dst
}

// RuleStats is what a rule did so far.
type RuleStats struct {
	Rule    string
	Refused uint64 // requests; of a rule that is only observed those that it would have refused
	Entries int    // that it keeps apart
	Spent   int64  // NanoUSD that was settled under its entries that are there; 0 where it has no limit of spend
}

// Stats tells of all rules.
func (s *Set) Stats() []RuleStats {
	var all []RuleStats
	for _, r := range s.plan.Load().rules {
		st := RuleStats{Rule: r.Name, Refused: r.refused.Load(), Entries: r.table.len(), Spent: r.table.rest.spent()}
		for i := range r.table.shards {
			shard := &r.table.shards[i]
			shard.mu.Lock()
			for _, e := range shard.entries {
				st.Spent = plus(st.Spent, e.spent())
			}
			shard.mu.Unlock()
		}
		all = append(all, st)
	}
	return all
}

// spent is what was settled under an entry, ever.
func (e *entry) spent() int64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	for i := range e.states {
		if e.rule.Limits[i].Of == Spend {
			return e.states[i].spend.total
		}
	}
	return 0
}

// Leases is how many there are, and Leaked how many ended by themselves so far.
func (s *Set) Leases() (held int64, leaked uint64) {
	for i := range s.leases.shards {
		held += s.leases.shards[i].held.Load()
	}
	return held, s.leaked.Load()
}

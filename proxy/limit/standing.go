package limit

import (
	"slices"
	"time"
)

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
	for _, e := range entries {
		dst = e.standings(dst, at, p)
	}
	unpin(entries)
	return dst
}

// RuleStats is what a rule did so far.
type RuleStats struct {
	Rule    string
	Refused uint64 // requests, by Reserve; of a rule that is only observed those that it would have refused
	Observe bool
	Entries int   // that it keeps apart
	Spends  bool  // it has a limit of spend
	Spent   int64 // NanoUSD that was settled under its entries that are there
}

// Stats tells of all rules.
func (s *Set) Stats() []RuleStats {
	var all []RuleStats
	for _, r := range s.plan.Load().rules {
		st := RuleStats{Rule: r.Name, Refused: r.refused.Load(), Observe: r.Observe, Entries: r.table.len(), Spent: r.table.rest.spent()}
		st.Spends = slices.ContainsFunc(r.Limits, func(l Limit) bool { return l.Of == Spend })
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

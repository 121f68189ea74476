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
	Caller, Route, Target ID            // whose it is, as in Refusal
	Shared                bool          // as in Refusal
	Left                  int64         // that may be taken now, of Limit.Most
	Holds                 int64         // what Left is when nothing is used: less than Limit.Most where not all of that may come at once
	Reset                 time.Duration // until it is whole again; 0: it is, or nobody can tell
}

// Standings appends how all limits stand that are for q: what headers tell a client.
func (s *Set) Standings(dst []Standing, now time.Time, q *Request) []Standing {
	at := s.at(now)
	var room [maxMatched]*entry
	_, entries := s.hold(room[:0], at, q)
	for _, e := range entries {
		dst = e.standings(dst, at)
	}
	unlock(entries)
	unpin(entries)
	return dst
}

// RuleStats is what a rule did since it is there. Numbers that change under its name and scopes begin nothing anew.
type RuleStats struct {
	Rule    string
	Met     uint64 // requests that it stood in the way of; of a rule that is only observed those that it would have stood in the way of
	Refused uint64 // those that were turned away because of it
	Observe bool
	Entries int   // that it keeps apart
	Spends  bool  // it has a limit of spend
	Spent   int64 // NanoUSD that was settled under it
}

// Stats tells of all rules.
func (s *Set) Stats() []RuleStats {
	var all []RuleStats
	for _, r := range s.plan.Load().rules {
		t := r.table
		st := RuleStats{Rule: r.Name, Met: t.met.Load(), Refused: t.refused.Load(), Observe: r.Observe, Entries: t.len(), Spent: t.spent.Load()}
		st.Spends = slices.ContainsFunc(r.Limits, func(l Limit) bool { return l.Of == Spend })
		all = append(all, st)
	}
	return all
}

// Leases is how many there are, and Leaked how many ended by themselves so far.
func (s *Set) Leases() (held int64, leaked uint64) {
	for i := range s.leases.shards {
		held += s.leases.shards[i].held.Load()
	}
	return held, s.leaked.Load()
}

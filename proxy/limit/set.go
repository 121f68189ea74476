package limit

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Options of a Set.
type Options struct {
	Entries int           // of a rule that counts each on its own, at a time; at least 8, 0: DefaultEntries
	Lease   time.Duration // after which what a request has reserved is free again unless it was renewed; 0: DefaultLease
	Idle    time.Duration // after which an entry that nobody uses goes; 0: DefaultIdle
}

// The defaults of Options.
const (
	DefaultEntries = 10_000
	DefaultLease   = 15 * time.Minute
	DefaultIdle    = 10 * time.Minute
)

// Set holds limits and what is left of them.
type Set struct {
	o      Options
	epoch  time.Time
	plan   atomic.Pointer[plan]
	leases leases
	leaked atomic.Uint64

	configure sync.Mutex
	tables    uint64 // made so far
}

// plan is a version of the rules.
type plan struct {
	version uint32
	rules   []*rule
	named   map[ID][]*rule // for a caller that has rules of its own: all that may be for it
	others  []*rule        // for all other callers
}

// rule is a Rule in force. Lists of rules are in the order of their tables.
type rule struct {
	Rule
	version uint32
	table   *table
}

// New makes a set without rules. now starts its clock.
func New(now time.Time, o Options) *Set {
	o.Entries, o.Lease, o.Idle = cmp.Or(o.Entries, DefaultEntries), cmp.Or(o.Lease, DefaultLease), cmp.Or(o.Idle, DefaultIdle)
	s := &Set{o: o, epoch: now}
	s.leases.init()
	s.plan.Store(&plan{})
	return s
}

// monotonic tells that t carries a reading of the clock that is not set.
func monotonic(t time.Time) bool { return t != t.Round(0) }

// at reads both clocks of now.
func (s *Set) at(now time.Time) instant {
	return instant{mono: int64(now.Sub(s.epoch)), wall: now.UnixNano(), steady: monotonic(s.epoch) && monotonic(now)}
}

// ErrRules is the cause of the errors of Configure.
var ErrRules = errors.New("limits")

// Configure puts rules in force. A rule that has the name and the scopes of one before goes on with its counts, under its new numbers; requests under way are
// settled where they were reserved.
func (s *Set) Configure(now time.Time, rules []Rule) error {
	s.configure.Lock()
	defer s.configure.Unlock()
	if err := check(rules); err != nil {
		return err
	}
	at, was := s.at(now), s.plan.Load()
	next := &plan{version: was.version + 1, named: map[ID][]*rule{}}
	for i := range rules {
		r := &rule{Rule: rules[i], version: next.version}
		r.Limits = slices.Clone(r.Limits)
		for j := range r.Limits {
			r.Limits[j].filled = rate{}
			r.Limits[j].filled = r.Limits[j].rate()
		}
		for _, o := range was.rules {
			if o.Name == r.Name && o.Caller == r.Caller && o.Route == r.Route && o.Target == r.Target {
				r.table = o.table
			}
		}
		if r.table == nil {
			s.tables++
			r.table = newTable(s.tables, &r.Rule)
			r.table.rest.adapt(at, r)
		}
		next.rules = append(next.rules, r)
	}
	slices.SortFunc(next.rules, func(a, b *rule) int { return cmp.Compare(a.table.order, b.table.order) })
	for _, r := range next.rules {
		if id := r.Caller.Only; id != 0 {
			next.named[id] = nil
		} else {
			next.others = append(next.others, r)
		}
	}
	for id := range next.named {
		for _, r := range next.rules {
			if r.Caller.holds(id) {
				next.named[id] = append(next.named[id], r)
			}
		}
	}
	s.plan.Store(next) // before any entry is adapted: whoever finds one that is newer finds the rules that it is of
	for _, r := range next.rules {
		lock([]*entry{r.table.rest}, at, next)
		r.table.rest.mu.Unlock()
	}
	return nil
}

// check looks at all rules before anything is changed.
func check(rules []Rule) error {
	for i := range rules {
		r := &rules[i]
		if err := r.check(); err != nil {
			return fmt.Errorf("%w: rule %q: %w", ErrRules, r.Name, err)
		}
		if slices.ContainsFunc(rules[:i], func(o Rule) bool { return o.Name == r.Name }) {
			return fmt.Errorf("%w: rule %q: there are two", ErrRules, r.Name)
		}
	}
	return nil
}

// Part says which rules a call is about.
type Part uint8

// The parts.
const (
	Whole    Part = iota // all
	Exchange             // those that are not about targets: before a target is chosen
	Attempt              // those that are
)

// Request is what wants to be sent, with what it is thought to take.
type Request struct {
	Caller, Route, Target ID
	Part                  Part
	Again                 bool   // it was refused before, or may go elsewhere, and is not counted as one that a limit stood in the way of
	Turn                  Place  // where it has waited and has its turn: it is behind those that wait at wider places only
	Owner                 uint64 // of the lease, for whoever looks for leaks
	Input, Output         int64  // tokens
	Cost                  int64  // NanoUSD
}

// maxMatched is how many rules may be for a request before it costs an allocation.
const maxMatched = 16

// match appends the entries of all rules that are for q, in the order to lock them, and pins them.
func (s *Set) match(dst []*entry, at instant, p *plan, q *Request) []*entry {
	rules, own := p.named[q.Caller]
	if !own {
		rules = p.others
	}
	for _, r := range rules {
		if !r.Route.holds(q.Route) || !r.Target.holds(q.Target) || q.Part == Exchange && r.ofTarget() || q.Part == Attempt && !r.ofTarget() {
			continue
		}
		k := key{}
		if r.Caller.Each {
			k.caller = q.Caller
		}
		if r.Route.Each {
			k.route = q.Route
		}
		if r.Target.Each {
			k.target = q.Target
		}
		dst = append(dst, r.table.find(at, k, r, s.o.Entries))
	}
	return dst
}

// lock locks entries and brings their states to the rules of p. It is false, and none is locked, where there are newer ones already.
func lock(entries []*entry, at instant, p *plan) bool {
	for i, e := range entries {
		e.mu.Lock()
		switch {
		case e.rule.version < p.version:
			for _, r := range p.rules {
				if r.table == e.table {
					e.adapt(at, r)
				}
			}
		case e.rule.version > p.version:
			unlock(entries[:i+1])
			return false
		}
	}
	return true
}

func unlock(entries []*entry) {
	for _, e := range entries {
		e.mu.Unlock()
	}
}

func unpin(entries []*entry) {
	for _, e := range entries {
		e.unpin()
	}
}

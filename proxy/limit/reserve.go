package limit

import (
	"math"
	"time"
)

// Refusal says which limit stands in the way. Of several it is the one that opens last.
type Refusal struct {
	Rule  string
	Limit Limit
	// Whose it is: what the rule tells apart or names; 0: it is for all. Shared tells that more callers came than are kept apart, and this is what is left for all of those.
	Caller, Route, Target ID
	Shared                bool
	Left                  int64 // of the limit; may be less than was asked for
	// Retry is when the request has room, if nobody else takes it: exact but for concurrency and for budgets that are reserved and not yet spent. Never tells that
	// waiting is of no use, as it asks for more than the limit ever holds.
	Retry time.Duration
	Never bool

	refused bool
}

// Refused tells that there is one.
func (r *Refusal) Refused() bool { return r.refused }

// Reserve takes what q is thought to need from every limit that it is under, or refuses it and takes nothing. Limits that are only observed take part and refuse nothing. A lease
// has to end by Settle or Cancel; one that does not ends by itself.
func (s *Set) Reserve(now time.Time, q *Request) (Lease, Refusal) {
	at := s.at(now)
	lease, refusal := s.reserve(at, q)
	if refusal.Refused() && s.expire(at) > 0 { // leaks may have been what stood in the way
		again := *q
		again.Again = true
		return s.reserve(at, &again)
	}
	return lease, refusal
}

func (s *Set) reserve(at instant, q *Request) (Lease, Refusal) {
	p := s.plan.Load()
	if len(p.rules) == 0 {
		return Lease{}, Refusal{}
	}
	var room [maxMatched]*entry
	var a amounts
	a.set(q.Input, q.Output, q.Cost)
	entries := s.match(room[:0], at, p, q)
	if len(entries) == 0 {
		return Lease{}, Refusal{}
	}
	lock(entries, at, p)
	refusal, delay := refuse(entries, at, &a, !q.Again)
	if refusal.Refused() {
		unlock(entries)
		unpin(entries)
		return Lease{}, refusal
	}
	for _, e := range entries {
		for i := range e.states {
			l := &e.rule.Limits[i]
			e.states[i].reserve(a[l.Of], l)
		}
	}
	unlock(entries)
	lease := s.leases.add(q.Owner, p.version, entries, &a, at.mono, plus(at.mono, int64(s.o.Lease)))
	lease.Delay = delay
	return lease, Refusal{}
}

// refuse looks for room in all limits. The entries are locked.
func refuse(entries []*entry, at instant, a *amounts, count bool) (r Refusal, delay time.Duration) {
	longest := time.Duration(-1)
	for _, e := range entries {
		over := false
		for i := range e.states {
			l, s := &e.rule.Limits[i], &e.states[i]
			s.roll(at, l)
			wait, never := s.wait(a[l.Of], at, l)
			if wait <= l.Smooth && !never {
				if !e.rule.Observe {
					delay = max(delay, wait)
				}
				continue
			}
			over = true
			if wait -= l.Smooth; e.rule.Observe || r.Never || wait <= longest && !never {
				continue
			}
			longest = wait
			r = Refusal{
				Rule: e.rule.Name, Limit: *l, Left: s.left(l), Retry: wait, Never: never, refused: true,
				Caller: max(e.key.caller, e.rule.Caller.Only), Route: max(e.key.route, e.rule.Route.Only), Target: max(e.key.target, e.rule.Target.Only),
				Shared: e.table.each && e == e.table.rest,
			}
		}
		if over && count {
			e.rule.refused.Add(1)
		}
	}
	return r, delay
}

// Usage is what a request really took.
type Usage struct {
	Input, Output int64 // tokens
	Cost          int64 // NanoUSD
}

// Settle ends a lease: what was used takes the place of what was reserved. It is false, and nothing has happened, where the lease had ended already: then Charge can
// still count the usage.
func (s *Set) Settle(now time.Time, lease Lease, u Usage) bool {
	var a amounts
	a.set(u.Input, u.Output, u.Cost)
	return s.end(s.at(now), lease, &a)
}

// Cancel ends a lease of a request that has taken nothing: it was not sent, failed, or was answered from the cache. All of it is free again at once. It is false where
// the lease had ended already.
func (s *Set) Cancel(now time.Time, lease Lease) bool { return s.end(s.at(now), lease, &amounts{}) }

func (s *Set) end(at instant, lease Lease, used *amounts) bool {
	shard, r := s.leases.get(lease)
	if r == nil {
		return false
	}
	var room [maxMatched]*entry
	was, entries := shard.remove(lease.index, room[:0])
	shard.mu.Unlock()
	settle(entries, &was, at, used)
	return true
}

// settle puts used in the place of what a lease reserved.
func settle(entries []*entry, was *record, at instant, used *amounts) {
	for _, e := range entries {
		e.mu.Lock()
		for i := range e.states {
			l, s := &e.rule.Limits[i], &e.states[i]
			s.roll(at, l)
			reserved, kept := was.amounts[l.Of], time.Duration(minus(at.mono, was.began))
			if s.born > was.version { // it came after the lease
				reserved, kept = 0, 0
			}
			s.settle(reserved, used[l.Of], kept, l)
		}
		e.mu.Unlock()
		e.unpin()
	}
}

// Charge counts usage for which nothing was reserved.
func (s *Set) Charge(now time.Time, q *Request, u Usage) {
	at, p := s.at(now), s.plan.Load()
	var room [maxMatched]*entry
	var a amounts
	a.set(u.Input, u.Output, u.Cost)
	entries := s.match(room[:0], at, p, q)
	lock(entries, at, p)
	unlock(entries) // all have the states of the rules in force
	settle(entries, &record{version: p.version, began: math.MaxInt64}, at, &a)
}

// Renew lets a lease last anew. It is false where the lease has ended.
func (s *Set) Renew(now time.Time, lease Lease) bool {
	shard, r := s.leases.get(lease)
	if r == nil {
		return false
	}
	defer shard.mu.Unlock()
	shard.unlink(lease.index)
	r.end = plus(s.at(now).mono, int64(s.o.Lease))
	shard.link(lease.index)
	return true
}

// expire ends the leases whose time is over, as if they had been canceled.
func (s *Set) expire(at instant) (ended int) {
	for i := range s.leases.shards {
		shard := &s.leases.shards[i]
		for {
			if due := shard.due.Load(); due == 0 || due > at.mono {
				break
			}
			var room [maxMatched]*entry
			shard.mu.Lock()
			if shard.first < 0 || shard.records[shard.first].end > at.mono {
				shard.mu.Unlock()
				break
			}
			was, entries := shard.remove(uint32(shard.first), room[:0]) //nolint:gosec // not negative
			shard.mu.Unlock()
			was.began = math.MaxInt64 // it says nothing of how long requests last
			settle(entries, &was, at, &amounts{})
			ended++
		}
	}
	s.leaked.Add(uint64(ended)) //nolint:gosec // a count
	return ended
}

// Sweep ends leases whose time is over and drops entries that nobody uses. It has to be called now and then, every second or so.
func (s *Set) Sweep(now time.Time) (ended, dropped int) {
	at := s.at(now)
	ended = s.expire(at)
	for _, r := range s.plan.Load().rules {
		dropped += r.table.sweep(at, minus(at.mono, int64(s.o.Idle)))
	}
	return ended, dropped
}

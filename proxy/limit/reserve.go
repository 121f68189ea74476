package limit

import (
	"math"
	"time"
)

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
	var room [maxMatched]*entry
	p, entries := s.hold(room[:0], at, q)
	if len(entries) == 0 {
		return Lease{}, Refusal{}
	}
	var a amounts
	a.set(q.Input, q.Output, q.Cost)
	refusal, delay, spared := refuse(entries, at, &a, q)
	if refusal.Refused() {
		unlock(entries)
		unpin(entries)
		return Lease{}, refusal
	}
	for n, e := range entries {
		for i := range e.states {
			if l := &e.rule.Limits[i]; spared&(1<<n) == 0 || !l.bucketed() {
				e.states[i].reserve(a[l.Of], at, l)
			}
		}
	}
	unlock(entries)
	lease := s.leases.add(&record{owner: q.Owner, version: p.version, spared: spared, amounts: a, began: at.mono, end: plus(at.mono, int64(s.o.Lease))}, entries)
	lease.Delay = delay
	return lease, Refusal{}
}

// hold matches a request with the rules in force, and locks its entries, with the states of those rules.
func (s *Set) hold(dst []*entry, at instant, q *Request) (*plan, []*entry) {
	for {
		p := s.plan.Load()
		entries := s.match(dst, at, p, q)
		if lock(entries, at, p) {
			return p, entries
		}
		unpin(entries) // the rules have changed meanwhile
	}
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
	return s.end(s.at(now), lease, &a, true)
}

// Cancel ends a lease of a request that has taken nothing: it was not sent, failed, or was answered from the cache. All of it is free again at once. It is false where
// the lease had ended already.
func (s *Set) Cancel(now time.Time, lease Lease) bool {
	return s.end(s.at(now), lease, &amounts{}, false)
}

// end ends a lease. lasted tells that it says how long requests last.
func (s *Set) end(at instant, lease Lease, used *amounts, lasted bool) bool {
	shard, r := s.leases.get(lease)
	if r == nil {
		return false
	}
	var room [maxMatched]*entry
	was, entries := shard.remove(lease.index, room[:0])
	shard.mu.Unlock()
	if !lasted {
		was.began = math.MaxInt64
	}
	settle(entries, &was, at, used)
	return true
}

// settle puts used in the place of what a lease reserved, and tells those who wait.
func settle(entries []*entry, was *record, at instant, used *amounts) {
	for n, e := range entries {
		e.mu.Lock()
		spends := false
		for i := range e.states {
			l, s := &e.rule.Limits[i], &e.states[i]
			if spends = spends || l.Of == Spend; was.spared&(1<<n) != 0 && l.bucketed() {
				continue
			}
			s.roll(at, l)
			reserved, kept := was.amounts[l.Of], time.Duration(minus(at.mono, was.began))
			if s.born > was.version { // it came after the lease
				reserved, kept = 0, 0
			}
			s.settle(reserved, used[l.Of], kept, l)
		}
		e.mu.Unlock()
		if spends && used[Spend] > 0 {
			e.table.spend(used[Spend])
		}
		if l := e.line.Load(); l != nil && l.Len() > 0 {
			l.Nudge()
		}
		e.unpin()
	}
}

// Charge counts usage for which nothing was reserved.
func (s *Set) Charge(now time.Time, q *Request, u Usage) {
	at := s.at(now)
	var room [maxMatched]*entry
	var a amounts
	a.set(u.Input, u.Output, u.Cost)
	p, entries := s.hold(room[:0], at, q)
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

package limit

import (
	"sync"
	"sync/atomic"
	"time"
)

// key tells entries of one rule apart: 0 where the rule does not.
type key struct{ caller, route, target ID }

// entry is the state of a rule for one key. Requests lock the entries that they need in the order of their tables, check all, take all, and unlock.
type entry struct {
	key   key
	table *table
	pins  atomic.Int32 // who works with it or has reserved in it: it stays in the table

	mu     sync.Mutex
	rule   *rule // in force for the states
	states []state
	way    inWay

	line atomic.Pointer[Line] // of those who wait for room

	newer, older *entry // in its shard, guarded by that
	used         int64  // nanoseconds, of the last request
}

// adapt makes the states those of a newer version of the rule; counts that both have go on. e.mu is held, or nobody else has e yet.
func (e *entry) adapt(at instant, r *rule) {
	if e.rule != nil && e.rule.version >= r.version {
		return
	}
	states := make([]state, len(r.Limits))
	for i := range r.Limits {
		l := &r.Limits[i]
		states[i] = newState(at, l, r.version)
		if e.rule == nil {
			continue
		}
		for j := range e.rule.Limits {
			if was := &e.rule.Limits[j]; l.same(was) {
				if states[i] = e.states[j]; l.bucketed() { // who had all of it has all of it
					s := &states[i].bucket
					s.fill(at, was.rate())
					s.level, s.part = min(plus(s.level, minus(l.rate().burst, was.rate().burst)), l.rate().burst), 0
					if e.rule.Observe && !r.Observe { // what was let through by a limit that only counted is not owed
						s.level = max(s.level, 0)
					}
				}
			}
		}
	}
	e.rule, e.states, e.way = r, states, inWay{}
}

// idle tells that a new entry would be in the same state. Nobody else has e.
func (e *entry) idle(at instant) bool {
	for i := range e.states {
		if e.states[i].roll(at, &e.rule.Limits[i]); !e.states[i].idle(&e.rule.Limits[i]) {
			return false
		}
	}
	return true
}

func (e *entry) pin() {
	if e.table.each {
		e.pins.Add(1)
	}
}

func (e *entry) unpin() {
	if e.table.each {
		e.pins.Add(-1)
	}
}

const (
	tableShards = 8
	// tried is how many of the entries that were not used for longest are looked at for one that may go.
	tried = 4
	// usedGrain is how exactly it is known when an entry was used: those in constant use need not change places each time.
	usedGrain = int64(time.Second)
)

// table holds the entries of a rule, at most so many. An entry that is not idle never goes, so that nobody can flush a budget by coming under many names; those for whom
// there is no place then share one entry.
type table struct {
	order  uint64 // entries are locked in this order
	width  int
	each   bool   // it holds more than one
	rest   *entry // of those for whom there is no place; where the rule tells nobody apart of all
	shards [tableShards]shard

	// For as long as the rule is there, whatever its numbers.
	met     atomic.Uint64 // requests that it stood in the way of
	refused atomic.Uint64 // those of them that were turned away
	spent   atomic.Int64  // NanoUSD
}

type shard struct {
	mu             sync.Mutex
	entries        map[key]*entry
	newest, oldest *entry
}

func newTable(order uint64, r *Rule) *table {
	each := r.Caller.Each || r.Route.Each || r.Target.Each
	t := &table{order: order, each: each, width: r.width()}
	t.rest = &entry{table: t}
	if each {
		for i := range t.shards {
			t.shards[i].entries = map[key]*entry{}
		}
	}
	return t
}

// find returns the entry of a key, pinned, and makes it where there is a place.
func (t *table) find(at instant, k key, r *rule, most int) *entry {
	if !t.each {
		return t.rest
	}
	mixed := (uint64(k.caller) ^ uint64(k.route)*3 ^ uint64(k.target)*5) * 0x9e3779b97f4a7c15
	s := &t.shards[mixed>>61]
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entries[k]
	if e == nil {
		if len(s.entries) >= max(most/tableShards, 1) && !s.evict(at) {
			t.rest.pins.Add(1)
			return t.rest
		}
		e = &entry{key: k, table: t}
		e.adapt(at, r)
		s.entries[k] = e
		e.used = at.mono
		s.link(e)
	} else if at.mono-e.used > usedGrain || at.mono < e.used {
		s.unlink(e)
		e.used = at.mono
		s.link(e)
	}
	e.pins.Add(1)
	return e
}

// evict makes a place. s.mu is held.
func (s *shard) evict(at instant) bool {
	e := s.oldest
	for range tried {
		if e == nil {
			return false
		}
		newer := e.newer
		if s.drop(at, e) {
			return true
		}
		e = newer
	}
	return false
}

// drop takes an entry out that is idle. s.mu is held: nobody can pin it meanwhile.
func (s *shard) drop(at instant, e *entry) bool {
	if e.pins.Load() != 0 || !e.idle(at) {
		return false
	}
	s.unlink(e)
	delete(s.entries, e.key)
	return true
}

// sweep takes out what is idle and was not used since.
func (t *table) sweep(at instant, since int64) (gone int) {
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.Lock()
		for e := s.oldest; e != nil && e.used < since; {
			newer := e.newer
			if s.drop(at, e) {
				gone++
			}
			e = newer
		}
		s.mu.Unlock()
	}
	return gone
}

// spend counts what was spent, without ever running over.
func (t *table) spend(n int64) {
	for was := t.spent.Load(); !t.spent.CompareAndSwap(was, plus(was, n)); was = t.spent.Load() {
	}
}

// all appends all entries that are kept apart, pinned: who looks at many must not hold up those who look for theirs.
func (t *table) all(dst []*entry) []*entry {
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.Lock()
		for _, e := range s.entries {
			e.pins.Add(1)
			dst = append(dst, e)
		}
		s.mu.Unlock()
	}
	return dst
}

func (t *table) len() (n int) {
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.Lock()
		n += len(s.entries)
		s.mu.Unlock()
	}
	return n
}

func (s *shard) link(e *entry) {
	e.older, e.newer = s.newest, nil
	if s.newest != nil {
		s.newest.newer = e
	} else {
		s.oldest = e
	}
	s.newest = e
}

func (s *shard) unlink(e *entry) {
	if e.newer != nil {
		e.newer.older = e.older
	} else {
		s.newest = e.older
	}
	if e.older != nil {
		e.older.newer = e.newer
	} else {
		s.oldest = e.newer
	}
}

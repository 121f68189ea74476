package storage

import (
	"slices"
	"time"
)

// sweep gives up what has expired, one shard at a time, and what is too much.
func (m *Memory) sweep() {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	halved := uint64(0) // accesses at that time
	for i := 0; ; i++ {
		select {
		case <-m.stop:
			return
		case now := <-tick.C:
			if n := m.accesses(); n-halved > demandWindow*uint64(max(m.count.Load(), 256)) { //nolint:gosec // not negative
				m.demand.Load().halve()
				halved = n
			}
			m.upkeep.Lock()
			m.sweepShard(&m.shards[i%memoryShards], now)
			m.shrink(now)
			m.upkeep.Unlock()
		}
	}
}

// sweepShard is called with upkeep held, as is all that deletes.
func (m *Memory) sweepShard(s *memoryShard, now time.Time) {
	at := now.UnixNano()
	m.drop(s.those(func(e *memoryEntryOf) bool {
		if !e.over(at) {
			return e.dead.Load()
		}
		if !e.dead.Swap(true) {
			m.expired.Add(1)
		}
		return true
	}))
}

// those returns the entries for which pick holds.
func (s *memoryShard) those(pick func(*memoryEntryOf) bool) (out []*memoryEntryOf) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.list {
		if pick(e) {
			out = append(out, e)
		}
	}
	return out
}

// drop has ristretto give entries up. One that has just been replaced takes its successor along, which costs a miss.
func (m *Memory) drop(entries []*memoryEntryOf) {
	if m.closed {
		return
	}
	for i, e := range entries {
		m.cache.Del(memoryHash(&e.key))
		if i%dropBatch == dropBatch-1 {
			m.cache.Wait()
		}
	}
	if len(entries) > 0 {
		m.cache.Wait()
	}
}

// shrink gives up what was not hit for the longest time, until the entries fit: room is made for new entries only, and not
// when others grow or the limit falls.
func (m *Memory) shrink(now time.Time) {
	most := judged(m.limit.Load())
	if m.bytes.Load() <= most {
		return
	}
	if m.closed {
		return
	}
	m.cache.Wait() // what is on its way counts
	excess := m.bytes.Load() - most
	if excess <= 0 {
		return
	}
	type aged struct {
		e   *memoryEntryOf
		age int64
	}
	var all []aged
	for i := range m.shards {
		for _, e := range m.shards[i].those(func(*memoryEntryOf) bool { return true }) {
			all = append(all, aged{e, now.UnixNano() - e.lastHit.Load()})
		}
	}
	slices.SortFunc(all, func(a, b aged) int { return int(min(max(b.age-a.age, -1), 1)) })
	var out []*memoryEntryOf
	for i := 0; i < len(all) && excess > 0; i++ {
		out = append(out, all[i].e)
		if excess -= all[i].e.cost(); !all[i].e.dead.Swap(true) {
			m.evicted.Add(1)
		}
	}
	m.drop(out)
}

// Resize changes the limit, in bytes. When it returns no more than that is held.
func (m *Memory) Resize(now time.Time, limit int64) {
	m.upkeep.Lock()
	defer m.upkeep.Unlock()
	m.limit.Store(max(limit, 0))
	if d := newDemand(limit); len(d.lines) != len(m.demand.Load().lines) { // what is known of the demand is lost
		m.demand.Store(d)
	}
	m.shrink(now)
}

// accesses is how often anything was asked for.
func (m *Memory) accesses() (n uint64) {
	for i := range m.shards {
		n += m.shards[i].hits.Load() + m.shards[i].misses.Load()
	}
	return n
}

// Purge gives up the entries that filter picks, or only counts them when dry is set. When it returns, none of those that were there when it
// was called is served any more.
func (m *Memory) Purge(now time.Time, filter *CacheFilter, dry bool) (n CacheAmount) {
	picked := selectionOf(filter)
	m.upkeep.Lock()
	defer m.upkeep.Unlock()
	if !dry {
		m.purges.Add(1)
	}
	at := now.UnixNano()
	var out []*memoryEntryOf
	shards := m.shards[:]
	if picked.key != nil {
		i := memoryHash(picked.key) % memoryShards
		shards = m.shards[i : i+1]
	}
	for i := range shards {
		out = append(out, shards[i].those(func(e *memoryEntryOf) bool {
			if !picked.holds(&e.key, &e.tags) {
				return false
			}
			if e.dead.Load() || e.over(at) || !dry && e.dead.Swap(true) {
				return false // the sweep has it
			}
			n.Entries++
			n.Bytes += e.cost()
			return true
		})...)
	}
	if !dry {
		m.purged.Add(uint64(len(out)))
		m.drop(out)
	}
	return n
}

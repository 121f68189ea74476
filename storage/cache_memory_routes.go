package storage

import (
	"math/rand/v2"
	"sync/atomic"
)

const (
	// roomTries is how many entries of a route may go for a new one.
	roomTries = 8
	// roomSample is how many are looked at for each, of which the one goes that was not hit for the longest time.
	roomSample = 32
)

// heldBy is how many bytes the entries of a route occupy, by the hash of its name.
func (m *Memory) heldBy(route uint64) *atomic.Int64 {
	if n, known := m.held.Load(route); known {
		return n.(*atomic.Int64) //nolint:forcetypeassert // the map holds nothing else
	}
	n, _ := m.held.LoadOrStore(route, new(atomic.Int64))
	return n.(*atomic.Int64) //nolint:forcetypeassert // the map holds nothing else
}

// makeRoom gives entries of a route up until another one fits below its limit; false: it does not. The shard's gate is held for reading.
func (m *Memory) makeRoom(e *memoryEntryOf, limit int64) bool {
	if e.cost() > limit {
		return false
	}
	held := m.heldBy(e.tags[0])
	for tries := 0; held.Load()+e.cost() > limit; tries++ {
		if tries == roomTries {
			return false
		}
		victim := m.shard(memoryHash(&e.key)).oldest(e.tags[0])
		if victim == nil {
			return false
		}
		if !victim.dead.Swap(true) {
			m.evicted.Add(1)
		}
		m.cache.Del(memoryHash(&victim.key)) // which calls leave
	}
	return true
}

// oldest is the entry of a route that was not hit for the longest time, of some; nil: none was met.
func (s *memoryShard) oldest(route uint64) (victim *memoryEntryOf) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.list)
	if n == 0 {
		return nil
	}
	seen, from := 0, rand.IntN(n) //nolint:gosec // any will do
	for i := 0; i < n && seen < roomSample; i++ {
		e := s.list[(from+i)%n]
		if e.tags[0] != route || e.dead.Load() {
			continue
		}
		if seen++; victim == nil || e.lastHit.Load() < victim.lastHit.Load() {
			victim = e
		}
	}
	return victim
}

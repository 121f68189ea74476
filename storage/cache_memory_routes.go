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

// routeBytes are those of a route's entries.
type routeBytes struct {
	all    atomic.Int64
	doomed atomic.Int64 // of entries that have to go, and are still on their way out
}

// heldBy is what the entries of a route occupy, by the hash of its name.
func (m *Memory) heldBy(route uint64) *routeBytes {
	if n, known := m.held.Load(route); known {
		return n.(*routeBytes) //nolint:forcetypeassert // the map holds nothing else
	}
	n, _ := m.held.LoadOrStore(route, new(routeBytes))
	return n.(*routeBytes) //nolint:forcetypeassert // the map holds nothing else
}

// makeRoom gives entries of a route up until another one fits below its limit; false: it does not. old is the one whose place it takes, nil for none. The shard's gate is
// held for reading.
func (m *Memory) makeRoom(e, old *memoryEntryOf, limit int64) bool {
	if e.cost() > limit {
		return false
	}
	held := m.heldBy(e.tags[0])
	goes := int64(0)
	if old != nil && old.tags[0] == e.tags[0] {
		goes = old.cost()
	}
	for tries := 0; held.all.Load()-held.doomed.Load()+e.cost()-goes > limit; tries++ {
		if tries == roomTries {
			return false
		}
		victim := m.oldest(e)
		if victim == nil {
			return false
		}
		m.giveUp(victim)
	}
	return true
}

// oldest is an entry of the same route that was not hit for long, but for the one whose place the newcomer takes: of its shard or, where that has none, of the next one
// that has. nil: there is none.
func (m *Memory) oldest(e *memoryEntryOf) (victim *memoryEntryOf) {
	from := memoryHash(&e.key)
	for i := uint64(0); i < memoryShards && victim == nil; i++ {
		victim = m.shard(from + i).oldest(e)
	}
	return victim
}

// oldest is the one that was not hit for the longest time, of some.
func (s *memoryShard) oldest(newcomer *memoryEntryOf) (victim *memoryEntryOf) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.list)
	if n == 0 {
		return nil
	}
	seen, from := 0, rand.IntN(n) //nolint:gosec // any will do
	for i := 0; i < n && seen < roomSample; i++ {
		e := s.list[(from+i)%n]
		if e.tags[0] != newcomer.tags[0] || e.key == newcomer.key || e.doomed {
			continue
		}
		if e.dead.Load() { // it is lost anyway
			return e
		}
		if seen++; victim == nil || e.lastHit.Load() < victim.lastHit.Load() {
			victim = e
		}
	}
	return victim
}

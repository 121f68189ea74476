package storage

import (
	"math/rand/v2"
	"slices"
)

const (
	// victimSample is how many entries are looked at to find those that are worth least. More gain nothing; see TestMemory_SavesWhatItCan.
	victimSample = 8
	// victimTurn is how many of a sample may go before another one is taken.
	victimTurn = 2
	// victimsMost is how many may go for one that comes.
	victimsMost = 64
	// staleAges is after how many times the mean age of what was sampled, since its last hit, an entry counts for half.
	staleAges = 10
)

// candidate is an entry that may have to go.
type candidate struct {
	e     *memoryEntryOf
	worth float64 // by demand
	age   int64   // nanoseconds since its last hit
}

// density is what a candidate's place is worth.
func (c *candidate) density() float64 { return c.worth / float64(c.e.cost()) }

// worthOf is what keeping an entry is expected to save, as far as it can be compared: how often it is asked for, times what each hit saves. Where that is not
// known it counts as much as the other entries do for their size.
func (m *Memory) worthOf(e *memoryEntryOf) float64 {
	each := float64(e.worth)
	if e.worth <= 0 {
		each = float64(e.cost())
		if bytes, worth := m.valued.Load(), m.worth.Load(); bytes > 0 {
			each *= float64(worth) / float64(bytes)
		}
	}
	return each * float64(m.demand.Load().of(&e.key))
}

// makeWay gives up what is worth less than a new entry, until there is room for it; false: what would have to go is worth more. It follows Einziger et al., Lightweight Robust Size Aware Cache
// Management (ACM TOS 2022): the newcomer is measured against all that it would drive out, here by what is saved, and not by hits. old is the one whose place it takes, nil
// for none: one of its own key is replaced in any case. The shard's gate is held for reading.
func (m *Memory) makeWay(e, old *memoryEntryOf) bool {
	need := m.bytes.Load() - m.doomed.Load() + e.cost() - judged(m.limit.Load())
	if old != nil {
		need -= old.cost()
	}
	replaces := old != nil && old.key == e.key && !old.dead.Load()
	if need <= 0 {
		return true
	}
	mine, theirs := m.worthOf(e), 0.
	var victims [victimsMost]*memoryEntryOf
	n := 0
	for need > 0 {
		var sample [victimSample]candidate
		found := m.sample(sample[:0], e, victims[:n])
		if len(found) == 0 {
			return false
		}
		for i := 0; i < min(len(found), victimTurn) && need > 0; i++ {
			if theirs += found[i].worth; n == len(victims) || !replaces && theirs > mine {
				return false
			}
			victims[n], need = found[i].e, need-found[i].e.cost()
			n++
		}
	}
	for _, v := range victims[:n] {
		m.giveUp(v)
	}
	return true
}

// giveUp has an entry go that makes room for another one.
func (m *Memory) giveUp(e *memoryEntryOf) {
	if !e.dead.Swap(true) {
		m.evicted.Add(1)
	}
	m.doom(e)
	m.cache.Del(memoryHash(&e.key)) // which calls leave
}

// doom counts an entry as one that makes room: ristretto may be a while behind, and what has gone for one newcomer need not go for the next one again.
func (m *Memory) doom(e *memoryEntryOf) {
	s := m.shard(memoryHash(&e.key))
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.place > 0 && !e.doomed {
		e.doomed = true
		m.doomed.Add(e.cost())
		m.heldBy(e.tags[0]).doomed.Add(e.cost())
	}
}

// sample looks at some entries, and gives them in the order in which they should go. Those that are lost anyway come first.
func (m *Memory) sample(found []candidate, e *memoryEntryOf, chosen []*memoryEntryOf) []candidate {
	now, ages := e.lastHit.Load(), int64(0)
	from := rand.IntN(memoryShards) //nolint:gosec // any will do
	for i := 0; i < memoryShards && len(found) < victimSample; i++ {
		found = m.shards[(from+i)%memoryShards].some(found, e, chosen)
	}
	for i := range found {
		c := &found[i]
		c.age = max(now-c.e.lastHit.Load(), 0)
		ages += c.age / int64(len(found))
	}
	for i := range found {
		c := &found[i]
		if c.e.dead.Load() || c.e.over(now) {
			continue
		}
		c.worth = m.worthOf(c.e) / (1 + float64(c.age)/float64(staleAges*ages+1))
	}
	slices.SortFunc(found, func(a, b candidate) int {
		switch x, y := a.density(), b.density(); {
		case x < y:
			return -1
		case x > y:
			return 1
		}
		return 0
	})
	return found
}

// shardSample is how many entries of a shard are looked at, so that locks are few and samples mixed.
const shardSample = 4

// some adds entries of the shard, but for those that are chosen already and those of the newcomer's key.
func (s *memoryShard) some(found []candidate, e *memoryEntryOf, chosen []*memoryEntryOf) []candidate {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.list)
	if n == 0 {
		return found
	}
	from := rand.IntN(n) //nolint:gosec // any will do
	for i := 0; i < min(n, shardSample) && len(found) < victimSample; i++ {
		if one := s.list[(from+i)%n]; one.key != e.key && !one.doomed && !slices.Contains(chosen, one) {
			found = append(found, candidate{e: one})
		}
	}
	return found
}

package storage

import (
	"encoding/binary"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dgraph-io/ristretto/v2"
)

const (
	// memoryOverhead is what an entry occupies beside its value: itself, its places in ristretto's maps and in the list. Measured after ten million
	// keys; see TestMemory_CostIsWhatItOccupies.
	memoryOverhead = 400
	// memoryShards is a power of two, well above the number of processors.
	memoryShards = 64
	// headroom is the part of the memory that an entry may take, as a divisor.
	headroom = 16
	// slack is the part of the memory that is for entries which come while others go, as a divisor.
	slack = 64
	// sweepEvery is how often one shard is looked through for what has expired, so that nothing stays for more than a minute.
	sweepEvery = time.Second
	// lastHitGrain is how exact the time of the last hit is, so that an entry in demand is not written to at each hit.
	lastHitGrain = int64(100 * time.Millisecond)
	// dropBatch is how many deletions ristretto is given before it is waited for: updates must never find its queue full.
	dropBatch = 1000
)

// Memory is a cache in memory: it keeps entries up to a number of bytes, by how often they are asked for and what they save for their size. It is safe for
// concurrent use. Get does not allocate, and no call waits for another one but for moments.
//
// Ristretto holds the entries, and never gives one up by itself. It knows them by 64 bits of their keys; the whole key stands in the entry and is compared. Who
// stays is decided here, since ristretto does not look at sizes; for that, to keep the bound also while entries change size, and to forget those not hit for
// long, there is a list of them.
type Memory struct {
	cache  *ristretto.Cache[uint64, *memoryEntryOf]
	limit  atomic.Int64 // bytes, of all entries
	bytes  atomic.Int64
	doomed atomic.Int64 // bytes of entries that have to go, and are still on their way out
	count  atomic.Int64
	worth  atomic.Int64 // of the entries of which that is known
	valued atomic.Int64 // their bytes
	demand atomic.Pointer[demand]
	held   sync.Map      // *routeBytes by the hash of a route
	purges atomic.Uint64 // counts up with each purge, before it begins
	shards [memoryShards]memoryShard

	stored, evicted, rejected, expired, purged atomic.Uint64

	upkeep sync.Mutex // held by whoever deletes
	closed bool
	stop   chan struct{}
	ended  sync.WaitGroup
}

// memoryShard is a part of the entries, by the first bits of their keys.
type memoryShard struct {
	gate         sync.RWMutex // held for writing by Close only: ristretto must not be called any more then
	closed       bool
	hits, misses atomic.Uint64

	mu   sync.Mutex // innermost: nothing is called with it
	list []*memoryEntryOf
	_    [64]byte // shards do not share cache lines
}

// memoryEntryOf is an entry. All but the atomic fields and the place stays as it is.
type memoryEntryOf struct {
	key     CacheKey
	value   []byte
	expires int64 // Unix nanoseconds; 0: never
	idle    int64 // nanoseconds; 0: any
	tags    tags
	worth   int64        // NanoUSD that a hit saves; 0: not known
	lastHit atomic.Int64 // Unix nanoseconds
	place   int32        // in the list of the shard, from 1; 0: in none
	dead    atomic.Bool  // not served any more
	doomed  bool         // counted as such; guarded by the shard
}

func (e *memoryEntryOf) cost() int64 { return int64(cap(e.value)) + memoryOverhead }

func (e *memoryEntryOf) over(now int64) bool {
	return e.expires != 0 && now >= e.expires || e.idle != 0 && now-e.lastHit.Load() >= e.idle+lastHitGrain
}

func memoryHash(key *CacheKey) uint64 { return binary.LittleEndian.Uint64(key[:8]) }

func (m *Memory) shard(hash uint64) *memoryShard { return &m.shards[hash%memoryShards] }

// NewMemory returns an empty cache that holds at most limit bytes, overhead included. A limit of 0 keeps nothing.
func NewMemory(limit int64) *Memory {
	m := &Memory{stop: make(chan struct{})}
	m.demand.Store(newDemand(limit))
	m.limit.Store(max(limit, 0))
	cache, err := ristretto.NewCache(&ristretto.Config[uint64, *memoryEntryOf]{
		NumCounters:        1000, // which nothing depends on
		MaxCost:            math.MaxInt64 / 2,
		BufferItems:        64,
		IgnoreInternalCost: true,
		KeyToHash:          func(key uint64) (uint64, uint64) { return key, 0 },
		OnExit:             m.leave,
	})
	if err != nil {
		panic("BUG: ristretto's options: " + err.Error())
	}
	m.cache = cache
	m.ended.Go(m.sweep)
	return m
}

// judged is the part of the memory that is filled.
func judged(limit int64) int64 { return max(limit-limit/slack, 1) }

// Get returns the value under a key. Nobody may write to it.
func (m *Memory) Get(now time.Time, key CacheKey) (value []byte, found bool) {
	m.demand.Load().add(&key)
	e, s := m.find(&key)
	if e == nil {
		s.misses.Add(1)
		return nil, false
	}
	at := now.UnixNano()
	if e.over(at) {
		if !e.dead.Swap(true) {
			m.expired.Add(1)
		}
		s.misses.Add(1)
		return nil, false
	}
	if at-e.lastHit.Load() >= lastHitGrain {
		e.lastHit.Store(at)
	}
	s.hits.Add(1)
	return e.value, true
}

// find returns the living entry under a key, nil when there is none.
func (m *Memory) find(key *CacheKey) (*memoryEntryOf, *memoryShard) {
	hash := memoryHash(key)
	s := m.shard(hash)
	s.gate.RLock()
	if s.closed {
		s.gate.RUnlock()
		return nil, s
	}
	e, ok := m.cache.Get(hash)
	s.gate.RUnlock()
	if !ok || e.key != *key || e.dead.Load() {
		return nil, s
	}
	return e, s
}

// Put offers an entry, which replaces one of the same key. It may take some milliseconds until it is served, and it is not kept when it is less
// asked for than what it would replace, or larger than a sixteenth of the memory: false says that this is already clear.
func (m *Memory) Put(now time.Time, key CacheKey, item *CacheItem) bool {
	return m.put(now, &key, item, tagsOf(item.Route, item.Model, item.Caller), m.purges.Load())
}

// put is Put of an entry that was read when purges was as given: what has been purged since does not come back.
func (m *Memory) put(now time.Time, key *CacheKey, item *CacheItem, tags tags, purges uint64) bool {
	e := &memoryEntryOf{key: *key, value: item.Value, idle: int64(item.Idle), tags: tags, worth: item.Worth}
	e.lastHit.Store(now.UnixNano())
	if item.TTL > 0 {
		e.expires = now.Add(item.TTL).UnixNano()
	}
	limit, cost := m.limit.Load(), e.cost()
	if cost > limit/headroom || item.TTL < 0 {
		m.rejected.Add(1)
		return false
	}
	hash := memoryHash(key)
	s := m.shard(hash)
	s.gate.RLock()
	defer s.gate.RUnlock()
	if s.closed {
		return false
	}
	old, _ := m.cache.Get(hash)
	if item.RouteMemory > 0 && !m.makeRoom(e, old, item.RouteMemory) || !m.makeWay(e, old) {
		m.rejected.Add(1)
		return false
	}
	goes := int64(0) // as soon as the new one is there
	if old != nil {
		goes = old.cost()
	}
	if m.bytes.Add(cost)-goes > limit { // others have come at the same time
		m.bytes.Add(-cost)
		m.rejected.Add(1)
		return false
	}
	s.enter(e)
	m.count.Add(1)
	m.heldBy(tags[0]).all.Add(cost)
	m.value(e, 1)
	if m.purges.Load() != purges {
		m.leave(e)
		return false
	}
	if !m.cache.Set(hash, e, cost) {
		m.leave(e)
		m.rejected.Add(1)
		return false
	}
	m.stored.Add(1)
	if e.dead.Load() { // given up before ristretto knew it
		m.cache.Del(hash)
		return false
	}
	return true
}

// value adds what is known of an entry's worth, or takes it away.
func (m *Memory) value(e *memoryEntryOf, sign int64) {
	if e.worth > 0 {
		m.worth.Add(sign * e.worth)
		m.valued.Add(sign * e.cost())
	}
}

func (s *memoryShard) enter(e *memoryEntryOf) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = append(s.list, e)
	e.place = int32(len(s.list)) //nolint:gosec // far from 2 billion
}

// leave is called by ristretto for each entry that it gives up. It may be called twice for one.
func (m *Memory) leave(e *memoryEntryOf) {
	if e == nil {
		return
	}
	s := m.shard(memoryHash(&e.key))
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.place == 0 {
		return
	}
	last := len(s.list) - 1
	s.list[e.place-1] = s.list[last]
	s.list[e.place-1].place = e.place
	s.list[last] = nil
	s.list = s.list[:last]
	if cap(s.list) > 1024 && len(s.list) < cap(s.list)/4 {
		s.list = slices.Clone(s.list)
	}
	e.place = 0
	held := m.heldBy(e.tags[0])
	if e.doomed {
		m.doomed.Add(-e.cost())
		held.doomed.Add(-e.cost())
	}
	m.bytes.Add(-e.cost())
	m.value(e, -1)
	held.all.Add(-e.cost())
	m.count.Add(-1)
}

// Peek describes the entry under a key. It does not count as a hit.
func (m *Memory) Peek(now time.Time, key CacheKey) (info CacheInfo, found bool) {
	e, _ := m.find(&key)
	if e == nil || e.over(now.UnixNano()) {
		return info, false
	}
	info = CacheInfo{Value: e.value, Memory: true, LastHit: time.Unix(0, e.lastHit.Load())}
	if e.expires != 0 {
		info.Expires = time.Unix(0, e.expires)
	}
	return info, true
}

// Stats says how the cache does.
func (m *Memory) Stats() MemoryStats {
	s := MemoryStats{
		Entries: m.count.Load(), Bytes: m.bytes.Load(), Limit: m.limit.Load(),
		Stored: m.stored.Load(), Evicted: m.evicted.Load(), Rejected: m.rejected.Load(), Expired: m.expired.Load(), Purged: m.purged.Load(),
	}
	for i := range m.shards {
		s.Hits += m.shards[i].hits.Load()
		s.Misses += m.shards[i].misses.Load()
	}
	return s
}

// Close gives all entries up. Calls that come later find nothing.
func (m *Memory) Close() {
	m.upkeep.Lock()
	if m.closed {
		m.upkeep.Unlock()
		return
	}
	m.closed = true
	close(m.stop)
	m.upkeep.Unlock()
	m.ended.Wait()
	for i := range m.shards {
		s := &m.shards[i]
		s.gate.Lock()
		s.closed = true
		s.gate.Unlock()
	}
	m.cache.Close()
}

package storage

import (
	"time"
)

// CacheKey names an entry of a cache. It must be the whole of a cryptographic hash: the bytes are taken to be spread evenly, and
// entries whose keys are the same are taken to be the same.
type CacheKey = [32]byte

// CacheItem is what a cache keeps under a key. Like the types beside it, it is an alias, so that callers can say what they need of a cache
// without knowing this package.
type CacheItem = struct {
	Value []byte        // belongs to the cache from now on: nobody may write to it
	TTL   time.Duration // how long it is served; 0: for ever
	Idle  time.Duration // how long it is served without a hit; 0: for ever. On disk it runs from the write on.
	Worth int64         // what a hit saves, in NanoUSD; 0: not known. The tier in memory keeps what saves most for its size.
	// What a purge can name.
	Route, Model, Caller string
	RouteMemory          int64 // bytes that entries of the route may occupy in memory, this one and overhead included; 0: any
}

// CacheFilter picks entries: those for which all that is set holds. The zero value picks everything.
type CacheFilter = struct {
	Key                  *CacheKey
	Route, Model, Caller string
}

// CachePurge says what a purge took, or would take. An entry that is in memory and on disk counts in both.
type CachePurge = struct {
	Memory, Disk CacheAmount
}

// CacheAmount is a number of entries and their bytes, with overhead.
type CacheAmount = struct {
	Entries, Bytes int64
}

// CacheInfo describes an entry.
type CacheInfo = struct {
	Value   []byte
	Memory  bool      // it is in memory
	Disk    bool      // it is on disk, as far as that is known; see Disk.Has
	Expires time.Time // zero: never
	LastHit time.Time // or when it was stored; zero: not known
}

// MemoryStats says how a tier in memory does. Counts are since the start.
type MemoryStats = struct {
	Entries, Bytes, Limit int64 // bytes with overhead
	Hits, Misses          uint64
	Stored                uint64 // offered and taken, or about to be judged
	Evicted               uint64 // to make room
	Rejected              uint64 // too large, or less asked for than what they would have replaced
	Expired               uint64 // older than their time, or not hit for long
	Purged                uint64 // by a purge or a deletion
}

// tags are the hashes of an entry's route, model and caller. Two names with one hash are purged together, which costs a few misses.
type tags [3]uint64

func tagsOf(route, model, caller string) tags {
	return tags{tagHash(route), tagHash(model), tagHash(caller)}
}

// tagHash is FNV-1a: it stays the same over restarts. 0 stands for no name.
func tagHash(name string) uint64 {
	if name == "" {
		return 0
	}
	h := uint64(14695981039346656037)
	for i := range len(name) {
		h = (h ^ uint64(name[i])) * 1099511628211
	}
	return max(h, 1)
}

// selection is a filter made ready.
type selection struct {
	key  *CacheKey
	tags tags // 0: any
}

func selectionOf(f *CacheFilter) selection {
	s := selection{tags: tagsOf(f.Route, f.Model, f.Caller)}
	if f.Key != nil {
		key := *f.Key
		s.key = &key
	}
	return s
}

func (s *selection) all() bool { return s.key == nil && s.tags == tags{} }

func (s *selection) holds(key *CacheKey, t *tags) bool {
	if s.key != nil && *s.key != *key {
		return false
	}
	for i, want := range s.tags {
		if want != 0 && want != t[i] {
			return false
		}
	}
	return true
}

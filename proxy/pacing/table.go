package pacing

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"
)

// Key is what a provider has limits for.
type Key struct {
	Provider uint64  // its address and what is sent to it on behalf of everybody, hashed
	Caller   [8]byte // hash of the client's own key; zero where it is not sent
	Model    string
}

const (
	// DefaultSize is how many paces a table holds.
	DefaultSize = 4096
	shards      = 16
	// idle is after how long a pace goes that nobody has used.
	idle = 10 * time.Minute
	// grain is how exactly it is known when a pace was used.
	grain = int64(time.Second)
)

// Table holds paces, at most so many: the one that was not used for longest makes room, unless something is under way with it. Its methods are safe for concurrent use.
type Table struct {
	epoch  time.Time
	most   int // of a shard
	seed   maphash.Seed
	shards [shards]shard
}

type shard struct {
	mu    sync.Mutex
	paces map[Key]*Pace
}

// NewTable makes a table for so many paces.
func NewTable(now time.Time, size int) *Table {
	t := &Table{epoch: now, most: max(size/shards, 1), seed: maphash.MakeSeed()}
	for i := range t.shards {
		t.shards[i].paces = map[Key]*Pace{}
	}
	return t
}

// Find is the pace of a key, which is made where there is none. It is nil where all are in use and there is no room for another one. It allocates nothing for a key that is there.
func (t *Table) Find(now time.Time, provider uint64, caller [8]byte, model []byte) *Pace {
	s := t.shard(provider, caller, model)
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.paces[Key{provider, caller, string(model)}]; p != nil {
		return p
	}
	if len(s.paces) >= t.most && !s.evict(now) {
		return nil
	}
	p := newPace(now, t.epoch, Key{provider, caller, string(model)})
	s.paces[p.key] = p
	return p
}

// shard is where a key is kept. Clients choose their keys and models: the seed has them not choose the shard.
func (t *Table) shard(provider uint64, caller [8]byte, model []byte) *shard {
	mixed := (maphash.Bytes(t.seed, model) ^ maphash.Comparable(t.seed, caller) ^ provider) * 0x9e3779b97f4a7c15
	return &t.shards[mixed>>60]
}

// evict makes room: of those with which nothing is under way the one goes that was not used for longest. What a provider has said of when it wants to be asked again is forgotten last.
// s.mu is held.
func (s *shard) evict(now time.Time) bool {
	var oldest, paused *Pace
	for _, p := range s.paces {
		if !p.olderThan(oldest) {
			continue
		}
		if busy, left := p.inUse(now); !busy && !left {
			oldest = p
		} else if !busy && p.olderThan(paused) {
			paused = p
		}
	}
	if oldest == nil {
		oldest = paused
	}
	if oldest == nil {
		return false
	}
	s.drop(oldest)
	return true
}

// olderThan tells that a pace was not used for longer. Any is older than none.
func (p *Pace) olderThan(o *Pace) bool { return o == nil || p.used.Load() < o.used.Load() }

func (s *shard) drop(p *Pace) {
	p.gone.Store(true)
	delete(s.paces, p.key)
}

// Sweep lets go of paces that nobody uses. It is to be called now and then.
func (t *Table) Sweep(now time.Time) {
	since := int64(now.Sub(t.epoch) - idle)
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.Lock()
		for _, p := range s.paces {
			if p.used.Load() >= since {
				continue
			}
			if busy, left := p.inUse(now); !busy && !left {
				s.drop(p)
			}
		}
		s.mu.Unlock()
	}
}

// Each calls f with every pace.
func (t *Table) Each(f func(p *Pace)) {
	var all []*Pace
	for i := range t.shards {
		s := &t.shards[i]
		s.mu.Lock()
		for _, p := range s.paces {
			all = append(all, p)
		}
		s.mu.Unlock()
	}
	for _, p := range all {
		f(p)
	}
}

// uses notes when a pace was used.
type uses struct{ at atomic.Int64 }

// Load is nanoseconds since the table's epoch.
func (u *uses) Load() int64 { return u.at.Load() }

func (u *uses) now(at int64) {
	if at-u.at.Load() > grain {
		u.at.Store(at)
	}
}

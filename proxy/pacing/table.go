package pacing

import (
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
	// tried is how many of those that were not used for longest are looked at for one that may go.
	tried = 4
	// grain is how exactly it is known when a pace was used.
	grain = int64(time.Second)
)

// Table holds paces, at most so many: the one that was not used for longest makes room, unless something is under way with it. Its methods are safe for concurrent use.
type Table struct {
	epoch  time.Time
	most   int // of a shard
	shards [shards]shard
}

type shard struct {
	mu    sync.Mutex
	paces map[Key]*Pace
}

// NewTable makes a table for so many paces.
func NewTable(now time.Time, size int) *Table {
	t := &Table{epoch: now, most: max(size/shards, 1)}
	for i := range t.shards {
		t.shards[i].paces = map[Key]*Pace{}
	}
	return t
}

// Find is the pace of a key, which is made where there is none. It is nil where all are in use and there is no room for another one. It allocates nothing for a key that is there.
func (t *Table) Find(now time.Time, provider uint64, caller [8]byte, model []byte) *Pace {
	mixed := (provider ^ uint64(caller[0]) ^ uint64(caller[1])<<8 ^ uint64(len(model))*5) * 0x9e3779b97f4a7c15
	s := &t.shards[mixed>>60]
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

// evict makes room. s.mu is held.
func (s *shard) evict(now time.Time) bool {
	after := int64(-1)
	for range tried {
		var oldest *Pace
		for _, p := range s.paces {
			if used := p.used.Load(); used > after && (oldest == nil || used < oldest.used.Load()) {
				oldest = p
			}
		}
		if oldest == nil {
			return false
		}
		if !oldest.busy(now) {
			s.drop(oldest)
			return true
		}
		after = oldest.used.Load()
	}
	return false
}

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
			if p.used.Load() < since && !p.busy(now) && p.pacer.State(now).Paused == 0 {
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

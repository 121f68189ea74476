package limit

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// Lease is what a request has reserved. The zero value has reserved nothing.
type Lease struct {
	shard, index uint32
	generation   uint64
	// Delay is how long to hold the request back, by limits that space requests out.
	Delay time.Duration
}

// record is a lease as the set keeps it.
type record struct {
	generation uint64 // of the lease that has it; even: none
	owner      uint64
	version    uint32 // of the rules that it was reserved by
	spared     uint64 // entries, as bits, of whose buckets nothing was taken
	entries    []*entry
	amounts    amounts
	began, end int64 // nanoseconds

	earlier, later int32 // to end; -1: none
}

const leaseShards = 8

// leases holds the records of all leases, in the order in which they end.
type leases struct{ shards [leaseShards]leaseShard }

type leaseShard struct {
	mu          sync.Mutex
	records     []record
	free        []uint32
	first, last int32        // to end; -1: none
	due         atomic.Int64 // when the first ends; 0: there is none
	held        atomic.Int64
	_           [64]byte // shards do not share a cache line
}

func (l *leases) init() {
	for i := range l.shards {
		l.shards[i].first, l.shards[i].last = -1, -1
	}
}

// add keeps a lease of entries. Ends come in order, but for what clocks of several goroutines differ by.
func (l *leases) add(of *record, entries []*entry) Lease {
	n := rand.Uint32() % leaseShards
	s := &l.shards[n]
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.free) == 0 {
		s.records = append(s.records, record{})
		s.free = append(s.free, uint32(len(s.records)-1)) //nolint:gosec // as many as there are requests
	}
	i := s.free[len(s.free)-1]
	s.free = s.free[:len(s.free)-1]
	r := &s.records[i]
	r.generation++
	r.owner, r.version, r.spared, r.amounts, r.began, r.end = of.owner, of.version, of.spared, of.amounts, of.began, of.end
	r.entries = append(r.entries[:0], entries...)
	s.held.Add(1)
	s.link(i)
	return Lease{shard: n + 1, index: i, generation: r.generation}
}

// get finds the record of a lease; nil where it has ended. The shard is locked.
func (l *leases) get(lease Lease) (*leaseShard, *record) {
	if lease.shard == 0 || lease.shard > leaseShards {
		return nil, nil
	}
	s := &l.shards[lease.shard-1]
	s.mu.Lock()
	if int(lease.index) < len(s.records) {
		if r := &s.records[lease.index]; r.generation == lease.generation && r.generation%2 == 1 {
			return s, r
		}
	}
	s.mu.Unlock()
	return nil, nil
}

// remove takes a record out; its entries are appended to dst. The shard is locked.
func (s *leaseShard) remove(i uint32, dst []*entry) (record, []*entry) {
	r := &s.records[i]
	s.unlink(i)
	dst = append(dst, r.entries...)
	was := *r
	was.entries = nil
	clear(r.entries)
	r.generation++
	s.free = append(s.free, i)
	s.held.Add(-1)
	return was, dst
}

func (s *leaseShard) link(i uint32) {
	r := &s.records[i]
	r.earlier, r.later = s.last, -1
	if s.last >= 0 {
		s.records[s.last].later = int32(i) //nolint:gosec // an index
	} else {
		s.first = int32(i) //nolint:gosec // an index
	}
	s.last = int32(i) //nolint:gosec // an index
	s.noteDue()
}

func (s *leaseShard) unlink(i uint32) {
	r := &s.records[i]
	if r.earlier >= 0 {
		s.records[r.earlier].later = r.later
	} else {
		s.first = r.later
	}
	if r.later >= 0 {
		s.records[r.later].earlier = r.earlier
	} else {
		s.last = r.earlier
	}
	s.noteDue()
}

func (s *leaseShard) noteDue() {
	due := int64(0)
	if s.first >= 0 {
		due = s.records[s.first].end
	}
	s.due.Store(due)
}

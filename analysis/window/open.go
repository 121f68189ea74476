package window

import (
	"sync"
	"sync/atomic"
	"time"
)

const (
	shardCount = 4
	// widenAt is the number of values in one 10 s slot from which on a page gets a copy for each shard. Below 400 a
	// second two writers are at one of its four cache lines at the same time (some 100 ns) less than once in 10,000
	// times, and three more copies of every page are not worth their memory.
	widenAt = 4096
)

// shards hands out shard numbers so that a processor mostly gets the same one: cache lines then stay where they are written, while
// random numbers move one in two of them at each record (with two processors 22 to 60 ns instead of 40 to 230). A
// sync.Pool is the portable way to keep something per processor. Any number is right, only slower.
type shards struct {
	pool    sync.Pool // of *uint32, into numbers
	numbers [shardCount]uint32
	made    atomic.Uint32
}

func (s *shards) init() {
	for i := range s.numbers {
		s.numbers[i] = uint32(i)
	}
	s.pool.New = func() any { return &s.numbers[s.made.Add(1)%shardCount] }
}

func (s *shards) pick() uint32 {
	n := s.pool.Get().(*uint32)
	s.pool.Put(n) // at once: it is a preference, not a lock
	return *n
}

type page [pageLen]atomic.Uint32

// openSlot is a slot that takes observations. Safe for concurrent use, except that collect needs the series' mutex.
type openSlot struct {
	counters [shardCount]struct {
		n [countersEnd]atomic.Uint64
		_ [64 - countersEnd*8%64]byte // shards share no cache line
	}
	label atomic.Int64 // number of the 10 s slot it is open for, or never
	_     [56]byte     // the label is read by every writer, the counters are written by every writer
	pages [measuresEnd][pageCount][shardCount]atomic.Pointer[page]
}

func (s *openSlot) record(shard uint32, o *Observation) {
	if o.Outcome >= outcomesEnd {
		panic("BUG: observation with an unknown outcome")
	}
	n := &s.counters[shard].n
	n[o.Outcome].Add(1)
	addTo(&n[countInput], o.TokensInput)
	addTo(&n[countCacheRead], o.TokensCacheRead)
	addTo(&n[countCacheWrite], o.TokensCacheWrite)
	addTo(&n[countOutput], o.TokensOutput)
	addTo(&n[countReasoning], o.TokensReasoning)
	if o.Estimated {
		n[countEstimated].Add(1)
	}
	s.observe(latency, shard, int64(o.Duration/time.Microsecond))
	if o.TTFT > 0 {
		s.observe(ttft, shard, int64(o.TTFT/time.Microsecond))
		if rest := o.Duration - o.TTFT; rest >= 0 && o.TokensOutput >= 2 {
			s.observe(tpot, shard, int64(rest)/(o.TokensOutput-1)/int64(time.Microsecond))
		}
	}
	if o.Unpriced {
		n[countUnpriced].Add(1)
	} else {
		s.observe(cost, shard, o.CostNanoUSD)
	}
}

// addTo adds v to a counter; zero, the common case of most token kinds, costs no atomic operation.
func addTo(n *atomic.Uint64, v int64) {
	if v > 0 {
		n.Add(uint64(min(v, maxAddend)))
	}
}

func (s *openSlot) observe(measure int, shard uint32, v int64) {
	v = max(v, 0)
	s.counters[shard].n[countSums+measure].Add(uint64(min(v, maxAddend)))
	b := bucketOf(uint64(v))
	p := s.pages[measure][b>>mantissaBits][shard].Load()
	if p == nil {
		p = s.grow(measure, b>>mantissaBits, shard)
	}
	p[b&(pageLen-1)].Add(1)
}

// grow makes the page that all shards share at first.
func (s *openSlot) grow(measure, at int, shard uint32) *page {
	copies := &s.pages[measure][at]
	copies[0].CompareAndSwap(nil, new(page))
	for i := 1; i < shardCount; i++ {
		copies[i].CompareAndSwap(nil, copies[0].Load())
	}
	return copies[shard].Load()
}

// collect adds what the slot holds to t. With take it also empties the slot: each cell is swapped with zero, so that a
// concurrent addition is either in t or still in the slot. The caller holds the series' mutex.
func (s *openSlot) collect(t *tally, take bool) {
	for i := range s.counters {
		n := &s.counters[i].n
		for j := range t.counts {
			t.counts[j] += load64(&n[j], take)
		}
		for m := range t.dists {
			t.dists[m].sum += load64(&n[countSums+m], take)
		}
	}
	for m := range s.pages {
		for at := range s.pages[m] {
			copies := &s.pages[m][at]
			shared := copies[0].Load()
			if shared == nil {
				continue
			}
			n := collectPage(&t.dists[m], at, shared, take)
			if copies[1].Load() != shared && copies[1].Load() != nil {
				for i := 1; i < shardCount; i++ {
					collectPage(&t.dists[m], at, copies[i].Load(), take)
				}
			} else if take && n >= widenAt {
				for i := 1; i < shardCount; i++ {
					copies[i].Store(new(page))
				}
			}
		}
	}
}

func collectPage(d *Distribution, at int, p *page, take bool) (total uint64) {
	for i := range p {
		n := p[i].Load()
		if n == 0 {
			continue
		}
		if take {
			n = p[i].Swap(0)
		}
		d.add(at<<mantissaBits+i, uint64(n))
		total += uint64(n)
	}
	return total
}

func load64(n *atomic.Uint64, take bool) uint64 {
	v := n.Load()
	if take && v != 0 {
		v = n.Swap(0)
	}
	return v
}

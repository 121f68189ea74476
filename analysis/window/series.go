package window

import (
	"sync"
	"sync/atomic"
	"time"
)

const (
	openSlots = 3 // before, now and next
	// spill takes what must not wait for a slot to be opened, and what comes late.
	spill = openSlots
	// lateSlots is how far behind its series a writer may be before that means that the clock was set back.
	lateSlots = 6
)

// Series is one key's windows. Record is safe for concurrent use and takes no locks.
type Series struct {
	open [openSlots + 1]openSlot
	head atomic.Int64 // the slot that is the present, as of the last opening; never before the first
	key  Key
	rec  *Recorder

	mu    sync.Mutex // sealing, and reading while nothing is sealed; writers only try it
	rings rings
}

func newSeries(key Key, rec *Recorder) *Series {
	s := &Series{key: key, rec: rec, rings: newRings(&rec.pool)}
	for i := range s.open {
		s.open[i].label.Store(never)
	}
	s.head.Store(never)
	return s
}

// Key returns the key the series was made for.
func (s *Series) Key() Key { return s.key }

// Record adds one finished attempt to the slot of now, the end of the attempt. It never blocks, and allocates only when a value
// falls into an octave the series has not seen before, or when it has to seal a slot that [Recorder.Advance] has not sealed. o is
// not kept. It panics if o.Outcome is none of the constants.
func (s *Series) Record(now time.Time, o *Observation) {
	k := slotOf(now)
	slot := &s.open[uint64(k)%openSlots]
	if slot.label.Load() != k {
		slot = s.turn(k)
	}
	slot.record(s.rec.shards.pick(), o)
}

// turn returns the slot to record in at k when the open slot in its place has another label.
func (s *Series) turn(k int64) *openSlot {
	slot := &s.open[uint64(k)%openSlots]
	if slot.label.CompareAndSwap(never, k) {
		s.raise(k)
		return slot
	}
	if late := s.head.Load() - k; late > 0 && late <= lateSlots {
		return &s.open[spill]
	}
	if !s.mu.TryLock() { // another writer is turning it, or a reader is looking
		return &s.open[spill]
	}
	defer s.mu.Unlock()
	now := max(k, s.head.Load())
	s.relabel(slot, k, now)
	s.head.Store(k)
	s.seal(&s.open[spill], k, now)
	return slot
}

// raise takes note of the first use of an open slot.
func (s *Series) raise(k int64) {
	for {
		head := s.head.Load()
		if head >= k {
			break
		}
		if s.head.CompareAndSwap(head, k) {
			break
		}
	}
	s.rec.began(k)
}

// advance makes k the present: it seals what is older than the slot before k and opens the next one. A series that was never
// written to stays as it is.
func (s *Series) advance(k int64) {
	if s.head.Load() == never {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := max(k, s.head.Load())
	for at := max(0, k-1); at <= k+1; at++ {
		s.relabel(&s.open[uint64(at)%openSlots], at, now)
	}
	s.head.Store(k)
	s.seal(&s.open[spill], k, now)
}

// relabel opens slot for time at, and seals what it holds. The caller holds the mutex.
func (s *Series) relabel(slot *openSlot, at, now int64) {
	if slot.label.CompareAndSwap(never, at) {
		return
	}
	if old := slot.label.Load(); old != at {
		s.seal(slot, old, now)
		slot.label.Store(at)
	}
}

// seal takes everything out of slot and files it under the time at. The caller holds the mutex.
func (s *Series) seal(slot *openSlot, at, now int64) {
	w := s.rings.pool.Get().(*workspace)
	defer s.rings.pool.Put(w)
	slot.collect(&w.tally, true)
	if !w.tally.empty() {
		s.rings.put(0, at, w.seal(), now)
	}
}

// read adds what the series holds to tallies: into returns where a slot that begins at a given time belongs, nil for none.
func (s *Series) read(into func(at int64) *tally) {
	type found struct {
		data []byte
		to   *tally
	}
	var sealed []found
	s.mu.Lock()
	for i := range s.open {
		label := s.open[i].label.Load()
		if i == spill {
			label = s.head.Load()
		}
		if label == never {
			continue
		}
		if t := into(label); t != nil {
			s.open[i].collect(t, false)
		}
	}
	for l, ring := range s.rings.slots {
		for _, e := range ring {
			if e.data == nil {
				continue
			}
			if t := into(e.number * levels[l].width); t != nil {
				sealed = append(sealed, found{e.data, t})
			}
		}
	}
	s.mu.Unlock()
	for _, f := range sealed {
		f.to.addSealed(f.data)
	}
}

// slotOf returns the number of the finest slot t falls into.
func slotOf(t time.Time) int64 { return max(0, t.Unix()) / int64(slotLength/time.Second) }

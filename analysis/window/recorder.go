package window

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Recorder holds the series. Safe for concurrent use.
type Recorder struct {
	series   atomic.Pointer[map[Key]*Series] // never changed, only replaced
	overflow *Series
	max      int
	mu       sync.Mutex   // adding a series
	since    atomic.Int64 // the earliest slot anything was recorded in, or never
	pool     sync.Pool    // of *workspace
	shards   shards
}

// NewRecorder returns a recorder for at most maxSeries keys; all further ones share one overflow series, whose key has
// [Other] in each field. Series live as long as the recorder.
func NewRecorder(maxSeries int) *Recorder {
	r := &Recorder{max: maxSeries}
	r.pool.New = func() any { return new(workspace) }
	r.shards.init()
	r.since.Store(never)
	r.series.Store(new(map[Key]*Series))
	r.overflow = newSeries(Key{Other, Other, Other, Other}, r)
	return r
}

// Series returns the series of k, made at first sight, or the overflow series when there are too many. For a known key it takes
// no lock and allocates nothing. k is copied if it is kept, so its strings may alias a buffer that is used again.
func (r *Recorder) Series(k Key) *Series {
	if s := (*r.series.Load())[k]; s != nil {
		return s
	}
	return r.add(k)
}

func (r *Recorder) add(k Key) *Series {
	if len(*r.series.Load()) >= r.max || k == r.overflow.key {
		return r.overflow // without the lock: past the cap, unknown keys may come with every request
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	known := *r.series.Load()
	if s := known[k]; s != nil {
		return s
	}
	if len(known) >= r.max {
		return r.overflow
	}
	k = k.clone()
	next := make(map[Key]*Series, len(known)+1)
	maps.Copy(next, known)
	s := newSeries(k, r)
	next[k] = s
	r.series.Store(&next)
	return s
}

// Select returns the series whose keys match accepts, ordered by key; nil accepts all. The overflow series is among them once it
// has been written to.
func (r *Recorder) Select(match func(Key) bool) []*Series {
	var found []*Series
	for k, s := range *r.series.Load() {
		if match == nil || match(k) {
			found = append(found, s)
		}
	}
	if r.overflow.head.Load() != never && (match == nil || match(r.overflow.key)) {
		found = append(found, r.overflow)
	}
	slices.SortFunc(found, func(a, b *Series) int { return compareKeys(a.key, b.key) })
	return found
}

// Advance tells all series the time: it seals slots that are over, off the request path. Call it about once a second, from one
// goroutine. It is also how series learn at once that the clock was set back.
func (r *Recorder) Advance(now time.Time) {
	k := slotOf(now)
	for _, s := range *r.series.Load() {
		s.advance(k)
	}
	r.overflow.advance(k)
}

// began takes note of the earliest slot anything was recorded in.
func (r *Recorder) began(k int64) {
	for {
		since := r.since.Load()
		if since != never && since <= k {
			return
		}
		if r.since.CompareAndSwap(since, k) {
			return
		}
	}
}

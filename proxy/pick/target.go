package pick

import (
	"math"
	"sync"
	"sync/atomic"
	"time"

	"llm-auto-optimizer/analysis/regime"
)

// Target is the state of one target of a route.
type Target struct {
	spec  TargetSpec
	route *Route
	index int
	hash  uint64 // of its route and name, for affinity

	inFlight *atomic.Int64 // own, or that of what the target was before a reload
	own      atomic.Int64
	waiting  [waitingSlots]waitingSlot // attempts without content yet
	turn     atomic.Uint32             // where the next one looks for a free slot
	times    [kinds]latency

	trouble   atomic.Bool  // one of what follows may be set; changed under mu only
	until     atomic.Int64 // ejected until then, and on probation from then on; 0: not ejected
	back      atomic.Int64 // when it came back from an ejection; 0: it has its whole share
	probed    atomic.Int64 // when the last probe was sent
	limited   atomic.Int64 // rate limited until then
	paced     atomic.Int64 // no room for another attempt before then
	drained   atomic.Bool  // by an operator: nothing new is sent
	retired   atomic.Bool  // its key was refused
	ejections atomic.Uint64

	mu        sync.Mutex
	failures  *regime.ErrorRate
	slow      *regime.ErrorRate
	streak    int   // ejections without a long quiet time between
	lastOut   int64 // end of the last ejection
	score     int   // of probes
	limits    int   // 429s in a row
	forbidden int   // 403s in a row
	reason    string
}

// Attempts that are slow while they are still waited for: waitingSlots of them are watched at a time, more go unwatched.
const waitingSlots = 64

type waitingSlot struct {
	start atomic.Int64  // 0: free; negative: has been counted as slow
	size  atomic.Uint64 // input tokens, and the kind in the lowest bit
}

func newTarget(r *Route, index int, s *TargetSpec) *Target {
	t := &Target{spec: *s, route: r, index: index, hash: hashOf(r.spec.Name + "/" + s.Name)}
	t.inFlight = &t.own
	for k := range t.times {
		t.times[k].init()
	}
	t.failures = regime.NewErrorRate(usualFailures, r.spec.Ejection.FalseEvery)
	t.slow = regime.NewErrorRate(usualSlow, r.spec.Ejection.FalseEvery)
	return t
}

const (
	usualFailures = .005 // rate believed before anything was seen
	usualSlow     = .01
)

// Name is the target's name in its route.
func (t *Target) Name() string { return t.spec.Name }

// Index is the target's place in its route's configuration.
func (t *Target) Index() int { return t.index }

// Route is the route that the target belongs to.
func (t *Target) Route() *Route { return t.route }

// Lease is one attempt's claim on a target. The zero value claims nothing. Settle releases it, once; what is called after that does nothing.
type Lease struct {
	target *Target
	start  int64
	input  int64
	kind   kind
	slot   int8 // in waiting, from 1; 0: none
	late   bool // has been counted as slow
}

// Begin claims the target for an attempt that starts now.
func (t *Target) Begin(now time.Time, q *Query) Lease {
	l := Lease{target: t, start: t.route.at(now), input: q.Input, kind: q.kind()}
	t.inFlight.Add(1)
	first := t.turn.Add(1)
	for i := range uint32(4) {
		slot := (first + i) % waitingSlots
		if w := &t.waiting[slot]; w.start.CompareAndSwap(0, max(l.start, 1)) {
			w.size.Store(uint64(max(l.input, 0))<<1 | uint64(l.kind))
			l.slot = int8(slot) + 1
			break
		}
	}
	return l
}

// Held tells whether the lease still claims its target.
func (l *Lease) Held() bool { return l.target != nil }

// Answered says that the answer has begun: the attempt is not waited for any more.
func (l *Lease) Answered() {
	if l.target == nil || l.slot == 0 {
		return
	}
	l.late = l.target.waiting[l.slot-1].start.Swap(0) < 0
	l.slot = 0
}

// Outcome is what an attempt says of its target.
type Outcome uint8

// The outcomes.
const (
	Neutral Outcome = iota // nothing: the client left, or the request itself was at fault
	Good
	Bad
	Limited   // 429
	Refused   // 401 or 402 of the configured key
	Forbidden // 403 of the configured key, which may be about the request
)

// Result is how an attempt ended.
type Result struct {
	Outcome    Outcome
	Took       time.Duration // to the first content of a stream, to the end of any other answer; 0: not known
	Input      int64         // uncached input tokens; 0: as estimated
	RetryAfter time.Duration // of a 429; 0: not said
	Paced      bool          // whoever keeps to its limits slows down by itself: a 429 that says nothing more is no reason to leave it alone
}

// Change is what a result has changed of its target.
type Change uint8

// The changes.
const (
	NoChange Change = iota
	Ejected
	Restored
	Retired
)

// Settle releases the lease and takes in what the attempt says of its target.
func (l *Lease) Settle(now time.Time, r *Result) Change {
	t := l.target
	if t == nil {
		return NoChange
	}
	l.Answered()
	l.target = nil
	t.inFlight.Add(-1)
	at := t.route.at(now)
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.learn(at, l, r)
}

// learn runs under the mutex.
func (t *Target) learn(now int64, l *Lease, r *Result) Change {
	slow := unknown
	if r.Took > 0 && r.Outcome == Good {
		input := r.Input
		if input <= 0 {
			input = l.input
		}
		t.times[l.kind].step(now, r.Took, input)
		if slo := t.route.spec.SLO; slo > 0 && l.kind == streams && !l.late { // or sweep has counted it
			slow = verdictOf(r.Took > slo)
		}
	}
	if r.Outcome != Limited && r.Outcome != Neutral {
		t.limits = 0
	}
	switch r.Outcome {
	case Neutral:
		return NoChange
	case Limited:
		if r.RetryAfter > 0 || !r.Paced {
			t.limit(now, l.start, r.RetryAfter)
		}
		return NoChange
	case Forbidden:
		if t.forbidden++; t.forbidden < mostForbidden {
			return NoChange
		}
		return t.retire()
	case Refused:
		return t.retire()
	case Good:
		t.forbidden = 0
	}
	return t.judge(now, l.start, verdictOf(r.Outcome == Bad), slow)
}

// mostForbidden is how many 403s in a row, without a good answer between, mean the key.
const mostForbidden = 5

// retire takes the target out until its key is changed.
func (t *Target) retire() Change {
	if t.retired.Swap(true) {
		return NoChange
	}
	t.reason = "its key was refused"
	t.trouble.Store(true)
	return Retired
}

const (
	firstLimit = time.Second // without Retry-After; doubles with each 429 in a row
	mostLimit  = 30 * time.Second
)

// limit keeps away from a target that has answered 429.
func (t *Target) limit(now, start int64, after time.Duration) {
	if after <= 0 {
		if start < t.limited.Load() { // it was under way when the last one came
			return
		}
		after = min(firstLimit<<min(t.limits, 5), mostLimit)
		t.limits++
	}
	if until := now + int64(after); until > t.limited.Load() {
		t.limited.Store(until)
		t.trouble.Store(true)
	}
}

// sweep counts attempts that have waited too long as slow at once, not only when they end. It belongs to Tick.
func (t *Target) sweep(now int64) (c Change) {
	for i := range t.waiting {
		w := &t.waiting[i]
		start := w.start.Load()
		if start <= 0 {
			continue
		}
		size := w.size.Load()
		l, input, age := &t.times[size&1], int64(size>>1), time.Duration(now-start)
		if p99 := l.within(&l.p99, input); p99 > 0 && age > p99 {
			t.mu.Lock()
			l.rise(now, age.Seconds()/l.factor(input), false)
			t.mu.Unlock()
		}
		if slo := t.route.spec.SLO; slo > 0 && kind(size&1) == streams && age > slo && w.start.CompareAndSwap(start, -start) {
			t.mu.Lock()
			if change := t.judge(now, start, unknown, yes); change != NoChange {
				c = change
			}
			t.mu.Unlock()
		}
	}
	return c
}

// FirstByte is how long an answer to a request of this size may take to begin: factor times the target's own 99th percentile, at least a
// second; 0 where that is not known.
func (t *Target) FirstByte(q *Query, factor float64) time.Duration {
	l := &t.times[q.kind()]
	p99 := l.within(&l.p99, q.Input)
	if p99 == 0 || factor <= 0 {
		return 0
	}
	return max(time.Duration(math.Min(float64(p99)*factor, float64(24*time.Hour))), time.Second)
}

// HedgeAfter is the time after which few answers to a request of this size are still to come, its 97th percentile; 0 where that is not
// known.
func (t *Target) HedgeAfter(q *Query) time.Duration {
	l := &t.times[q.kind()]
	return l.within(&l.p97, q.Input)
}

package pick

import (
	"math/rand/v2"
	"time"

	"llm-auto-optimizer/proxy/policy"
)

// Walk is one exchange's way over the targets of its route and of its fallbacks. It belongs to the exchange; the zero value is over.
type Walk struct {
	q        Query
	home     *Route // whose exchange it is
	route    *Route // of the current target
	snapshot *policy.Snapshot
	tried    set  // of route
	passed   set  // of route: there was no room since the last attempt
	fresh    bool // the current target was not tried before
	attempts int
	repeats  int // at the same target
	current  *Target
	chain    [Causes]uint8 // entries of each fallback chain that are used up
	counted  bool          // among the repetitions of the retry budget
}

// Walking is a walk of which only the query is of interest: a hedge's.
func Walking(q Query) Walk { return Walk{q: q} }

// Start begins an exchange. End must follow, once it is over.
func (r *Route) Start(s *policy.Snapshot, q Query) Walk {
	r.budget.active.Add(1)
	r.hedges.earn(r.planFor(s, q.Arm).params.HedgeShare)
	return Walk{q: q, home: r, route: r, snapshot: s}
}

// End is the end of the exchange. What is called after it does nothing.
func (w *Walk) End() {
	if w.home == nil {
		return
	}
	w.Answered()
	w.home.budget.active.Add(-1)
	w.home, w.route = nil, nil
}

// Answered says that the answer of the current attempt has begun: it is no repetition any more as far as the retry budget goes.
func (w *Walk) Answered() {
	if w.counted {
		w.counted = false
		w.home.budget.give()
	}
}

// Paid says what the exchange has cost in all, and its attempts that lost against another one, in nano-dollars. It belongs before End.
func (w *Walk) Paid(total, lost int64) {
	if w.home != nil {
		w.home.hedges.pay(total, lost)
	}
}

// Query is what the choices depend on.
func (w *Walk) Query() *Query { return &w.q }

// Attempts is the number of attempts chosen so far.
func (w *Walk) Attempts() int { return w.attempts }

// First chooses the target of the first attempt.
func (w *Walk) First(now time.Time, draw uint64) (Choice, Refusal) {
	r := w.route
	if w.q.Pin > 0 {
		return w.take(now, Choice{Target: r.targets[w.q.Pin-1], Why: ByPin}), NoRefusal
	}
	at, p := r.at(now), r.planFor(w.snapshot, w.arm())
	c, refusal := r.choose(at, p, &w.q, 0, false, draw)
	if refusal == NoRefusal {
		return w.take(now, c), NoRefusal
	}
	if c, ok := r.soonest(at, p, &w.q, 0); ok {
		return w.take(now, c), NoRefusal
	}
	for _, cause := range causesOf(refusal) {
		if c, ok := w.fallBack(now, cause, draw); ok {
			return w.take(now, c), NoRefusal
		}
	}
	if refusal == AllEjected && r.spec.FailFast {
		return Choice{}, refusal
	}
	if c, last := r.choose(at, p, &w.q, 0, true, draw); last == NoRefusal {
		return w.take(now, c), NoRefusal
	}
	return Choice{}, refusal
}

// causesOf are the fallback chains that a refusal leads to, in order.
func causesOf(r Refusal) []Cause {
	switch r {
	case Saturated, AllLimited:
		return limitedCauses
	case NoKey: // an account without money is one of the reasons
		return keyCauses
	default:
		return failedCauses
	}
}

var limitedCauses, keyCauses, failedCauses = []Cause{RateLimited}, []Cause{Budget, Failed}, []Cause{Failed}

// Failure is why an attempt did not serve its exchange.
type Failure struct {
	Cause      Cause
	Repeatable bool          // it may go again: nothing of the answer has reached the client, and doing the work twice does no harm
	RetryAfter time.Duration // what the provider asks for; 0: nothing
	Held       bool          // the attempt's lease is not settled yet
}

// Next chooses what to do after a failure: the target of another attempt, and how long to wait before it; false to tell the client.
// Elsewhere first: another target of the route, then the fallback chain of the cause, then the same target again.
func (w *Walk) Next(now time.Time, draw uint64, f Failure) (c Choice, wait time.Duration, ok bool) {
	if w.route == nil || !f.Repeatable || w.attempts >= w.home.spec.Attempts {
		return c, 0, false
	}
	w.Answered()
	w.passed = 0
	if f.Held { // the slot that the attempt leaves is free for the next
		t := w.current
		t.inFlight.Add(-1)
		defer t.inFlight.Add(1)
	}
	load := f.Cause == Failed || f.Cause == RateLimited // which a repetition adds to
	if load && !w.home.budget.take(w.home.planFor(w.snapshot, w.q.Arm).retryShare()) {
		return c, 0, false
	}
	w.counted = load
	if c, wait, ok = w.next(now, draw, f); ok {
		if load {
			w.home.budget.spent.Add(1)
		}
		return w.take(now, c), wait, true
	}
	w.Answered()
	return c, 0, false
}

func (w *Walk) next(now time.Time, draw uint64, f Failure) (c Choice, wait time.Duration, ok bool) {
	r := w.route
	at, p := r.at(now), r.planFor(w.snapshot, w.arm())
	elsewhere := f.Cause != Context && f.Cause != Content
	if elsewhere && w.q.Pin == 0 {
		q := w.q
		q.Prefix = Prefix{}
		if c, refusal := r.choose(at, p, &q, w.tried, false, draw); refusal == NoRefusal {
			return Choice{c.Target, c.Why, 0}, 0, true
		}
		if c, ok := r.soonest(at, p, &q, w.tried); ok {
			return c, 0, true
		}
	}
	if w.q.Pin == 0 {
		if c, ok := w.fallBack(now, f.Cause, draw); ok {
			return c, 0, true
		}
	}
	if !elsewhere || f.Cause == Budget {
		return c, 0, false
	}
	return w.again(at, p, f, draw)
}

// again is another attempt where one was made already, after a wait.
func (w *Walk) again(at int64, p *plan, f Failure, draw uint64) (c Choice, wait time.Duration, ok bool) {
	r := w.route
	wait = f.RetryAfter
	if backoff := w.backoff(draw); backoff > wait {
		wait = backoff
	}
	if wait > r.spec.MaxWait {
		return c, 0, false
	}
	w.repeats++
	if w.q.Pin > 0 {
		return Choice{Target: w.current, Why: ByPin}, wait, true
	}
	q := w.q
	q.Prefix = Prefix{}
	later := at + int64(wait)
	c, refusal := r.choose(later, p, &q, 0, false, draw)
	if refusal != NoRefusal && r.spec.FailFast {
		return c, 0, false
	}
	if refusal != NoRefusal { // what was not tried is rather well again
		c, refusal = r.choose(later, p, &q, w.tried, true, draw)
	}
	if refusal != NoRefusal {
		c, refusal = r.choose(later, p, &q, 0, true, draw)
	}
	if refusal != NoRefusal {
		return c, 0, false
	}
	return Choice{c.Target, LastResort, 0}, wait, true
}

// backoff is exponential with full jitter (Brooker, "Exponential backoff and jitter", AWS 2015).
func (w *Walk) backoff(draw uint64) time.Duration {
	most := min(w.route.spec.Backoff<<min(w.repeats, 20), w.route.spec.MaxWait)
	return time.Duration(uniform(draw, 6) * float64(most))
}

// fallBack is the next usable entry of a cause's chain.
func (w *Walk) fallBack(now time.Time, cause Cause, draw uint64) (Choice, bool) {
	chain := w.home.fallback[cause]
	for int(w.chain[cause]) < len(chain) {
		f := chain[w.chain[cause]]
		w.chain[cause]++
		at := f.route.at(now)
		if f.target >= 0 {
			t := f.route.targets[f.target]
			if w.route == f.route && w.tried.has(f.target) || w.q.Dialect != 0 && t.spec.Dialect != w.q.Dialect {
				continue
			}
			if s := t.state(at); s <= Paced {
				w.enter(f.route)
				return Choice{Target: t, Why: ByFallback}, true
			}
			continue
		}
		q := w.q
		q.Prefix = Prefix{}
		if c, refusal := f.route.choose(at, f.route.planFor(w.snapshot, w.armAt(f.route)), &q, 0, false, draw); refusal == NoRefusal {
			w.enter(f.route)
			return Choice{Target: c.Target, Why: ByFallback}, true
		}
		if c, ok := f.route.soonest(at, f.route.planFor(w.snapshot, w.armAt(f.route)), &q, 0); ok {
			w.enter(f.route)
			return Choice{Target: c.Target, Why: ByFallback}, true
		}
	}
	return Choice{}, false
}

// enter goes on in another route.
func (w *Walk) enter(r *Route) {
	if w.route != r {
		w.route, w.tried, w.passed, w.q.Pin = r, 0, 0, 0
	}
}

func (w *Walk) take(now time.Time, c Choice) Choice {
	w.attempts++
	w.current, w.fresh = c.Target, !w.tried.has(c.Target.index)
	w.tried.add(c.Target.index)
	if w.q.Prefix.n > 0 && w.route.memory != nil {
		w.route.memory.note(&w.q.Prefix, c.Target.index, w.route.at(now))
	}
	return c
}

// Hedge chooses a second target for an attempt that takes long; false where there is none, or no budget for it.
func (w *Walk) Hedge(now time.Time, draw uint64) (Choice, bool) {
	if w.route == nil || w.q.Pin > 0 || w.route.busy() || w.attempts >= w.home.spec.Attempts {
		return Choice{}, false
	}
	q := w.q
	q.Prefix = Prefix{}
	at, skip := w.route.at(now), w.tried
	for i, t := range w.route.targets {
		if t.state(at) == Probation {
			skip.add(i) // it is not for exchanges that are in a hurry
		}
	}
	c, refusal := w.route.choose(at, w.route.planFor(w.snapshot, w.arm()), &q, skip, false, draw)
	if refusal != NoRefusal || !w.home.hedges.take(w.home.planFor(w.snapshot, w.q.Arm).params.HedgeShare) {
		return Choice{}, false
	}
	before := w.current
	w.take(now, c)
	w.current = before
	return Choice{Target: c.Target, Why: ByHedge}, true
}

// arm is the arm of the exchange at the route where it is now.
func (w *Walk) arm() policy.Arm { return w.armAt(w.route) }

// armAt: a trial of a route is none of the route's that falls back on it, but what is held back is everywhere.
func (w *Walk) armAt(r *Route) policy.Arm {
	if r == w.home || w.q.Arm == policy.Holdback {
		return w.q.Arm
	}
	return policy.Treated
}

// retryShare of the exchanges under way may be repetitions.
func (p *plan) retryShare() float64 {
	if p.params.RetryShare > 0 {
		return p.params.RetryShare
	}
	return DefaultRetryShare
}

// Draw is a random draw for a choice.
func Draw() uint64 { return rand.Uint64() }

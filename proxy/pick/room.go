package pick

import "time"

// A target is paced when whoever keeps to its provider's limits has no room for another attempt just now. Others of the route go before it; where there are none, it is
// waited for, as that takes moments.

// PacedUntil says that there is no room for another attempt at the target before then. It is safe for concurrent use.
func (t *Target) PacedUntil(until time.Time) { t.paced.Store(t.route.at(until)) }

// Divert chooses another target in place of the current one, at which there was no room: nothing was sent there. waits tells that there is room nowhere, and the choice is the
// target that has some first.
func (w *Walk) Divert(now time.Time, draw uint64) (c Choice, waits bool) {
	if w.route == nil || w.q.Pin > 0 {
		return Choice{Target: w.current, Why: ByPin}, true
	}
	w.leave()
	w.passed.add(w.current.index)
	r, q := w.route, w.q
	q.Prefix = Prefix{}
	at, p := r.at(now), r.planFor(w.snapshot, w.arm())
	if c, refusal := r.choose(at, p, &q, w.tried|w.passed, false, draw); refusal == NoRefusal {
		return w.take(now, Choice{c.Target, ByRoom, 0}), false
	}
	if c, ok := r.soonest(at, p, &q, w.tried); ok {
		return w.take(now, c), true
	}
	return w.take(now, Choice{Target: w.current, Why: ByRoom}), true
}

// Refused is told that there was no room at the current target in time, where nothing was sent. It chooses the next of the fallback chain of rate limits; false: there is none.
func (w *Walk) Refused(now time.Time, draw uint64) (c Choice, ok bool) {
	if w.route == nil || w.q.Pin > 0 {
		return c, false
	}
	w.passed = 0
	if c, ok = w.fallBack(now, RateLimited, draw); !ok {
		return c, false
	}
	w.attempts--
	return w.take(now, c), true
}

// leave takes the current target back, which was chosen but not tried.
func (w *Walk) leave() {
	w.attempts--
	if w.fresh {
		w.tried.remove(w.current.index)
	}
}

// Unhedged takes a hedge back that was never sent.
func (w *Walk) Unhedged(c Choice) {
	w.attempts--
	w.tried.remove(c.Target.index)
	w.home.hedges.giveBack()
}

// soonest is the paced target that has room first, of those that are not to be skipped.
func (r *Route) soonest(now int64, p *plan, q *Query, skip set) (c Choice, ok bool) {
	first := int64(forever)
	for i, t := range r.targets {
		if p.weights[q.Class][i] <= 0 || skip.has(i) || q.Dialect != 0 && t.spec.Dialect != q.Dialect || t.state(now) != Paced {
			continue
		}
		if until := t.paced.Load(); until < first {
			first, c, ok = until, Choice{Target: t, Why: ByRoom}, true
		}
	}
	return c, ok
}

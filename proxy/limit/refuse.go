package limit

import "time"

// Refusal says which limit stands in the way. Of several it is the one that opens last.
type Refusal struct {
	Rule  string
	Limit Limit
	// Whose it is: what the rule tells apart or names; 0: it is for all. Shared tells that more callers came than are kept apart, and this is what is left for all of those.
	Caller, Route, Target ID
	Shared                bool
	Left                  int64 // of the limit; may be less than was asked for
	// Retry is when the request has room, if nobody else takes it and nothing is given back before. Where others wait, it is when the first of them has.
	Retry time.Duration
	Guess bool // Retry is one: requests under way stand in the way, and nobody knows when they end
	Never bool // waiting is of no use, as it asks for more than the limit ever holds
	// Place is where to wait: the narrowest of those in the way. It may be another one than that of the limit that opens last.
	Place Place

	refused bool
	table   *table // of the rule
}

// Refused tells that there is one.
func (r *Refusal) Refused() bool { return r.refused }

// Count counts a request that is turned away with this, by its rule.
func (r *Refusal) Count() {
	if r.table != nil {
		r.table.refused.Add(1)
	}
}

// refuse looks for room in all limits, also for those that wait for it already. The entries are locked. spared are those, as bits, that are only observed and would
// have refused: their buckets are left alone, as a limit in force would have left them.
func refuse(entries []*entry, at instant, a *amounts, q *Request) (r Refusal, delay time.Duration, spared uint64) {
	longest := time.Duration(-1)
	for n, e := range entries {
		over, way, wait, held := e.over(at, a)
		if !e.rule.Observe {
			delay = max(delay, held)
			switch {
			case over && e.first(q.Turn):
				e.way = inWay{limit: way, opens: plus(at.mono, int64(wait.until)), guess: wait.guess}
			case !over && len(e.states) > 0 && e.crowded(q.Turn):
				over, way, wait = true, e.way.limit, waiting{until: time.Duration(max(minus(e.way.opens, at.mono), 0)), guess: e.way.guess}
			}
		}
		if !over {
			continue
		}
		if !q.Again {
			e.table.met.Add(1)
		}
		if e.rule.Observe {
			spared |= 1 << n
			continue
		}
		place := r.Place
		if place.e == nil || place.WiderThan(Place{e}) {
			place = Place{e}
		}
		if !r.Never && (wait.until > longest || wait.never) {
			longest = wait.until
			r = e.refusal(way, wait)
		}
		r.Place = place
	}
	return r, delay, spared
}

// waiting is how long a limit has a request wait.
type waiting struct {
	until        time.Duration
	never, guess bool
}

// over tells whether a limit stands in the way, and of several which one for the longest. held is for how long others space the request out. e is locked.
func (e *entry) over(at instant, a *amounts) (over bool, way int, longest waiting, held time.Duration) {
	for i := range e.states {
		l, s := &e.rule.Limits[i], &e.states[i]
		s.roll(at, l)
		wait, never := s.wait(a[l.Of], at, l)
		if wait <= l.Smooth && !never {
			held = max(held, wait)
			continue
		}
		if wait -= l.Smooth; !over || !longest.never && (never || wait > longest.until) {
			way, longest = i, waiting{until: wait, never: never, guess: s.guessed(a[l.Of], l)}
		}
		over = true
	}
	return over, way, longest, held
}

// refusal is by one of the entry's limits. e is locked.
func (e *entry) refusal(way int, w waiting) Refusal {
	l := &e.rule.Limits[way]
	return Refusal{
		Rule: e.rule.Name, Limit: *l, Left: e.states[way].left(l), Retry: w.until, Never: w.never, Guess: w.guess && !w.never, refused: true, table: e.table,
		Caller: max(e.key.caller, e.rule.Caller.Only), Route: max(e.key.route, e.rule.Route.Only), Target: max(e.key.target, e.rule.Target.Only),
		Shared: e.table.each && e == e.table.rest,
	}
}

package limit

import "time"

// trust judges whether a provider's readings of one limit make sense: what is left falls as requests are sent, and rises only as it fills up or is reset. Counters of
// several replicas that know nothing of each other, made-up numbers and those of another limit don't.
type trust struct {
	known bool
	last  view
	good  int   // readings in a row that fit
	empty int   // answers in a row that were good though nothing was left
	doubt int   // trustWeight for each refusal that nothing explains, less what was let through
	until int64 // until when it was last not trusted for those
	pause int64 // and how long that was
}

// view is a reading as seen from here: times in nanoseconds, of the moment when the request was sent that it came with.
type view struct {
	at               int64
	limit, remaining int64
	reset            int64
}

const (
	trustAfter = 3   // readings in a row
	trustEmpty = 3   // good answers with nothing left; then that is not what is left
	nearlyUsed = .05 // of the limit: with less left a refusal makes sense
	// trustRefused refusals in a row that nothing explains end trust. One for trustWeight good answers is put up with for long.
	trustRefused = 5
	trustWeight  = 4
	trustPause   = int64(15 * time.Second)
	trustPauses  = useSuspend
	resetSlack   = int64(2 * time.Second)
	limitSlack   = .02 // of the limit: readings that came in another order than the requests were counted in
	noisyFactor  = 1.5 // by which it may fill up faster than it seemed
)

// see takes a reading in. flying is what was under way meanwhile, which may have been counted before or after.
func (t *trust) see(v view, flying int64) {
	fits := v.limit > 0 && v.remaining >= 0 && v.remaining <= v.limit && v.reset > 0
	if l := &t.last; fits && t.known && v.limit == l.limit && v.at < l.reset-resetSlack/2 {
		whole := float64(max(l.reset-l.at, int64(time.Millisecond)))
		filled := noisyFactor * float64(l.limit-l.remaining) * float64(max(v.at-l.at, 0)) / whole
		fits = float64(v.remaining-l.remaining) <= filled+limitSlack*float64(v.limit)+float64(flying)+2
		fits = fits && (v.reset >= l.reset-resetSlack-int64(float64(max(v.remaining-l.remaining, 0))/float64(v.limit)*whole*noisyFactor) || v.remaining >= l.remaining)
	}
	switch {
	case !fits:
		t.good = 0
	case t.good < trustAfter:
		t.good++
	}
	if v.limit > 0 && v.reset > 0 {
		t.last, t.known = v, true
	}
}

// answered is told that a request was not refused, and of the reading that came with it.
func (t *trust) answered(v view) {
	t.doubt = max(t.doubt-1, 0)
	if v.remaining > 0 || v.reset-v.at < resetSlack/2 { // what is whole again so soon may well be used up by each request
		t.empty = 0
	} else if t.empty++; t.empty >= trustEmpty {
		t.good = 0
	}
}

// refused is told that a request was refused that no limit explains which is followed: then it is another one that counts. It tells whether readings are not trusted any more for that.
// One refusal alone means little: it may be for what this caller asks for, which the provider counts apart. So it takes trustRefused in a row, or more than one for each
// trustWeight good answers for long, and then it is for trustPause: trial has found a rate by then, and what was wrong may be over. Where it happens again soon it is for twice as long,
// up to trustPauses, as each return to trust is a burst.
func (t *trust) refused(at int64) bool {
	if t.doubt += trustWeight; t.doubt < trustRefused*trustWeight {
		return false
	}
	pause := min(2*t.pause, trustPauses)
	if t.pause == 0 || at-t.until > 2*t.pause {
		pause = trustPause
	}
	t.doubt, t.good, t.pause, t.until = 0, -trustAfter, pause, plus(at, pause)
	return true
}

func (t *trust) trusted(at int64) bool {
	return t.good >= trustAfter && t.empty < trustEmpty && at >= t.until
}

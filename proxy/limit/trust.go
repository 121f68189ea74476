package limit

import "time"

// trust judges whether a provider's readings of one limit make sense: what is left falls as requests are sent, and rises only as it fills up or is reset. Counters of
// several replicas that know nothing of each other, made-up numbers and those of another limit don't.
type trust struct {
	known  bool
	last   view
	good   int // readings in a row that fit
	empty  int // answers in a row that were good though nothing was left
	denied bool
}

// view is a reading as seen from here: times in nanoseconds, of the moment when the request was sent that it came with.
type view struct {
	at               int64
	limit, remaining int64
	reset            int64
}

const (
	trustAfter  = 3 // readings in a row
	trustEmpty  = 3 // good answers with nothing left; then that is not what is left
	resetSlack  = int64(2 * time.Second)
	limitSlack  = .02 // of the limit: readings that came in another order than the requests were counted in
	noisyFactor = 1.5 // by which it may fill up faster than it seemed
)

// see takes a reading in. flying is what was under way meanwhile, which may have been counted before or after. It tells whether readings are trusted now.
func (t *trust) see(v view, flying int64) bool {
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
	return t.trusted()
}

// answered is told whether a request was let through by the provider when a reading said what is left.
func (t *trust) answered(v view, through bool) {
	switch {
	case !through && float64(v.remaining) > .05*float64(v.limit): // refused with room left: it is another limit that counts
		t.good, t.denied = -trustAfter, true
	case through && v.remaining == 0:
		if t.empty++; t.empty >= trustEmpty {
			t.good = 0
		}
	default:
		t.empty = 0
	}
}

func (t *trust) trusted() bool { return t.good >= trustAfter && t.empty < trustEmpty }

package simulate

import (
	"iter"
	"math"
	"time"

	"llm-auto-optimizer/bench/load"
	"llm-auto-optimizer/proxy/pick"
)

func pullOf(a load.Arrivals) (next func() (load.Arrival, bool), stop func()) { return iter.Pull(a) }

// Times of answers that are no real ones.
const (
	instantly  = time.Millisecond      // of a black hole
	errorAfter = 60 * time.Millisecond // of an ordinary error
	limitAfter = 20 * time.Millisecond // of a 429
	dripFactor = 25                    // slower than usual between tokens
)

// attempt is one try at a target.
type attempt struct {
	target   int
	nth      int // of its exchange, from 0
	start    time.Duration
	failure  failure
	answered time.Duration // when it has content, or fails; 0: never by itself
	ended    time.Duration // when the last token is there
	after    time.Duration // Retry-After
	cached   float64       // input tokens that the target's prompt cache had
	over     bool
	hedge    bool
	asked    asked // of its provider
}

// failure is how an attempt is going to fail.
type failure uint8

const (
	noFailure failure = iota
	failing           // an error
	limited           // 429
	hanging           // nothing ever comes
)

// begin decides what becomes of a request at a target now.
func (w *world) begin(r *request, target, nth int, hedge bool) *attempt {
	t := &w.targets[target]
	a := &attempt{target: target, nth: nth, start: w.now, hedge: hedge}
	luck := r.luckOf(target, nth)
	fails, normal := luck.Float64() < t.errors, luck.NormFloat64()
	slower := t.slower
	if t.Stragglers > 0 && luck.Float64() < t.Stragglers {
		slower *= t.StragglerBy
	}
	crowd := 1.
	if t.Concurrency > 0 {
		crowd = max(1, float64(t.inFlight+1)/float64(t.Concurrency))
	}
	if t.Keeps > 0 && !t.black && !t.hang && !fails {
		a.cached = t.cache.take(r, w.now, t.Keeps)
	}
	prefill := float64(t.Prefill) * (float64(r.input) - a.cached) / 1000
	ttft := time.Duration((float64(t.TTFT)*math.Exp(t.Sigma*normal) + prefill) * slower * crowd)
	between := time.Duration(float64(t.TPOT) * crowd)
	if t.drip {
		between *= dripFactor
	}
	var wait time.Duration
	if !t.black && !t.hang {
		a.asked, wait = w.ask(t, r)
	}
	switch {
	case t.black:
		a.failure, a.answered = failing, w.now+instantly
	case t.quota > 0 && !t.spend(w.now):
		a.failure, a.answered = limited, w.now+limitAfter
		a.after = time.Duration(60 / t.quota * float64(time.Second) * (1 - t.tokens))
		a.after = max(time.Second, a.after.Round(time.Second)) // as headers say it
	case t.hang:
		a.failure = hanging
	case a.asked.refused():
		a.failure, a.answered, a.after = limited, w.now+limitAfter, wait
	case fails:
		a.failure, a.answered = failing, w.now+errorAfter
	default:
		a.answered = w.now + ttft
		a.ended = a.answered + time.Duration(r.output-1)*between
	}
	t.inFlight++
	w.result.attempt(w, target)
	return a
}

// spend takes one request of the quota, a token bucket of a second's worth.
func (t *targetState) spend(now time.Duration) bool {
	most := max(t.quota/60, 1)
	t.tokens = min(most, t.tokens+(now-t.filled).Seconds()*t.quota/60)
	t.filled = now
	if t.tokens < 1 {
		return false
	}
	t.tokens--
	return true
}

// cost of an attempt in US dollars: a canceled one has read its input.
func (w *world) cost(r *request, a *attempt) float64 {
	t := &w.targets[a.target]
	output := float64(r.output)
	switch {
	case a.failure != noFailure:
		return 0
	case w.now < a.ended:
		output = max(0, math.Floor(float64(w.now-a.answered)/float64(t.TPOT)))
	}
	return t.price * ((float64(r.input)-a.cached)*t.In + a.cached*t.Cached + output*t.Out) / 1e6
}

// exchange is one request on its way.
type exchange struct {
	w        *world
	r        *request
	walk     walk
	attempts int
	current  *attempt
	hedge    *attempt
	content  bool
	servedBy *attempt
	late     bool // the first content came after the objective
	spent    float64
	lost     float64 // of it, for attempts that lost against another one beside them
	hedged   bool
	gaveUp   bool // an attempt, at the learned bound of the first byte
	waited   time.Duration
}

// ended is what an exchange came to.
type ended struct {
	r        *request
	served   bool
	late     bool
	hedged   bool
	gaveUp   bool
	attempts int
	cost     float64 // US dollars
	lost     float64
	by       *attempt
}

func (w *world) arrive(r *request) {
	x := &exchange{w: w, r: r, walk: w.strategy.start(w, r)}
	w.result.asked(r)
	if l, ok := x.walk.(limiter); ok {
		l.enter(x)
		return
	}
	x.begin()
}

// limiter is a walk that keeps to limits. What it does may take time.
type limiter interface {
	enter(x *exchange)                  // begins the exchange, or ends it where its caller is over a limit
	room(x *exchange, target int)       // tries that target or another one, or ends the exchange where there is no room in time
	spare(x *exchange, target int) bool // tells whether there is room for a hedge, at once
}

// begin chooses the first target.
func (x *exchange) begin() {
	target, ok := x.walk.first(x.w.time())
	if !ok {
		x.end(false)
		return
	}
	x.send(target)
}

// send tries a target, as soon as it may.
func (x *exchange) send(target int) {
	if l, ok := x.walk.(limiter); ok {
		l.room(x, target)
		return
	}
	x.current = x.try(target, false)
}

// try makes an attempt.
func (x *exchange) try(target int, hedge bool) *attempt {
	w := x.w
	a := w.begin(x.r, target, x.attempts, hedge)
	x.attempts++
	x.walk.began(w.time(), target, hedge)
	if a.answered > 0 {
		w.at(a.answered, func() { x.answered(a) })
	}
	if deadline := x.walk.firstByte(target); a.answered == 0 || a.answered > w.now+deadline {
		w.at(w.now+deadline, func() { x.giveUp(a, deadline) })
	}
	if !hedge {
		if after, ok := x.walk.hedgeAfter(target); ok && (a.answered == 0 || a.answered > w.now+after) {
			w.at(w.now+after, func() { x.second(a) })
		}
	}
	return a
}

// second starts a hedge, if the attempt is still waited for.
func (x *exchange) second(a *attempt) {
	if a.over || x.content || x.hedge != nil {
		return
	}
	if target, ok := x.walk.hedge(x.w.time()); ok {
		if l, limits := x.walk.(limiter); limits && !l.spare(x, target) {
			return
		}
		x.w.result.Hedged++
		x.hedged = true
		x.hedge = x.try(target, true)
	}
}

// answered is the first content of an attempt, or its error.
func (x *exchange) answered(a *attempt) {
	if a.over {
		return
	}
	if a.failure != noFailure {
		x.failed(a, a.failure)
		return
	}
	if x.content { // the other one was faster
		return
	}
	x.content = true
	w := x.w
	x.walk.content(w.time(), a)
	if other := x.other(a); other != nil && !other.over {
		before := x.spent
		x.release(other, pick.Neutral, 0)
		x.lost += x.spent - before
	}
	x.servedBy, x.late = a, w.Route.SLO > 0 && a.answered-x.r.at > w.Route.SLO
	w.result.served(w, x.r, a)
	w.at(a.ended, func() {
		x.release(a, pick.Good, a.answered-a.start)
		x.end(true)
	})
}

// giveUp ends an attempt without an answer.
func (x *exchange) giveUp(a *attempt, deadline time.Duration) {
	if !a.over && !x.content {
		x.gaveUp = x.gaveUp || deadline < x.w.Route.FirstByte
		x.failed(a, failing)
	}
}

func (x *exchange) failed(a *attempt, f failure) {
	outcome := pick.Bad
	if f == limited {
		outcome = pick.Limited
	}
	x.release(a, outcome, 0)
	if other := x.other(a); other != nil && !other.over {
		return // it may still serve
	}
	target, wait, ok := x.walk.next(x.w.time(), f, a.after)
	if !ok {
		x.end(false)
		return
	}
	x.hedge = nil
	x.w.at(x.w.now+wait, func() { x.send(target) })
}

func (x *exchange) other(a *attempt) *attempt {
	if a == x.current {
		return x.hedge
	}
	return x.current
}

// release ends an attempt.
func (x *exchange) release(a *attempt, o pick.Outcome, took time.Duration) {
	a.over = true
	x.w.targets[a.target].inFlight--
	if a.asked.through {
		a.asked.provider.account.Done()
	}
	x.spent += x.w.cost(x.r, a)
	x.walk.settle(x.w.time(), a, x.r, &pick.Result{Outcome: o, Took: took, Input: max(1, int64(x.r.input)-int64(a.cached)), RetryAfter: a.after})
}

func (x *exchange) end(served bool) {
	x.walk.end(x.w.time(), &ended{
		r: x.r, served: served, late: x.late, hedged: x.hedged, gaveUp: x.gaveUp, attempts: x.attempts, cost: x.spent, lost: x.lost, by: x.servedBy,
	})
	x.w.result.ended(x.w, x.r, served, x.spent)
	x.w.result.waited(x, served)
}

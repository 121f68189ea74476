package proxy

import (
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"llm-auto-optimizer/proxy/pick"
)

// race is an attempt that may get a rival: if its answer is late, the same request goes to another target too, and the first that has content serves the
// exchange. The rival is an exchange of its own on a goroutine of its own; it shares the request with the first, which waits for it to end.
type race struct {
	x   *Exchange
	ctx *fasthttp.RequestCtx

	mu      sync.Mutex
	over    bool          // the first has returned: no rival may begin any more
	decided bool          // the first has looked at the rival: nobody may be woken any more
	rival   *Exchange     // nil until it begins
	done    chan struct{} // closed when the rival has its answer, or has failed
	failed  bool          // the rival has; valid once done is closed
}

// wakeEvery is how often the first attempt is woken until it has noticed that its rival has won: it may be between two connections.
const wakeEvery = 2 * time.Millisecond

// hedgeLost is how the slower of two attempts ends.
var hedgeLost = kindOfFailure{499, "hedge_lost", "Another attempt was faster.", clientLeft.outcome}

// tryHedged makes the attempt that the exchange is aimed at, and where its route hedges, a second one beside it when the first is late. Afterwards the exchange
// stands at the answer of the one that counts.
func (p *Proxy) tryHedged(ctx *fasthttp.RequestCtx, x *Exchange) error {
	after := x.hedgeAfter()
	if after <= 0 {
		return p.reachContent(ctx, x)
	}
	r := &race{x: x, ctx: ctx, done: make(chan struct{})}
	timer := time.AfterFunc(after, r.begin)
	defer r.abort(timer)
	err := p.reachContent(ctx, x)
	timer.Stop()
	return r.decide(err)
}

// abort ends the race where it was not decided, because of a bug: the exchange must not go before its rival does.
func (r *race) abort(timer *time.Timer) {
	timer.Stop()
	r.mu.Lock()
	rival, over := r.rival, r.over
	r.over, r.decided = true, true
	r.mu.Unlock()
	if over || rival == nil {
		return
	}
	rival.client.tether.Cut()
	<-r.done
	r.end(rival)
}

// hedgeAfter is when a second attempt is to begin; 0: never.
func (x *Exchange) hedgeAfter() time.Duration {
	if x.unhedged || x.hedged || x.paramsOf(x.routeTarget.owner.route).HedgeShare <= 0 || x.attempts+1 >= x.attemptsLeft || !x.mayRepeat() {
		return 0
	}
	return x.choice.Target.HedgeAfter(x.walk.Query())
}

// reachContent makes an attempt up to where its answer has content.
func (p *Proxy) reachContent(ctx *fasthttp.RequestCtx, x *Exchange) error {
	err := p.ask(ctx, x)
	if err == nil {
		err = x.holdUntilContent()
	}
	if err == nil && x.empty() {
		err = fail(&answerIncomplete, errEmpty)
	}
	return err
}

// begin starts the rival, unless the first has its answer. It runs on the timer's goroutine.
func (r *race) begin() {
	rival := r.enter()
	if rival == nil {
		return
	}
	won := r.run(rival)
	close(r.done)
	for won && r.wake() {
		<-time.After(wakeEvery)
	}
}

// enter makes the rival, where there is a target with room for it. A bug in that costs the hedge alone.
func (r *race) enter() (rival *Exchange) {
	r.mu.Lock()
	defer r.mu.Unlock()
	defer func() {
		if v := recover(); v != nil {
			_ = r.x.p.recovered(r.x, v)
			rival, r.rival = nil, nil
		}
	}()
	if r.over {
		return nil
	}
	choice, ok := r.x.walk.Hedge(time.Now(), pick.Draw())
	if !ok {
		return nil
	}
	rival = r.x.double()
	rival.aim(choice)
	if !rival.hasRoom() { // it is no use to wait for that
		r.x.walk.Unhedged(choice)
		rival.discard()
		return nil
	}
	r.rival = rival
	return rival
}

// wake has the first stop waiting for an answer that nobody needs any more; false once it has noticed.
func (r *race) wake() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.decided {
		r.x.client.tether.Wake()
	}
	return !r.decided
}

// run makes the rival's attempt and tells whether it has an answer that serves.
func (r *race) run(rival *Exchange) (won bool) {
	defer func() {
		if v := recover(); v != nil {
			rival.endWith(&internal, rival.p.recovered(rival, v))
			r.failed, won = true, false
		}
	}()
	rival.claim(time.Now())
	err := rival.p.reachContent(r.ctx, rival)
	if err == nil && rival.upload != nil { // its buffers are not the rival's to keep
		<-rival.upload.done
		rival.endUpload()
	}
	if _, failed := rival.failureOf(err); failed || err != nil {
		if err != nil {
			rival.endWith(kindOfError(err), err)
		}
		r.failed = true
		return false
	}
	return rival.status < http.StatusBadRequest // an error is no answer to wait for less
}

// double is an exchange for the same request. It has a client of its own, by which it can be cut.
func (x *Exchange) double() *Exchange {
	d := x.p.exchanges.Get().(*Exchange) //nolint:forcetypeassert // the pool holds nothing else
	if d.loan == nil {
		d.p = x.p
		d.borrow()
	}
	own := Exchange{body: d.body, head: d.head, edited: d.edited, held: d.held, out: d.out, loan: d.loan, meter: d.meter, scrubber: d.scrubber, peek: d.peek, aimedPath: d.aimedPath}
	*d = Exchange{
		p: x.p, settings: x.settings, policy: x.policy, client: &clientConn{}, start: x.start, header: x.header, id: x.id,
		provider: x.provider, operation: x.operation, method: x.method, path: x.clientPath, query: x.query, credential: x.credential,
		hasConnection: x.hasConnection, bodyless: x.bodyless, isHead: x.isHead, http10: x.http10, bodyLen: x.bodyLen, request: x.request, class: x.class,
		caller: x.caller, who: x.who, known: x.known, session: x.session, subject: x.subject, limited: limited{tuned: x.limited.tuned}, marksRefused: atomic.LoadUint32(&x.marksRefused), route: x.route, arm: x.arm, origin: x.origin, clientPath: x.clientPath, firstByte: x.firstByte,
		cache:        caching{keep: x.cache.keep, of: x.cache.of, result: x.cache.result},
		attemptsLeft: 2, second: true, modelID: x.modelID, media: x.media, pieces: x.pieces, tier: x.tier, walk: pick.Walking(*x.walk.Query()),
		body: x.body, head: own.head, edited: own.edited, held: own.held, out: own.out, loan: own.loan, meter: own.meter, scrubber: own.scrubber, peek: own.peek,
		aimedPath: own.aimedPath, ownBody: own.body,
	}
	d.subject.Header = d.peek
	if x.trace != nil { // its attempts are put beside the first's when they are over
		d.trace = &Trace{TraceID: x.trace.TraceID, SpanID: x.trace.SpanID}
	}
	return d
}

// decide waits for what has to be waited for, ends the attempt that does not count, and leaves the exchange at the other.
func (r *race) decide(err error) error {
	x := r.x
	r.mu.Lock()
	r.over = true
	rival := r.rival
	r.mu.Unlock()
	if rival == nil {
		return err
	}
	x.hedged = true
	_, failed := x.failureOf(err)
	late := x.client.tether.Woken() // by the rival: the failure is none of the target's
	cut := (late || failed) && x.client.tether.Await(r.done)
	r.mu.Lock()
	r.decided = true
	r.mu.Unlock()
	late = x.client.tether.Woken() || late
	switch {
	case cut:
		err = x.cutError()
	case err == nil && !failed: // the first serves
		if late && x.conn != nil { // it was woken a moment too late, which has moved its deadlines
			x.armed = time.Time{}
			_ = x.conn.SetDeadline(x.deadline(time.Now(), x.limits.Timeouts.Idle))
		}
	case !late && !failed: // the client has left, or the request itself is at fault
	case r.failed: // both have: the walk goes on from the first
	default:
		r.adopt(err, late)
		return nil
	}
	rival.client.tether.Cut()
	<-r.done
	r.end(rival)
	return err
}

// adopt ends the first attempt and takes over the rival's answer.
func (r *race) adopt(err error, late bool) {
	x, rival := r.x, r.rival
	if late {
		err = fail(&hedgeLost, nil)
	}
	before := x.total
	x.abandon(err)
	x.tale.hedgeWon = true
	x.lost = x.total - before
	total := addNano(x.total, rival.total)
	x.addUsed(rival)
	swapped := *x // its buffers go back with the rival
	x.provider, x.limits, x.path, x.newModel, x.choice, x.routeTarget, x.lease = rival.provider, rival.limits, rival.path, rival.newModel, rival.choice, rival.routeTarget, rival.lease
	x.target, x.series, x.price, x.conn, x.askedUsage, x.prompt, x.attempt = rival.target, rival.series, rival.price, rival.conn, rival.askedUsage, rival.prompt, rival.attempt
	x.meter, x.scrubber, x.scrub, x.identity, x.format, x.status, x.length = rival.meter, rival.scrubber, rival.scrub, rival.identity, rival.format, rival.status, rival.length
	x.retryAfter, x.streamed, x.lastRead, x.armed, x.settled, x.accounted = rival.retryAfter, rival.streamed, rival.lastRead, rival.armed, rival.settled, rival.accounted
	x.held, x.out, x.aimedPath = rival.held, rival.out, rival.aimedPath
	x.cache.large = rival.cache.large
	x.cache.record, rival.cache.record = rival.cache.record, x.cache.record
	x.cache.header, rival.cache.header = rival.cache.header, x.cache.header
	x.cache.types, rival.cache.types = rival.cache.types, x.cache.types
	rival.meter, rival.scrubber, rival.held, rival.out, rival.aimedPath = swapped.meter, swapped.scrubber, swapped.held, swapped.out, swapped.aimedPath
	x.pace, rival.pace = rival.pace, paced{}
	x.pace.waited += swapped.pace.waited
	rival.conn, rival.lease = nil, pick.Lease{}
	x.attempts += rival.attempts
	x.marksRefused |= rival.marksRefused
	x.tried.add(x.target)
	x.total = total
	if x.trace != nil {
		x.trace.Attempts = append(x.trace.Attempts, rival.trace.Attempts...)
	}
	if x.conn != nil && !x.conn.Move(&x.client.tether) { // the client has left meanwhile: the next read tells
		rival.client.tether.Cut()
	}
	rival.discard()
}

// end settles the rival, whose answer nobody needs, and counts what it cost.
func (r *race) end(rival *Exchange) {
	if !r.failed || rival.kind == &clientLeft { // it was cut
		rival.kind = &hedgeLost
	}
	if rival.conn != nil {
		rival.dropConn()
	}
	if rival.attempts > 0 {
		rival.p.settle(rival, time.Now())
	}
	rival.dropTurn(time.Now())
	rival.lease.Settle(time.Now(), &pick.Result{})
	x := r.x
	x.attempts += rival.attempts
	x.marksRefused |= rival.marksRefused // the next target is to get none either
	x.total, x.lost = addNano(x.total, rival.total), rival.total
	x.addUsed(rival)
	if x.trace != nil { // the first's is not over, and stays the last
		x.trace.Attempts = slices.Insert(x.trace.Attempts, max(0, len(x.trace.Attempts)-1), rival.trace.Attempts...)
	}
	x.tried.add(rival.target)
	rival.discard()
}

// discard gives a double back.
func (x *Exchange) discard() {
	x.body = x.ownBody
	x.p.release(x)
}

package simulate

import (
	"math"
	"time"

	"llm-auto-optimizer/proxy/limit"
	"llm-auto-optimizer/proxy/pick"
)

// thought is what a request is thought to take.
func (x *productionWalk) thought(r *request) (input, output int64) {
	route := limit.Name(x.p.w.Route.Name)
	size, known := x.p.tokens.Output(route, 0, 0)
	x.size, x.guessed = size, !known
	if factor := x.params.Limits.Output; factor > 0 {
		x.size = int64(math.Ceil(factor * float64(x.size)))
	}
	return int64(r.input), x.size
}

// waiting is the exchange as one that waits.
func (x *productionWalk) waiting(e *exchange) *waiting {
	input, output := x.thought(e.r)
	id := callerID(e.r.caller)
	priority := 0
	if len(x.p.w.Callers) > 0 {
		priority = x.p.w.Callers[e.r.caller].Priority
	}
	return &waiting{
		Ticket: limit.Ticket{Caller: id, Priority: priority, Cost: input + output, Draw: x.p.w.luck.Float64()}, input: input, output: output,
		request: limit.Request{Caller: id, Route: limit.Name(x.p.w.Route.Name), Part: limit.Exchange, Input: input, Output: output},
	}
}

// enter implements limiter.
func (x *productionWalk) enter(e *exchange) {
	g := x.p.gate
	if g == nil {
		e.begin()
		return
	}
	since := g.w.now
	g.enter(x.waiting(e), func(p pass) {
		x.pass = p
		e.waited += g.w.now - since
		e.begin()
	}, func() { x.turnAway(e) })
}

// turnAway tells the client 429.
func (x *productionWalk) turnAway(e *exchange) {
	x.p.w.result.turnedAway(e.r)
	e.end(false)
}

// paceOf is the pace of a target; nil where its provider has no limits.
func (x *productionWalk) paceOf(target int) *pace {
	if i := x.p.w.Targets[target].Provider; i != noProvider {
		return x.p.w.providers[i].pace
	}
	return nil
}

// direct makes an attempt at a target if there is room for it now; else it says when there may be.
func (x *productionWalk) direct(e *exchange, target int) (retry time.Duration) {
	if p := x.paceOf(target); p != nil {
		x.use(target)
		if x.turns[0], retry = p.now(x.thought(e.r)); retry > 0 {
			return retry
		}
	}
	e.current = e.try(target, false)
	return 0
}

// room implements limiter: the target that was chosen, else another one with room, else a wait where there is some first, else the fallbacks.
func (x *productionWalk) room(e *exchange, target int) {
	w := x.p.w
	for {
		retry := x.direct(e, target)
		if retry == 0 {
			return
		}
		x.p.route.Targets()[target].PacedUntil(w.time().Add(retry))
		c, waits := x.walk.Divert(w.time(), w.luck.Uint64())
		same := c.Target.Index() == target
		target = c.Target.Index()
		if e.attempts == 0 {
			x.chosen, x.forced = target+1, true
		}
		switch {
		case !waits:
			continue
		case !same && x.direct(e, target) == 0:
			return
		}
		break
	}
	p, since := x.paceOf(target), w.now
	x.held(target)
	p.wait(x.waiting(e), x.patience()-x.paced, func(t turn) {
		x.waited(e, w.now-since)
		x.turns[0] = t
		e.current = e.try(target, false)
	}, func() {
		x.waited(e, w.now-since)
		if c, ok := x.walk.Refused(w.time(), w.luck.Uint64()); ok {
			x.room(e, c.Target.Index())
			return
		}
		x.away, x.short = true, p.retryIn()
		x.turnAway(e)
	})
}

// waited notes a wait for a provider's limits.
func (x *productionWalk) waited(e *exchange, took time.Duration) {
	x.paced, e.waited = x.paced+took, e.waited+took
}

// spare implements limiter.
func (x *productionWalk) spare(e *exchange, target int) bool {
	p := x.paceOf(target)
	if p == nil {
		return true
	}
	x.use(target)
	t, retry := p.now(x.thought(e.r))
	if retry > 0 {
		x.walk.Unhedged(x.hedged)
		return false
	}
	x.turns[1] = t
	return true
}

// heard tells the pace of an attempt what its provider answered.
func (x *productionWalk) heard(now time.Time, a *attempt, v limit.Verdict) {
	t := &x.turns[leaseOf(a.hedge)]
	if t.pace == nil {
		return
	}
	after := a.after
	if v != limit.Limited {
		after = 0
	}
	counts := v == limit.Limited && t.open && t.sent.Told()
	first := t.answered(now, v, a.asked.read(&x.p.read, now), after, x.p.w.luck.Float64())
	if k := &x.p.paced[a.target]; counts {
		k.Limited++
		if first {
			k.Episodes++
		}
	}
}

// over ends an attempt's turn.
func (x *productionWalk) over(now time.Time, a *attempt, r *request, o pick.Outcome) {
	t := &x.turns[leaseOf(a.hedge)]
	if t.pace == nil {
		return
	}
	if t.sent.Told() {
		x.p.paced[a.target].Attempts++
	}
	tokens := int64(0)
	switch o {
	case pick.Good:
		tokens = int64(r.input + r.output)
		x.p.tokens.LearnOutput(limit.Name(x.p.w.Route.Name), 0, int64(r.output))
	case pick.Limited:
		x.heard(now, a, limit.Limited)
	}
	t.end(now, tokens)
}

// leave ends the exchange's part in the limits of its caller.
func (x *productionWalk) leave(now time.Time, e *ended) {
	u := limit.Usage{}
	if e.served {
		u.Input, u.Output = int64(e.r.input), int64(e.r.output)
	}
	x.pass.leave(now, u, e.served)
}

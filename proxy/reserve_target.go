package proxy

import (
	"math"
	"time"

	"llm-auto-optimizer/analysis/window"
	"llm-auto-optimizer/proxy/admission"
	"llm-auto-optimizer/proxy/limit"
	"llm-auto-optimizer/proxy/provider"
)

// targetID is the attempt's target as limits know it. Without a route it goes by the model that the request names, also where statistics keep no more models apart.
func (x *Exchange) targetID() limit.ID {
	if x.route != nil {
		return x.target.id
	}
	var room [128]byte
	return limit.NameOf(append(append(append(room[:0], x.provider.name...), '/'), x.request.Model...))
}

// targetNeed is what the attempt is thought to take from the limits of its target.
func (x *Exchange) targetNeed() limit.Request {
	q := limit.Request{Caller: x.who, Route: x.routeID(), Target: x.targetID(), Part: limit.Attempt}
	var known bool
	if q.Input, q.Output, known = x.thought(q.Route); x.settings.limits.sized {
		x.noteReserved(q.Output, known)
	}
	if x.settings.limits.spend && x.price != nil {
		rates := x.price.Rates(x.tier, q.Input)
		q.Cost = int64(costOf(&provider.Usage{Input: q.Input, Output: q.Output}, &rates))
	}
	return q
}

// enterTarget takes what the attempt needs from the limits of its target, if there is room now; else it tells when to look again.
func (x *Exchange) enterTarget() (retry time.Duration) {
	x.refusal = limit.Refusal{}
	if !x.p.gate.Rules(limit.Attempt) || x.cache.result == cacheRefresh {
		return 0
	}
	q := x.targetNeed()
	q.Again = x.second // it has a target already
	pass, refusal := x.p.gate.TryEnter(&q)
	if refusal.Refused() {
		x.refusal = refusal
		return min(max(refusal.Retry, time.Microsecond), math.MaxInt64)
	}
	x.pace.pass, x.pace.delay = pass, pass.Delay()
	return 0
}

// holdBack waits until the attempt may start that was let through: some limits space requests out, and those that have waited do not all start at once.
func (x *Exchange) holdBack() error {
	d := x.pace.delay
	if d <= 0 {
		return nil
	}
	x.pace.delay = 0
	cut := x.client.tether.Sleep(d)
	x.waited, x.queued = x.waited+d, x.queued+d
	if cut {
		return x.cutError()
	}
	return nil
}

// waitForTarget has the attempt wait for room in the limits of its target, where it has none yet.
func (x *Exchange) waitForTarget() error {
	if !x.p.gate.Rules(limit.Attempt) || x.pace.pass.Held() || x.cache.result == cacheRefresh {
		return nil
	}
	if !x.refusal.Refused() && x.enterTarget() == 0 { // it had room, and gave it back as its provider had none
		return nil
	}
	x.limited.met(&x.refusal)
	x.holdFlight(&x.refusal)
	q := x.targetNeed()
	q.Again = true
	pass, delay, refusal, err := x.p.queue(x, q)
	x.refusal = refusal
	x.cache.flight.Hold(0)
	switch {
	case err != nil:
		return x.cutError()
	case refusal.Refused():
		x.retryAfter = refusal.Retry
		x.limited.refuse(window.ByTarget, refusal.Retry)
		return fail(kindOfRefusal(&refusal), nil)
	}
	x.pace.pass, x.pace.delay = pass, delay
	return nil
}

// leaveTarget puts what the attempt has taken in the place of what was reserved of the limits of its target.
func (x *Exchange) leaveTarget(o *window.Observation) {
	u := admission.Usage{Input: x.usage.InputTotal(), Output: x.usage.OutputTotal(), Cost: o.CostNanoUSD}
	switch {
	case x.cache.result == cacheRefresh && x.p.gate.Rules(limit.Attempt):
		x.p.gate.Charge(&limit.Request{Caller: x.who, Route: x.routeID(), Target: x.targetID(), Part: limit.Attempt}, u)
	case u == (admission.Usage{}) && !x.counts(o.Outcome):
		x.p.gate.Cancel(&x.pace.pass)
	default:
		x.p.gate.Leave(&x.pace.pass, u)
	}
}

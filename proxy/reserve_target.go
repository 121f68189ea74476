package proxy

import (
	"math"
	"time"

	"llm-auto-optimizer/analysis/window"
	"llm-auto-optimizer/proxy/admission"
	"llm-auto-optimizer/proxy/limit"
	"llm-auto-optimizer/proxy/provider"
)

// targetNeed is what the attempt is thought to take from the limits of its target.
func (x *Exchange) targetNeed() limit.Request {
	q := limit.Request{Caller: x.who, Route: x.routeID(), Target: x.target.id, Part: limit.Attempt}
	q.Input, q.Output = x.thought(q.Route)
	if x.settings.limits.sized {
		x.limited.reserved = q.Output
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
	if !x.p.gate.Rules(limit.Attempt) {
		return 0
	}
	q := x.targetNeed()
	pass, refusal := x.p.gate.TryEnter(&q)
	if refusal.Refused() {
		x.refusal = refusal
		return min(max(refusal.Retry, time.Microsecond), math.MaxInt64)
	}
	x.pace.pass = pass
	if d := pass.Delay(); d > 0 {
		x.client.tether.Sleep(d)
		x.waited, x.queued = x.waited+d, x.queued+d
	}
	return 0
}

// waitForTarget has the attempt wait for room in the limits of its target, where it has none yet.
func (x *Exchange) waitForTarget() error {
	if !x.p.gate.Rules(limit.Attempt) || x.pace.pass.Held() {
		return nil
	}
	if x.refusal.Refused() {
		x.limited.met(&x.refusal)
	}
	pass, delay, refusal, err := x.p.queue(x, x.targetNeed())
	x.refusal = refusal
	switch {
	case err != nil:
		return x.cutError()
	case refusal.Refused():
		x.retryAfter = refusal.Retry
		x.limited.refuse(window.ByTarget, refusal.Retry)
		return fail(kindOfRefusal(&refusal), nil)
	}
	x.pace.pass = pass
	if delay > 0 {
		x.client.tether.Sleep(delay)
		x.waited, x.queued = x.waited+delay, x.queued+delay
	}
	return nil
}

// leaveTarget puts what the attempt has taken in the place of what was reserved of the limits of its target.
func (x *Exchange) leaveTarget(o *window.Observation) {
	u := admission.Usage{Input: x.usage.InputTotal(), Output: x.usage.OutputTotal(), Cost: o.CostNanoUSD}
	if o.Outcome != window.OK && u == (admission.Usage{}) {
		x.p.gate.Cancel(&x.pace.pass)
		return
	}
	x.p.gate.Leave(&x.pace.pass, u)
}

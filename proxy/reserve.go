package proxy

import (
	"time"

	"llm-auto-optimizer/analysis/window"
	"llm-auto-optimizer/config"
	"llm-auto-optimizer/proxy/admission"
	"llm-auto-optimizer/proxy/limit"
	"llm-auto-optimizer/proxy/provider"
)

// reserve takes what the exchange is thought to need from the limits that it is under, after a wait where that helps. It comes behind the cache: what that answers
// takes nothing.
func (p *Proxy) reserve(x *Exchange, r *routeState) error {
	if !p.gate.Rules(limit.Exchange) {
		return nil
	}
	q := x.need(r)
	pass, refusal := p.gate.TryEnter(&q)
	delay := pass.Delay()
	if refusal.Refused() {
		x.limited.met(&refusal)
		q.Again = true
		x.holdFlight(&refusal)
		var err error
		if pass, delay, refusal, err = p.queue(x, q); err != nil {
			return x.cutError()
		}
		x.cache.flight.Hold(0)
	}
	if refusal.Refused() {
		if r != nil {
			x.join(r)
		}
		x.limited.refuse(window.ByGateway, refusal.Retry)
		x.refusal, x.retryAfter = refusal, refusal.Retry
		return fail(kindOfRefusal(&refusal), nil)
	}
	x.permit = pass
	if delay > 0 {
		cut := x.client.tether.Sleep(delay)
		x.waited, x.queued = x.waited+delay, x.queued+delay
		if cut {
			return x.cutError()
		}
	}
	return nil
}

// queue has the exchange wait for room.
func (p *Proxy) queue(x *Exchange, q limit.Request) (pass admission.Pass, delay time.Duration, refusal limit.Refusal, err error) {
	start := time.Now()
	ctx, release := x.client.tether.Attend(time.Time{})
	defer release()
	within := secondsOr(x.limited.tuned.Wait, x.settings.limits.waits.MaxWait)
	pass, delay, refusal, err = p.gate.EnterWithin(ctx, &q, x.priority(), within, x.queued)
	if took := time.Since(start); !refusal.Refused() || took > time.Millisecond { // else it was turned away at once
		x.waited, x.queued = x.waited+took, x.queued+took
	}
	return pass, delay, refusal, err
}

// need is what the exchange is thought to take.
func (x *Exchange) need(r *routeState) limit.Request {
	q := limit.Request{Caller: x.who, Route: directID, Part: limit.Exchange}
	if r != nil {
		x.classify(r)
		q.Route = r.id
	}
	var known bool
	if q.Input, q.Output, known = x.thought(q.Route); x.settings.limits.sized {
		x.noteReserved(q.Output, known)
	}
	if x.settings.limits.spend && x.metered() {
		q.Cost = int64(x.dearest(r, q.Input, q.Output))
	}
	return q
}

// thought is how many tokens the request is thought to have, and its answer not to exceed; known tells whether the route and class themselves have taught the latter.
func (x *Exchange) thought(route limit.ID) (input, output int64, known bool) {
	if !x.metered() {
		return 0, 0, false
	}
	size := max(int64(x.bodyLen), x.restLen)
	input = x.p.estimates.Input(x.modelID, max(size-int64(x.media), 0)) + int64(x.pieces)*mediaTokens
	if x.operation != provider.Embeddings {
		output, known = x.p.estimates.Output(route, int(x.class), x.request.MaxOutput)
		output = x.scaled(output)
	}
	return input, output, known
}

// noteReserved remembers what output is reserved for the exchange, and whether its own route and class have taught that.
func (x *Exchange) noteReserved(output int64, known bool) {
	x.limited.reserved, x.limited.guessed = output, !known
}

// routeID is the exchange's route as limits know it.
func (x *Exchange) routeID() limit.ID {
	if x.route == nil {
		return directID
	}
	return x.route.id
}

var directID = limit.Name(directRoute)

// dearest is what so many tokens cost at the dearest of the targets that may serve the exchange: a budget is rather reserved too much of than too little.
func (x *Exchange) dearest(r *routeState, input, output int64) (most config.NanoUSD) {
	u, tier, table := provider.Usage{Input: input, Output: output}, config.ParseTier(x.request.ServiceTier), x.p.prices()
	price := func(p *config.Price) {
		if p != nil {
			rates := p.Rates(tier, input)
			most = max(most, costOf(&u, &rates))
		}
	}
	if r == nil {
		listed, _ := table.Lookup(x.provider.priceHint, x.request.Model)
		price(listed)
		return most
	}
	for _, t := range r.reach {
		model := t.modelBytes
		if len(model) == 0 {
			model = x.request.Model
		}
		listed, _ := table.Lookup(t.own.priceHint, model)
		if t.prices != (config.TargetPrice{}) {
			if own := t.prices.Override(listed); own != nil {
				listed = own
			}
		}
		price(listed)
	}
	return most
}

// learnSize takes in how long the attempt's prompt and answer were.
func (x *Exchange) learnSize(o *window.Observation) {
	if o.Outcome != window.OK || o.Estimated || !x.metered() {
		return
	}
	if x.pieces == 0 {
		x.p.estimates.LearnInput(x.modelID, max(int64(x.bodyLen), x.restLen), x.usage.InputTotal())
	}
	if x.operation != provider.Embeddings {
		x.p.estimates.LearnOutput(x.routeID(), int(x.class), x.usage.OutputTotal())
	}
}

// settleLimits puts what the exchange has taken in the place of what was reserved for it; where it has come to nothing, all of that is free again.
func (p *Proxy) settleLimits(x *Exchange, o window.Outcome) {
	u := admission.Usage{Input: x.used.Input, Output: x.used.Output, Cost: int64(x.total)}
	nothing := u == (admission.Usage{})
	switch {
	case x.permit.Held() && nothing && (x.cache.result.answers() || !x.counts(o)):
		p.gate.Cancel(&x.permit)
	case x.permit.Held():
		p.gate.Leave(&x.permit, u)
	case x.cache.result == cacheRefresh && !nothing && p.gate.Rules(limit.Exchange): // nobody waits for it, but it is paid for
		p.gate.Charge(&limit.Request{Caller: x.who, Route: x.routeID(), Part: limit.Exchange}, u)
	}
}

// counts tells whether an exchange that has used nothing counts as a request all the same: a provider has worked on it, as far as is known. What it failed of itself, or never got, is
// free.
func (x *Exchange) counts(o window.Outcome) bool {
	return o == window.OK || o == window.ClientError || o == window.Canceled && x.attempt.delivered
}

// settleEarly is settleLimits before the last of a whole answer goes out: who asks again as soon as it has come finds what it held free.
func (x *Exchange) settleEarly() {
	if !x.permit.Held() && !x.pace.pass.Held() || x.cache.result.answers() || !x.counts(x.outcome()) {
		return
	}
	x.account()
	used := admission.Usage{Input: x.usage.InputTotal(), Output: x.usage.OutputTotal(), Cost: int64(x.cost)}
	x.p.gate.Leave(&x.pace.pass, used)
	used.Input, used.Output, used.Cost = used.Input+x.used.Input, used.Output+x.used.Output, int64(addNano(x.total, x.cost))
	x.p.gate.Leave(&x.permit, used)
}

// keepPasses has what the exchange holds of limits last on.
func (x *Exchange) keepPasses(now time.Time) {
	x.p.gate.Renew(&x.permit, now, x.p.lease)
	x.p.gate.Renew(&x.pace.pass, now, x.p.lease)
}

// addUsed adds what a rival has taken.
func (x *Exchange) addUsed(rival *Exchange) {
	x.used.Input += rival.used.Input
	x.used.Output += rival.used.Output
}

// use adds what an attempt has taken.
func (x *Exchange) use() {
	x.used.Input += x.usage.InputTotal()
	x.used.Output += x.usage.OutputTotal()
}

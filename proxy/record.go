package proxy

import (
	"math"
	"time"

	"llm-auto-optimizer/analysis/window"
	"llm-auto-optimizer/config"
	"llm-auto-optimizer/proxy/admission"
	"llm-auto-optimizer/proxy/pick"
	"llm-auto-optimizer/proxy/provider"
)

// record ends the exchange: it settles the last attempt, writes the log line and gives the exchange back. It must be
// called exactly once; x is not to be used afterwards.
func (p *Proxy) record(x *Exchange) {
	defer func() {
		p.metrics.inFlight.Add(-1)
		if r := recover(); r != nil {
			_ = p.recovered(x, r)
			p.gate.Leave(&x.permit, admission.Usage{Input: x.used.Input, Output: x.used.Output, Cost: int64(x.total)})
			x.dropTurn(time.Now())
			x.landFlight(false)
		}
	}()
	now := time.Now()
	if x.attempts > 0 {
		p.settle(x, now)
	}
	x.dropTurn(now)
	x.lease.Settle(now, &pick.Result{}) // where a bug has kept the attempt from being settled
	kept := p.store(x, now)
	x.landFlight(kept)
	p.refreshed(x, kept, now)
	p.refresh(x, now)
	o := x.outcome()
	p.settleLimits(x, o)
	if x.cache.result != cacheRefresh { // which is no client's
		p.metrics.exchange(o)
		p.metrics.overhead.Update(x.overheadUntil(now).Seconds())
	}
	x.endTrace(now, o)
	x.countCache(o)
	x.followCache(now)
	p.log.exchange(x, now, o)
	x.report(now, o)
	x.walk.Paid(int64(x.total), int64(x.lost))
	x.walk.End()
	p.release(x)
}

// settle observes the attempt that has just ended, once: usage, cost and times go into the target's window and
// metrics, whatever the outcome was.
func (p *Proxy) settle(x *Exchange, now time.Time) {
	if x.settled {
		return
	}
	x.settled = true
	x.account()
	x.total = addNano(x.total, x.cost)
	x.use()
	o := window.Observation{
		Propensity:       x.choice.Propensity,
		Outcome:          x.outcome(),
		Duration:         now.Sub(x.attempt.start),
		TTFT:             x.ttft(),
		TokensInput:      uncached(&x.usage),
		TokensCacheRead:  x.usage.CacheRead,
		TokensCacheWrite: x.usage.CacheWrite5m + x.usage.CacheWrite1h,
		TokensOutput:     x.usage.OutputTotal(),
		TokensReasoning:  x.usage.Reasoning,
		CostNanoUSD:      int64(x.cost),
		Estimated:        x.estimated,
		Unpriced:         x.unpriced,
	}
	x.series.Record(now, &o)
	x.target.metrics.observe(&o, &x.usage)
	x.charge(&o)
	x.learnSize(&o)
	x.endTurn(now, &o)
	x.countPrompt(now)
	x.settleLease(now, &o)
	x.traceAttempt(now, &o)
}

// uncached is the input that was read afresh, of every kind.
func uncached(u *provider.Usage) int64 { return u.Input + u.AudioInput + u.ImageInput }

// ttft is the time from the attempt's start to its first content; zero where the answer was no stream or had none.
func (x *Exchange) ttft() time.Duration {
	if !x.isStream() || x.attempt.content.IsZero() {
		return 0
	}
	return x.attempt.content.Sub(x.attempt.start)
}

// outcome is how the attempt ended.
func (x *Exchange) outcome() window.Outcome {
	switch {
	case x.kind != nil:
		return x.kind.outcome
	case x.cache.result == cacheCoalesced:
		return x.cache.outcome
	case x.status == 429:
		return window.RateLimited
	case x.status >= 500:
		return window.UpstreamError
	case x.status >= 400:
		return window.ClientError
	}
	if _, failed := x.meter.Failed(); failed && x.metered() {
		if x.isStream() {
			return window.StreamError
		}
		return window.UpstreamError
	}
	return window.OK
}

// metered tells whether the operation is one that providers charge by tokens.
func (x *Exchange) metered() bool {
	return x.operation != provider.Opaque && x.operation != provider.CountTokens
}

// account finds out what the attempt used and what that costs, once.
func (x *Exchange) account() {
	if x.accounted {
		return
	}
	x.accounted = true
	x.usage, x.estimated, x.unpriced, x.cost = provider.Usage{}, false, false, 0
	if !x.metered() || !x.chargeable() {
		return
	}
	x.usage, x.estimated = x.measure()
	if x.price == nil { // the request named no model with a price: perhaps the answer does
		x.price, _ = x.p.prices().Lookup(x.provider.priceHint, x.meter.Model())
	}
	if x.price == nil {
		x.unpriced = true
		return
	}
	tier := x.tier
	if stated := x.meter.ServiceTier(); len(stated) > 0 {
		tier = config.ParseTier(stated)
	}
	rates := x.price.Rates(tier, x.usage.InputTotal())
	x.cost = costOf(&x.usage, &rates)
	if x.prompt.arm != promptNone {
		x.prompt.saved = promptSaving(&x.usage, &rates)
	}
}

// chargeable tells whether the provider may charge for the attempt: it got the whole request, and did not refuse it.
func (x *Exchange) chargeable() bool {
	if x.attempt.status >= 300 {
		return false
	}
	if x.attempt.status == 0 { // no answer was seen: a provider that was at work when we left does charge
		return x.attempt.delivered
	}
	if _, failed := x.meter.Failed(); failed && !x.isStream() {
		return false
	}
	return true
}

// defaultBytesPerToken is a usual ratio of request bytes to input tokens, used until a target has taught its own.
const defaultBytesPerToken = 4

// measure is the usage as the provider stated it. Where it said nothing, or the stream was cut before its last word, what
// is missing is estimated from the bytes that went each way.
func (x *Exchange) measure() (u provider.Usage, estimated bool) {
	written := (x.meter.OutputBytes() + defaultBytesPerToken - 1) / defaultBytesPerToken
	u, known := x.meter.Usage()
	switch {
	case !known:
		ratio := math.Float64frombits(x.target.bytesPerToken.Load())
		return provider.Usage{Input: int64(math.Ceil(float64(x.bodyLen) / ratio)), Output: written}, true
	case !x.meter.UsageFinal():
		u.Output = max(u.Output, written)
		return u, true
	default:
		x.target.learn(x.bodyLen, u.InputTotal())
		return u, false
	}
}

// learn moves the target's ratio of bytes to tokens a twentieth of the way to what a provider has just said. Updates
// that race may get lost, which does no harm to an average.
func (t *target) learn(bytes int, tokens int64) {
	if bytes <= 0 || tokens <= 0 {
		return
	}
	old := math.Float64frombits(t.bytesPerToken.Load())
	seen := min(max(float64(bytes)/float64(tokens), 0.1), 1000)
	t.bytesPerToken.Store(math.Float64bits(old + (seen-old)/20))
}

// overheadUntil is the time that the gateway itself has spent on the exchange by now: from the request's arrival to its
// going out, and from the last read of the answer's head (or held body) to the answer's going out; not the time spent
// waiting for client or provider. The first call after the answer came settles it: between the pieces of a stream nothing is
// counted.
func (x *Exchange) overheadUntil(now time.Time) time.Duration {
	switch {
	case x.overhead > 0:
	case x.attempt.sent.IsZero():
		return max(0, now.Sub(x.start)-x.waited)
	case x.attempt.answered.IsZero():
		return max(0, x.attempt.sent.Sub(x.start)-x.waited)
	default:
		x.overhead = max(1, x.attempt.sent.Sub(x.start)-x.waited+now.Sub(x.lastRead))
	}
	return x.overhead
}

// waitedForAnswer notes the waiting of an attempt that is going to be repeated.
func (x *Exchange) waitedForAnswer() {
	if !x.attempt.sent.IsZero() {
		x.waited += time.Since(x.attempt.sent)
	}
}

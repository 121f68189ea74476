package proxy

import (
	"math"
	"math/rand/v2"
	"time"

	"llm-auto-optimizer/analysis/window"
	"llm-auto-optimizer/proxy/admission"
	"llm-auto-optimizer/proxy/limit"
	"llm-auto-optimizer/proxy/pacing"
	"llm-auto-optimizer/proxy/pick"
)

// paced is what keeps an exchange to the limits of its providers.
type paced struct {
	of     *pacing.Pace // of the attempt; nil: nothing does
	turn   pacing.Turn
	pass   admission.Pass // of the limits of the target
	heard  *limit.Headers // of a 429 whose body has yet to tell what it means
	delay  time.Duration  // until the attempt may start
	waited time.Duration  // for room, at all targets
}

// later has the attempt start after a delay at the earliest; what that adds to the delay by limits of ours is a wait for the provider's.
func (p *paced) later(delay time.Duration) {
	if more := delay - p.delay; more > 0 {
		p.delay, p.waited = delay, p.waited+more
	}
}

// refreshPriority is that of what no client waits for.
const refreshPriority = math.MinInt32

// paceFor is what is known of the limits for the attempt's key and model; nil: they are not kept to.
func (x *Exchange) paceFor(now time.Time) *pacing.Pace {
	if !x.provider.config.Pacing.Enabled || !x.metered() || x.upgrade {
		return nil
	}
	model, who, identity := x.upstreamModel(), x.caller, x.provider.identity
	if len(model) > maxModelName {
		model = []byte(otherModel)
	}
	if x.provider.hasKey {
		who = hashID{}
	}
	if t := x.routeTarget; t != nil && x.provider.hasKey {
		if p := t.pace.Load(); p.Is(identity, who, model) {
			return p
		}
		p := x.p.paces.Find(now, identity, who, model)
		t.pace.Store(p)
		return p
	}
	if !x.client.pace.Is(identity, who, model) {
		x.client.pace = x.p.paces.Find(now, identity, who, model)
	}
	return x.client.pace
}

// terms are what the attempt obeys.
func (x *Exchange) terms() pacing.Terms {
	l, c := &x.limits.Pacing, &x.provider.config.Pacing
	return pacing.Terms{
		Share: l.Share, MaxWait: l.MaxWait, Waiters: c.Waiters, Crowds: c.Concurrency == "aimd" || c.Concurrency == "gradient",
		Concurrency: limit.ConcurrencyOptions{Least: l.MinConcurrent, Most: l.MaxConcurrent, Open: true, Gradient: c.Concurrency == "gradient"},
	}
}

// paceNeed is what the attempt is thought to take of its provider's limits; known is as of thought.
func (x *Exchange) paceNeed() (n limit.Need, known bool) {
	n.Caller = x.who
	n.Input, n.Output, known = x.thought(x.routeID())
	return n, known
}

// takeRoom lets the attempt through if there is room for it now; else the refusal has a time to retry. What the target's own limits gave is held while the attempt waits for its
// provider's: else who gets room there could find none here. It keeps back others of the same target alone, as a rule from the same wait, and for no longer than max_wait.
func (x *Exchange) takeRoom(now time.Time) (r pacing.Refusal) {
	x.pace.of = x.paceFor(now)
	if r.Retry = x.enterTarget(); r.Retry > 0 {
		return r
	}
	if x.pace.of == nil {
		return r
	}
	need := limit.Need{Caller: x.who}
	if x.pace.of.Sized() {
		var known bool
		need, known = x.paceNeed()
		x.noteReserved(need.Output, known)
	}
	terms := x.terms()
	if x.pace.turn, r = x.pace.of.Try(now, &terms, need); r.Retry > 0 {
		x.p.gate.Cancel(&x.pace.pass)
	}
	return r
}

// hasRoom is takeRoom for attempts that do not wait.
func (x *Exchange) hasRoom() bool {
	if x.takeRoom(time.Now()).Retry > 0 {
		return false
	}
	if x.pace.delay > 0 { // that is a wait, too
		x.dropTurn(time.Now())
		return false
	}
	return true
}

// pacesAll tells whether that there is no room concerns whoever is sent to the target: limits of ours may be for this caller alone, clients' keys and models are their own, and settings
// may have changed.
func (x *Exchange) pacesAll() bool {
	return !x.refusal.Refused() && x.routeTarget.keyed && x.routeTarget.model != "" && x.settings == x.p.settings.Load()
}

// forgetPaced has targets be as if there were room where the limits of their providers are not kept to any more.
func (rs *routes) forgetPaced(now time.Time) {
	for _, r := range rs.list {
		for i, t := range r.pick.Targets() {
			if !r.targets[i].base.config.Pacing.Enabled {
				t.PacedUntil(now)
			}
		}
	}
}

// findRoom begins an attempt at the chosen target of the route, or, where that has no room, at another one, after a wait where none has.
func (x *Exchange) findRoom(choice pick.Choice) error {
	for {
		x.aim(choice)
		now := time.Now()
		r := x.takeRoom(now)
		if r.Retry == 0 {
			return x.setOff()
		}
		if x.pacesAll() {
			choice.Target.PacedUntil(now.Add(min(r.Retry, x.limits.Pacing.MaxWait)))
		}
		next, waits := x.walk.Divert(now, pick.Draw())
		if !waits {
			choice = next
			continue
		}
		if next.Target != choice.Target {
			x.aim(next)
			if r = x.takeRoom(now); r.Retry == 0 { // what was refused, and by whom, was another's
				return x.setOff()
			}
		}
		err := x.waitForRoom(now, r)
		if err == nil {
			return x.setOff()
		}
		if x.client.tether.IsCut() {
			return err
		}
		var ok bool
		if choice, ok = x.walk.Refused(time.Now(), pick.Draw()); !ok {
			return err
		}
		x.limited.refused = window.NotRefused // not yet
	}
}

// setOff begins the attempt that there is room for.
func (x *Exchange) setOff() error {
	if err := x.holdBack(); err != nil {
		return err
	}
	x.claim(time.Now())
	return nil
}

// roomHere is findRoom where there is no choice of targets: without a route, and for the same request once more.
func (x *Exchange) roomHere() error {
	if x.second { // which does not wait: the other would have to wait for it
		if !x.hasRoom() {
			return fail(&providerLimited, nil)
		}
		return nil
	}
	now := time.Now()
	if r := x.takeRoom(now); r.Retry > 0 {
		if err := x.waitForRoom(now, r); err != nil {
			return err
		}
	}
	return x.holdBack()
}

// waitForRoom waits until the attempt is let through, in turn with those of other callers, and no longer than that is allowed.
// r is why it was not at once; nothing where the limits of the provider were not asked.
func (x *Exchange) waitForRoom(now time.Time, r pacing.Refusal) error {
	if x.refusal.Refused() { // by a limit of ours
		r = pacing.Refusal{}
	}
	if err := x.waitForTarget(); err != nil {
		return err
	}
	if x.pace.pass.Held() { // which may have taken a while
		now = time.Now()
	}
	pace, m := x.pace.of, x.target.metrics
	if pace == nil { // it has come out of use meanwhile
		return nil
	}
	need, _ := x.paceNeed()
	ask := pacing.Ask{Terms: x.terms(), Need: need, Priority: x.priority(), Draw: rand.Float64()}
	if r.Retry == 0 {
		if x.pace.turn, r = pace.Try(now, &ask.Terms, ask.Need); r.Retry == 0 {
			return nil
		}
	}
	ask.Refused = r
	x.limited.lacks(&r)
	x.countHeld(&r)
	if x.cache.result == cacheRefresh {
		ask.Priority = refreshPriority
	}
	ask.MaxWait = ask.Terms.MaxWait - x.queued
	ctx, release := x.client.tether.Attend(time.Time{})
	turn, delay, refusal := pace.Wait(ctx, now, &ask)
	release()
	took := time.Since(now)
	x.pace.later(delay)
	x.pace.turn = turn
	if refusal.Retry == 0 || took > time.Millisecond { // else it was turned away at once
		x.pace.waited, x.waited, x.queued = x.pace.waited+took, x.waited+took, x.queued+took
		m.waitedForRoom(took)
	}
	switch {
	case x.client.tether.IsCut():
		return x.cutError()
	case refusal.Retry == 0:
		return nil
	}
	x.p.gate.Cancel(&x.pace.pass)
	x.pace.delay = 0
	m.pacedOut.Inc()
	x.retryAfter = refusal.Retry
	x.limited.refuse(window.ByProvider, refusal.Retry)
	if refusal.Full {
		return fail(&routeSaturated, nil)
	}
	return fail(&providerLimited, nil)
}

// endTurn ends the attempt's turn.
func (x *Exchange) endTurn(now time.Time, o *window.Observation) {
	x.forgetHeard()
	x.leaveTarget(o)
	x.countPaced()
	if !x.pace.turn.Held() {
		return
	}
	tokens := int64(0)
	if !o.Estimated {
		tokens = x.usage.InputTotal() + x.usage.OutputTotal()
	}
	sign, ttft := x.crowding(o)
	x.pace.of.End(now, &x.pace.turn, !x.attempt.sent.IsZero(), sign, ttft, tokens)
}

// crowding is what the attempt says of the load of its target.
func (x *Exchange) crowding(o *window.Observation) (limit.Sign, float64) {
	switch o.Outcome {
	case window.RateLimited:
		if x.unpaid() || x.attempt.alone {
			return limit.NoMatter, 0
		}
		return limit.Crowded, 0
	case window.OK:
	default:
		return limit.NoMatter, 0
	}
	if o.TTFT == 0 || x.route == nil {
		return limit.Good, o.TTFT.Seconds()
	}
	if slo := x.route.config.Objective.TTFTp95; slo > 0 && o.TTFT > slo {
		return limit.Crowded, 0
	}
	return limit.Good, x.choice.Target.Relative(x.walk.Query(), o.TTFT, o.TokensInput)
}

// dropTurn gives the turn of an attempt back that has come to nothing.
func (x *Exchange) dropTurn(now time.Time) {
	x.forgetHeard()
	x.p.gate.Cancel(&x.pace.pass)
	if x.pace.turn.Held() {
		x.pace.of.End(now, &x.pace.turn, !x.attempt.sent.IsZero(), limit.NoMatter, 0, 0)
	}
}

package simulate

import (
	"fmt"
	"time"

	"llm-auto-optimizer/analysis/window"
	"llm-auto-optimizer/optimizer"
	"llm-auto-optimizer/proxy/pick"
	"llm-auto-optimizer/proxy/policy"
)

// cycleEvery is how often the optimizer looks.
const cycleEvery = 10 * time.Second

// newOptimized is the production strategy with the optimizer's loop around it.
func newOptimized(w *world) strategy {
	return newTuned(w, optimizer.DefaultRouting, optimizer.DefaultTimeouts)
}

// newTuned is the same with some of its tuners, which may all act by themselves.
func newTuned(w *world, tuners ...optimizer.Tuner) strategy {
	p := newProduction(w).(*production) //nolint:forcetypeassert // it makes nothing else
	p.static = p.policy.Routes[w.Route.Name].Parameters
	modes := map[string]optimizer.Mode{}
	for _, t := range tuners {
		modes[t.Name()] = optimizer.Auto
	}
	p.loop = optimizer.New(p, optimizer.Settings{Bounds: optimizer.DefaultBounds, Trials: optimizer.DefaultTrials, Holdback: w.Route.Holdback, Modes: modes}, tuners...)
	if w.Route.Holdback > 0 {
		w.result.proof = p.loop.Proof
		name := w.Route.Name
		p.policy = &policy.Snapshot{Version: 1, Routes: map[string]policy.Route{name: {Parameters: p.static, Static: &p.static, Holdback: w.Route.Holdback}}}
	}
	return p
}

// cycle runs the loop when it is time.
func (p *production) cycle(now time.Time) {
	if now.Sub(p.cycled) < cycleEvery {
		return
	}
	p.cycled = now
	for _, d := range p.loop.Step(now) {
		p.w.result.Decisions = append(p.w.result.Decisions, d.String())
		if d.Verdict == optimizer.Applied {
			p.w.result.applied = append(p.w.result.applied, p.w.now)
		}
	}
}

// Known implements optimizer.Plant.
func (p *production) Known(now time.Time) []optimizer.Known {
	k := optimizer.Known{
		Name: p.w.Route.Name, Objective: optimizer.Objective{TTFT: p.w.Route.SLO, Violations: p.w.Route.Errors},
		InForce: p.policy.Routes[p.w.Route.Name].Parameters, Static: p.static, Holdback: p.policy.Routes[p.w.Route.Name].Holdback, Canary: p.policy.Routes[p.w.Route.Name].Canary,
	}
	_, k.Refused = p.route.Repeats()
	for i, t := range p.route.Targets() {
		s, like := t.Status(now).State, ""
		if one := &p.w.targets[i]; p.w.Route.Affinity {
			like = fmt.Sprint(one.In*one.price, one.Out*one.price, one.Cached*one.price)
		}
		k.Targets = append(k.Targets, optimizer.KnownTarget{Like: like, Name: t.Name(), Available: s == pick.Healthy || s == pick.Full || s == pick.RateLimit, Returning: s == pick.SlowStart, Paced: p.paced[i]})
	}
	return []optimizer.Known{k}
}

// Publish implements optimizer.Plant.
func (p *production) Publish(routes map[string]policy.Route) error {
	p.policy = &policy.Snapshot{Version: p.policy.Version + 1, Routes: routes}
	return nil
}

// observe tells the loop what an exchange came to.
func (p *production) observe(now time.Time, x *productionWalk, e *ended) {
	o := window.Exchange{
		At: now, Route: p.w.Route.Name, Session: e.r.session, Arm: uint8(x.arm), Forced: x.forced, CostNanoUSD: int64(e.cost * 1e9),
		LostNanoUSD: int64(e.lost * 1e9), Expected: int64(e.r.input), Failed: !e.served, Violation: !e.served || e.late,
		Attempts: uint8(min(e.attempts, 255)), Hedged: e.hedged, Late: e.gaveUp,
	}
	if e.served {
		o.Wait, o.HedgeWon = e.by.answered-e.r.at, e.by.hedge
		o.Rescued = e.by.nth > 0 && !e.by.hedge
		o.Input, o.Output = int64(e.r.input), int64(e.r.output)
		if e.by.target == x.chosen-1 && e.r.output > 1 {
			o.PerToken = (e.by.ended - e.by.answered) / time.Duration(e.r.output-1)
		}
	}
	x.tellLimits(&o, e)
	if p.w.note != nil {
		p.w.note(e.r, &o)
	}
	if c := p.policy.Routes[p.w.Route.Name].Canary; c != nil {
		o.Trial = c.Salt
	}
	if x.chosen > 0 { // else none took it
		o.Target = p.w.Targets[x.chosen-1].Name
	}
	switch {
	case !p.w.isWatched(e.r):
		p.loop.Observe(&o)
	case x.chosen > 0:
		p.loop.Collector.Observe(&o) // the truth is told by it: the proof must not see it
	default:
	}
}

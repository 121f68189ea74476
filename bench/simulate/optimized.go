package simulate

import (
	"time"

	"llm-auto-optimizer/analysis/window"
	"llm-auto-optimizer/optimizer"
	"llm-auto-optimizer/proxy/pick"
	"llm-auto-optimizer/proxy/policy"
)

// cycleEvery is how often the optimizer looks.
const cycleEvery = 10 * time.Second

// newOptimized is the production strategy with the optimizer's loop around it.
func newOptimized(w *world) strategy { return optimizedWith(w, optimizer.DefaultRouting) }

func optimizedWith(w *world, routing optimizer.Routing) strategy {
	p := newProduction(w).(*production) //nolint:forcetypeassert // it makes nothing else
	p.static = p.policy.Routes[w.Route.Name].Parameters
	p.loop = optimizer.New(p, optimizer.Settings{
		Bounds: optimizer.DefaultBounds,
		Modes:  map[string]optimizer.Mode{optimizer.DefaultRouting.Name(): optimizer.Auto},
	}, routing)
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
		InForce: p.policy.Routes[p.w.Route.Name].Parameters, Static: p.static,
	}
	for _, t := range p.route.Targets() {
		s := t.Status(now).State
		k.Targets = append(k.Targets, optimizer.KnownTarget{Name: t.Name(), Available: s == pick.Healthy || s == pick.Full || s == pick.RateLimit, Returning: s == pick.SlowStart})
	}
	return []optimizer.Known{k}
}

// Publish implements optimizer.Plant.
func (p *production) Publish(routes map[string]policy.Parameters) error {
	next := policy.Route{Parameters: routes[p.w.Route.Name], Static: &p.static}
	p.policy = &policy.Snapshot{Version: p.policy.Version + 1, Routes: map[string]policy.Route{p.w.Route.Name: next}}
	return nil
}

// observe tells the loop what an exchange came to.
func (p *production) observe(now time.Time, x *productionWalk, e *ended) {
	o := window.Exchange{
		At: now, Route: p.w.Route.Name, Target: p.w.Targets[x.chosen-1].Name, Forced: x.forced, CostNanoUSD: int64(e.cost * 1e9),
		Violation: !e.served || e.late,
	}
	if e.served {
		o.Input, o.Output = int64(e.r.input), int64(e.r.output)
		if e.by.target == x.chosen-1 && e.r.output > 1 {
			o.PerToken = (e.by.ended - e.by.answered) / time.Duration(e.r.output-1)
		}
	}
	p.loop.Observe(&o)
}
